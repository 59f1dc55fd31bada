"""`scan`, `quota` and `explain` on a real cluster, with the rights that docs/cli.md gives and no others."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import POLICY, existing
from tests.e2e.pods import FLYTE_1, FLYTE_2, pod
from webhook.cli.main import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
(ROLE,) = (
    role for text in re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    if (role := yaml.safe_load(text)).get("metadata") == {"name": "flyte-admission-viewer"}
)  # fmt: skip
SMALL = {side: {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"} for side in ("requests", "limits")}
LARGE = {side: {"cpu": "6", "memory": "1Gi", "ephemeral-storage": "1Gi"} for side in ("requests", "limits")}


@pytest.fixture
def viewer(control_plane: ControlPlane, admin: Client, namespace: str) -> Iterator[Path]:
    """A kubeconfig of an account that has the role of the page."""
    kubeconfig = control_plane.service_account(namespace, "viewer")
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE["metadata"]["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": namespace}],
    }
    with existing(admin, [ROLE, binding]):
        yield kubeconfig


@pytest.fixture
def tasks(admin: Client, namespace: str) -> None:
    """Two tasks that run, one that ended, a Pod that is not Flyte's, and a quota that counts them."""
    hard = {"limits.cpu": "10", "limits.memory": "8Gi"}
    admin.created({"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}})
    path = path_of("ResourceQuota", namespace, "q")
    wait_for("the quota to be counted", lambda: admin.must("GET", path)["status"].get("used"))
    for name, labels, amounts in (
        ("small", FLYTE_1, SMALL), ("large", FLYTE_2, LARGE), ("ended", FLYTE_1, SMALL), ("other", {}, SMALL),
    ):  # fmt: skip
        admin.created(pod(namespace, name, labels, amounts))
    status = {"status": {"phase": "Succeeded"}}
    admin.must("PATCH", f"{path_of('Pod', namespace, 'ended')}/status", status)
    wait_for("the use of three Pods", lambda: admin.must("GET", path)["status"]["used"]["limits.cpu"] == "8")


def run(command: str, kubeconfig: Path, namespace: str, *arguments: str) -> Result:
    options = [f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", "--output=json"]
    return CliRunner().invoke(main, [command, *arguments, *options], catch_exceptions=False)


@pytest.mark.usefixtures("tasks")
def test_scan_shows_what_would_become_of_the_pods_that_run(viewer: Path, namespace: str) -> None:
    result = run("scan", viewer, namespace, f"--policy={POLICY}")
    assert (result.exit_code, result.stderr) == (0, "")
    found = {
        it["name"]: (it["outcome"], it["over_maximum"], it["has_record"]) for it in json.loads(result.stdout)["found"]
    }
    assert found == {"small": ("unchanged", False, False), "large": ("changed", True, False)}


@pytest.mark.usefixtures("tasks")
def test_quota_shows_what_is_left_and_who_holds_it(viewer: Path, namespace: str) -> None:
    result = run("quota", viewer, namespace)
    (found,) = json.loads(result.stdout)
    amounts: list[Json] = found["quotas"][0]["resources"]
    assert [(it["name"], it["used"], it["free"]) for it in amounts] == [
        ("limits.cpu", "8", "2"), ("limits.memory", "3Gi", "5Gi"),
    ]  # fmt: skip
    assert found["fits_now"] == "limits.cpu=2, limits.memory=5Gi"
    assert [(it["task"], it["held"]["limits.cpu"]) for it in found["holders"]] == [("large", "6"), ("train", "1")]


@pytest.mark.usefixtures("webhook")
def test_explain_reads_the_record_that_the_webhook_left(admin: Client, viewer: Path, namespace: str) -> None:
    admin.created(pod(namespace, "changed", FLYTE_1, LARGE))
    (found,) = json.loads(run("explain", viewer, namespace, "changed", f"--policy={POLICY}").stdout)
    lowered = [(it["path"], it["from"], it["to"]) for it in found["changes"] if it["rule"] == "clamp"]
    assert ("/spec/containers/main/resources/limits/cpu", "6", "4") in lowered
    assert all(it["line"].startswith(f"{POLICY}:") for it in found["changes"] if it["rule"] == "clamp")


def test_kubectl_completes_the_plugin(programs: Binaries, tmp_path: Path) -> None:
    """As installed: kubectl looks for both programs on the PATH."""
    entries = {
        "kubectl-flyte_admission": "kubectl_plugin", "kubectl_complete-flyte_admission": "kubectl_completion",
    }  # fmt: skip
    for name, function in entries.items():
        file = tmp_path / name
        file.write_text(f"#!{sys.executable}\nfrom webhook.cli.main import {function}\n{function}()\n")
        file.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(DOCUMENT.parents[1])}
    kubectl = [programs.path("kubectl"), "__complete", "flyte-admission"]
    run = subprocess.run([*kubectl, "policy", "sh"], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.splitlines() == ["show\tPrint what FILE amounts to for the tasks...", ":4"]


def test_the_role_of_the_page_may_list_and_nothing_else(
    control_plane: ControlPlane, viewer: Path, namespace: str
) -> None:
    token = yaml.safe_load(viewer.read_text())["users"][0]["user"]["token"]
    client = Client(control_plane.url, control_plane.ca, token)
    codes = [
        client.ask(method, path_of(kind, namespace, name)).code
        for method, kind, name in (("GET", "Pod", None), ("GET", "ResourceQuota", None), ("GET", "Pod", "x"),
                                   ("GET", "Secret", None), ("DELETE", "Pod", "x"))
    ]  # fmt: skip
    client.close()
    assert codes == [200, 200, 403, 403, 403]
