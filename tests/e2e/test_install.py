"""An installation's life in a real cluster: docs/install.md command by command, and certs at work on the manifests."""

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Client, Json, path_of
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.rendering import NAMESPACE, overlay, run
from tests.manifests import BASE, CHART, ROOT

DOCUMENT = ROOT / "docs" / "install.md"
# A heading, or a block to run; those that say `nodes` take Pods that run.
PART = re.compile(r"^(#{2,3}) ([^\n]+)$|^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIGURATIONS = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]


def blocks(way: str) -> Iterator[str]:
    """The document's commands for those who install this way, in their order."""
    heading = ""
    for level, title, block in PART.findall(DOCUMENT.read_text()):
        heading = title if level else heading
        if block and (not heading.startswith("With ") or heading == f"With {way}"):
            yield block


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The manifests in a folder that may be written to."""
    shutil.copytree(ROOT / "manifests", tmp_path / "checkout" / "manifests")
    return tmp_path / "checkout"


@pytest.fixture
def shell(control_plane: ControlPlane, programs: Binaries, tmp_path: Path) -> dict[str, str]:
    """The environment of an admin's shell."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("kubectl", "helm"):
        (tools / name).symlink_to(programs.path(name))
    home = {name: str(tmp_path / "home") for name in ("HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    return os.environ | home | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "KUBECONFIG": str(control_plane.kubeconfig),
    }  # fmt: skip


def typed(block: str, shell: dict[str, str], checkout: Path) -> str:
    """What the commands print; each of them must succeed."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", block], cwd=checkout, env=shell, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}"
    return done.stdout


def ours(admin: Client) -> list[str]:
    """The webhook configurations of the cluster that are ours."""
    return [each["metadata"]["name"] for kind in CONFIGURATIONS for each in admin.items(kind)]


@pytest.mark.parametrize("way", ["kustomize", "Helm"])
def test_the_document_installs_upgrades_repairs_and_uninstalls(
    admin: Client, shell: dict[str, str], checkout: Path, way: str
) -> None:
    said = [typed(block, shell, checkout) for block in blocks(way)]
    assert ours(admin) == []
    assert "No resources found" in said[-1]
    assert admin.ask("GET", path_of("Namespace", name=NAMESPACE)).code == 404


class Installation:
    """What is installed, one way or the other."""

    def __init__(self, plane: ControlPlane, programs: Binaries, folder: Path, way: str) -> None:
        self._plane = plane
        self._kubectl = [programs.path("kubectl"), f"--kubeconfig={plane.kubeconfig}"]
        self._helm = [programs.path("helm"), f"--kubeconfig={plane.kubeconfig}", f"--namespace={NAMESPACE}"]
        self._overlay = overlay(folder, [])
        self._way = way

    def apply(self) -> None:
        """Install, or install again."""
        run(*self._kubectl, "apply", "--filename", BASE / "namespace.yaml")
        if self._way == "kustomize":
            run(*self._kubectl, "apply", "-k", self._overlay)
        else:
            run(*self._helm, "upgrade", "--install", "flyte-admission", CHART)

    def remove(self) -> None:
        """What the document says, without a look at what there is."""
        if self._way == "kustomize":
            run(*self._kubectl, "delete", "-k", self._overlay)
        else:
            run(*self._helm, "uninstall", "flyte-admission")
            run(*self._kubectl, "delete", "namespace", NAMESPACE)

    def certs(self) -> None:
        """One pass of certs, with the rights that it has as the service account of its Deployment."""
        account = self._plane.service_account(NAMESPACE, "flyte-admission-certs")
        run(sys.executable, "-m", "certs", "--once", f"--kubeconfig={account}", f"--namespace={NAMESPACE}")


def published(admin: Client) -> Json:
    """What certs has written: the data of the Secret, and each caBundle."""
    secret = admin.must("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/flyte-admission-tls")
    bundles = {
        f"{kind}/{webhook['name']}": webhook["clientConfig"].get("caBundle")
        for kind in CONFIGURATIONS
        for webhook in admin.must("GET", path_of(kind, name="flyte-admission"))["webhooks"]
    }
    return {"data": secret.get("data"), **bundles}


@pytest.mark.parametrize("way", ["kustomize", "Helm"])
def test_certs_does_its_work_with_the_shipped_rights_and_installing_again_leaves_it(
    admin: Client, control_plane: ControlPlane, programs: Binaries, tmp_path: Path, way: str
) -> None:
    pytest.importorskip("certs", reason="certs is not part of this tree")
    installation = Installation(control_plane, programs, tmp_path, way)
    installation.apply()
    try:
        installation.certs()
        before = published(admin)
        installation.apply()
        installation.certs()
        assert published(admin) == before
    finally:
        installation.remove()
    data = before.pop("data")
    assert data.keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert before.keys() == {
        f"{kind}/{name}.flyte-admission.io" for kind in CONFIGURATIONS for name in ("flyte1", "flyte2")
    }
    assert {base64.b64decode(bundle) for bundle in before.values()} == {base64.b64decode(data["ca.crt"])}
    assert ours(admin) == []
