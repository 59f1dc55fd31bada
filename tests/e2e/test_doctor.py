"""`doctor` on a real control plane, with the rights of docs/cli.md and no others."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.following import Follower, Installation
from tests.e2e.pods import FLYTE_1, pod
from tests.e2e.rendering import NAMESPACE
from tests.e2e.test_install import CONFIGURATIONS, certs
from tests.manifests import ROOT
from tests.process import PATIENCE
from tests.x509 import root

NAME = "flyte-admission-doctor"
BINDING = "rbac.authorization.k8s.io/v1"
PROJECT = "doctor-development"
GPUS = {"nvidia.com/gpu": "8"}
FAULTS = {
    "webhook-unreachable", "webhook-failing-open", "ca-bundle-untrusted", "quota-counts-nothing", "quota-below-default",
    "limit-range-contradicts", "taint-untolerated", "flyte-backoff-off",
}  # fmt: skip


def rights() -> list[Json]:
    """The Roles of the document, each with its binding to the account NAME."""
    chapter = (ROOT / "docs" / "cli.md").read_text().partition("\nAll findings:\n")[2].partition("\n## ")[0]
    roles = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)]
    assert len(roles) == 3
    return [each for role in roles for each in (role, binding(role))]


def binding(role: Json) -> Json:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"]}
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    named = {"apiVersion": BINDING, "kind": f"{role['kind']}Binding", "metadata": role["metadata"]}
    return named | {"roleRef": reference, "subjects": [account]}


class Doctor:
    """The program with an account that has the rights."""

    def __init__(self, plane: ControlPlane, folder: Path, objects: list[Json]) -> None:
        self._kubectl = [plane.binaries.path("kubectl"), f"--kubeconfig={plane.kubeconfig}"]
        self._kubeconfig = plane.service_account(NAMESPACE, NAME)
        self._file = folder / "objects.json"
        self.change("apply", objects)

    def change(self, verb: str, objects: list[Json]) -> None:
        """Apply the objects, or delete those that are there."""
        options = ["--ignore-not-found"] if verb == "delete" else []
        self._file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        home = {"HOME": str(self._file.parent)}
        command = [*self._kubectl, verb, *options, f"--filename={self._file}"]
        subprocess.run(command, check=True, env=home, capture_output=True)

    def finds(self) -> tuple[set[str], list[str]]:
        """The ids of the findings, and what it could not look at."""
        options = [f"--kubeconfig={self._kubeconfig}", f"--namespace={PROJECT}", "--output=json"]
        done = subprocess.run(
            [sys.executable, "-m", "webhook", "doctor", *options], capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
        assert done.stderr == ""
        found = json.loads(done.stdout)
        assert done.returncode == bool(found["findings"])
        return {each["id"] for each in found["findings"]}, found["not_looked_at"]


@pytest.fixture
def doctor(admin: Client, control_plane: ControlPlane, follower: Follower, tmp_path: Path) -> Iterator[Doctor]:
    """With everything installed, the certificate issued, and a namespace of Flyte; its rights go with it."""
    Installation(follower, "Ignore").choose(cpu="500m")
    follower.follow("Install")
    certs(control_plane)
    for name in (PROJECT, "flyte"):
        admin.create({"kind": "Namespace", "metadata": {"name": name}})
    found = Doctor(control_plane, tmp_path, rights())
    yield found
    found.change("delete", rights())


def faults() -> list[Json]:
    """What an admin may have got wrong, except for the webhook configurations."""
    here = {"name": "faulty", "namespace": PROJECT}
    hard = {"limits.cpu": "50m", "limits.nvidia.com/gpu": "8"}
    largest = {"type": "Container", "max": {"cpu": "100m"}, "default": {"cpu": "50m"}}
    taint = {"key": "nvidia.com/gpu", "value": "dedicated", "effect": "NoSchedule"}
    others = [{"key": "dedicated", "value": "ml", "effect": "NoExecute"}]
    return [
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": here, "spec": {"hard": hard}},
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": here, "spec": {"limits": [largest]}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "doctor-gpu"}, "spec": {"taints": [taint, *others]},
         "status": {"capacity": GPUS, "allocatable": GPUS}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "propeller", "namespace": "flyte"},
         "data": {"core.yaml": "tasks: {backoff: {base-second: 0}}"}},
    ]  # fmt: skip


def test_an_installation_is_healthy_until_something_is_wrong_with_it(admin: Client, doctor: Doctor) -> None:
    found, unseen = doctor.finds()
    # The metric remembers other tests, and no kubelet starts the webhook.
    assert (found - {"webhook-failing-open"}, unseen) == ({"webhook-unreachable"}, [])
    admin.created(pod(PROJECT, "passed-", FLYTE_1))  # and nobody answers
    try:
        doctor.change("apply", faults())
        distrust(admin)
        wait_for("all the findings", lambda: doctor.finds()[0] >= FAULTS)
        assert doctor.finds() == (FAULTS, [])
    finally:
        doctor.change("delete", faults())


def distrust(admin: Client) -> None:
    """Write another CA into one of the webhook configurations."""
    path = path_of(CONFIGURATIONS[0], name="flyte-admission")
    found = admin.must("GET", path)
    for webhook in found["webhooks"]:
        webhook["clientConfig"]["caBundle"] = base64.b64encode(root().crt).decode()
    admin.must("PUT", path, found)


def test_without_rights_it_says_which_are_missing(doctor: Doctor) -> None:
    doctor.change("delete", rights())
    found, unseen = doctor.finds()
    assert found == set()
    assert len(unseen) == 14
    assert "nodes: 403 Forbidden" in "\n".join(unseen)
    assert any("the policy" in line for line in unseen)
