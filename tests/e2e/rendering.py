"""The manifests as kustomize and helm render them."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import yaml

from tests.e2e.client import Json
from tests.e2e.controlplane.binaries import Binaries
from tests.manifests import BASE, CHART, COMPONENTS

NAMESPACE: Final = "flyte-admission"
# Each component, and the values of the chart that are the same choice.
CHOICES: Final = {
    "cert-manager": ["--set=certificates.certManager.enabled=true"],
    "own-secret": ["--set=certificates.existingSecret=flyte-admission-own-tls"],
    "client-ca": ["--set=clientCA.configMapName=flyte-admission-client-ca"],
    "monitoring": [f"--set={name}.enabled=true" for name in ("serviceMonitor", "prometheusRule", "grafanaDashboard")],
    "enforce-every-pod-in-namespace": ["--set=enforceEveryPodInNamespace.enabled=true"],
    "jobs": ["--set=jobs.enabled=true"],
    "high-availability": [f"--values={CHART / 'values-high-availability.yaml'}"],
    "host-network": ["--set=hostNetwork=true,dnsPolicy=ClusterFirstWithHostNet,ports.https=10260,ports.health=10261"],
    "port-10250": ["--set=ports.https=10250"],
    "aks": ["--set-string=webhook.annotations.admissions\\.enforcer/disabled=true"],
    "openshift": [f"--set=podSecurityContext.{name}=null" for name in ("runAsUser", "runAsGroup", "fsGroup")],
    "ipv6": ["--set=listenAddress=[::]"],
}
# As many of them as go together.
TOGETHER: Final = [name for name in CHOICES if name not in {"own-secret", "host-network", "port-10250"}]
IMAGE: Final = '--set-json=image.repository="flyte-admission"'  # the first of all that is set


def run(program: str, *arguments: str | Path, **environment: str) -> str:
    """What it prints; AssertionError has all it says if it fails."""
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def overlay(folder: Path, components: Iterable[str]) -> Path:
    """A kustomization of the base and these components."""
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(BASE, folder)],
        "components": [os.path.relpath(COMPONENTS / name, folder) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def kustomized(programs: Binaries, folder: Path, components: Iterable[str] = ()) -> str:
    """The base with these components."""
    return run(programs.path("kustomize"), "build", overlay(folder, components))


def templated(programs: Binaries, *arguments: str) -> str:
    """The objects of the chart with these arguments; what `helm test` runs is not among them."""
    command = ["template", "release", str(CHART), f"--namespace={NAMESPACE}", "--skip-tests", IMAGE]
    return run(programs.path("helm"), *command, *arguments)


def by_name(text: str) -> dict[tuple[str, str, str], Json]:
    """The objects, by kind, namespace and name; YAML in a ConfigMap is read, for it may be written variously."""
    found: dict[tuple[str, str, str], Json] = {}
    for each in yaml.safe_load_all(text):
        if each["kind"] == "ConfigMap":
            each["data"] = {key: yaml.safe_load(value) for key, value in each["data"].items()}
        metadata = each["metadata"]
        key = each["kind"], metadata.get("namespace", ""), metadata["name"]
        assert key not in found, key
        found[key] = each
    return found


def values(components: Sequence[str]) -> list[str]:
    """The arguments of helm that choose what the components do."""
    return [argument for name in components for argument in CHOICES[name]]
