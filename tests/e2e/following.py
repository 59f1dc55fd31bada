"""Someone who follows docs/install.md, command by command."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.e2e.client import Json
from tests.e2e.controlplane.processes import ControlPlane
from tests.manifests import ROOT

DOCUMENT: Final = ROOT / "docs" / "install.md"
# A heading, or a block to run; those that say `nodes` take Pods that run.
PART: Final = re.compile(r"^(#{2,3}) ([^\n]+)$|^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATCHES: Final = re.compile(r"^```yaml\n(patches:.*?)^```$", re.MULTILINE | re.DOTALL)
ISSUERS: Final = re.compile(r"^\| (\S+) \| (none|`[a-z-]+`) \| (none|`certificates\.[^`]+`) \|$", re.MULTILINE)
SERVICE: Final = re.compile(r"service:\n +name: .*\n +namespace: .*\n +path: (.*)\n +port: .*\n")
OWN_SECRET: Final = "flyte-admission-own-tls"  # noqa: S105 - a name
LONGEST: Final = 240.0  # seconds for the commands of a block; `kubectl delete` would wait for a week
EVERY_POD: Final = "enforce-every-pod-in-namespace"


@dataclass(frozen=True)
class Follower:
    """Someone with a shell in a checkout, who follows the document one way or the other."""

    way: str
    environment: dict[str, str]
    checkout: Path

    def type(self, block: str) -> str:
        """What the commands print; each of them must succeed."""
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", block], cwd=self.checkout, env=self.environment, text=True,
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONGEST,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout

    def follow(self, *chapters: str) -> list[str]:
        """What the commands of these chapters print, block by block; without a name, those of all."""
        return [self.type(block) for chapter, block in self._blocks() if chapter in chapters or not chapters]

    def last_check(self) -> str:
        """What the document has one look for in the end."""
        return self.type(next(b for chapter, b in self._blocks() if chapter == "Uninstall" and "kubectl get" in b))

    def _blocks(self) -> Iterator[tuple[str, str]]:
        chapter = heading = ""
        for level, title, block in PART.findall(DOCUMENT.read_text()):
            heading = title if level else heading
            chapter = title if level == "##" else chapter
            if block and (not heading.startswith("With ") or heading == f"With {self.way}"):
                yield chapter, block


def checked_out(plane: ControlPlane, folder: Path, way: str) -> Follower:
    """An admin with the manifests in a folder that may be written to."""
    checkout, tools, home = (folder / name for name in ("checkout", "bin", "home"))
    shutil.copytree(ROOT / "manifests", checkout / "manifests")
    tools.mkdir()
    for name in ("kubectl", "helm"):
        (tools / name).symlink_to(plane.binaries.path(name))
    homes = {name: str(home) for name in ("HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | homes | {"PATH": path, "KUBECONFIG": str(plane.kubeconfig)}
    return Follower(way, environment, checkout)


class Installation:
    """What an admin chooses beyond the document: what tasks get, what if we are away, and every Pod of a namespace."""

    def __init__(self, follower: Follower, failure_policy: str) -> None:
        follower.follow("Prepare")
        self._folder = follower.checkout / "my-cluster"
        self._failure_policy = failure_policy
        self._way = follower.way
        self._choose = {"kustomize": self._kustomization, "Helm": self._values}[follower.way]

    def choose(self, cpu: str) -> None:
        """Write it down; this is the default of cpu."""
        self.choose_policy({"task_resources": {"defaults": {"cpu": cpu}}})

    def choose_policy(self, policy: Json) -> None:
        """Write down a policy of the mode `enforce`."""
        self._choose(policy)

    def issuer(self, name: str) -> None:
        """Write down who issues the certificate, by the document's table."""
        table = {
            row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in ISSUERS.findall(DOCUMENT.read_text())
        }
        component, value = table[name]
        if self._way == "kustomize":
            file = self._folder / "kustomization.yaml"
            content = yaml.safe_load(file.read_text())
            others = {cells[0] for cells in table.values()}
            kept = [path for path in content["components"] if Path(path).name not in others]
            chosen = [] if component == "none" else [f"../manifests/kustomize/components/{component}"]
            content["components"] = [*kept, *chosen]
        else:
            file = self._folder / "values.yaml"
            path, _, text = value.replace("NAME", OWN_SECRET).partition(": ")
            certificates: Json = {}
            for key in reversed(path.split(".")[1:]):
                certificates = {key: certificates or yaml.safe_load(text)}
            content = {**yaml.safe_load(file.read_text()), "certificates": certificates}
        file.write_text(yaml.safe_dump(content))

    def _kustomization(self, policy: Json) -> None:
        (self._folder / "policy.yaml").write_text(yaml.safe_dump({"mode": "enforce", **policy}))
        file = self._folder / "kustomization.yaml"
        content = yaml.safe_load(file.read_text())
        component = f"../manifests/kustomize/components/{EVERY_POD}"
        content["components"] = sorted({component, *content["components"]})
        if self._failure_policy == "Fail":
            content |= yaml.safe_load(PATCHES.findall(DOCUMENT.read_text())[0])
        file.write_text(yaml.safe_dump(content))

    def _values(self, policy: Json) -> None:
        file = self._folder / "values.yaml"
        chosen = {
            "mode": "enforce",
            "config": policy,
            "webhook": {"failurePolicy": self._failure_policy},
            "enforceEveryPodInNamespace": {"enabled": True},
        }
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | chosen))


def block_for_nodes(command: str) -> str:
    """The block of the document that has this command, and takes Pods that run."""
    (found,) = (text for text in DOCUMENT.read_text().split("```sh nodes\n")[1:] if command in text.partition("```")[0])
    return found.partition("```")[0]


def direct(checkout: Path, url: str) -> None:
    """Have the manifests say this URL in place of the Service, which loopback has none of."""
    kustomize, helm = "kustomize/base/webhook-configurations.yaml", "helm/flyte-admission/templates/_helpers.tpl"
    for name, entries in {kustomize: 4, helm: 1}.items():
        file = checkout / "manifests" / name
        text, count = SERVICE.subn(rf"url: {url}\1\n", file.read_text())
        assert count == entries
        file.write_text(text)
