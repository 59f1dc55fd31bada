"""The control plane that the other tests stand on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.client import PATIENCE, Client, Json, path_of, wait_for
from tests.e2e.controlplane import processes
from tests.e2e.controlplane.binaries import COMPONENTS, PINS, Binaries
from tests.e2e.controlplane.processes import ControlPlane, ControlPlaneError


def test_it_is_the_version_that_was_asked_for(admin: Client) -> None:
    version = admin.must("GET", "/version")["gitVersion"]
    default = "" if os.environ.get("KUBEBUILDER_ASSETS") else next(iter(PINS))
    assert version.startswith(f"v{os.environ.get('KUBERNETES') or default}")


def test_the_quota_controller_fills_what_is_enforced(admin: Client, namespace: str) -> None:
    hard = {"pods": "3", "requests.cpu": "2"}
    admin.created({"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}})

    def status() -> Json | None:
        found: Json = admin.must("GET", path_of("ResourceQuota", namespace, "q"))["status"]
        return found if "used" in found else None

    assert wait_for("status.used", status) == {"hard": hard, "used": {"pods": "0", "requests.cpu": "0"}}


def test_a_service_account_is_known_by_its_name_and_groups_and_may_do_nothing(
    control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = control_plane.service_account(namespace, "reader")
    command = [control_plane.binaries.path("kubectl"), f"--kubeconfig={kubeconfig}", "auth", "whoami", "-o", "json"]
    home = {"HOME": str(control_plane.folder)}
    who = json.loads(subprocess.check_output(command, env=home))["status"]["userInfo"]
    assert who["username"] == f"system:serviceaccount:{namespace}:reader"
    assert {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"} <= set(who["groups"])
    command = [*command[:2], "get", "pods"]
    refused = subprocess.run(command, env=home, capture_output=True, text=True, check=False)
    assert (refused.returncode, "is forbidden" in refused.stderr) == (1, True)


@pytest.mark.parametrize("tool", ["kustomize", "helm"])
def test_a_tool_for_manifests_starts(programs: Binaries, tool: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert "v" in subprocess.check_output([programs.path(tool), "version"], env=home, text=True)


def test_a_component_that_ends_is_told_with_its_log_and_nothing_is_left(
    programs: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    for name in COMPONENTS:
        (broken / name).symlink_to(programs.path(name))
    (broken / "kube-apiserver").unlink()
    (broken / "kube-apiserver").write_text("#!/bin/sh\necho no room left >&2\nexit 3\n")
    (broken / "kube-apiserver").chmod(0o755)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        pytest.raises(ControlPlaneError, match=r"(?s)kube-apiserver, exit code 3.*no room left"),
        processes.running(Binaries(os.environ, broken)),
    ):
        pass
    assert list(tmp_path.iterdir()) == [broken]
    assert ours(tmp_path) == []


def test_a_run_that_is_asked_to_end_leaves_nothing(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__).with_name("test_parity.py"))]
    output = tmp_path / "output"
    with output.open("wb") as file:
        tests = subprocess.Popen(run, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=file, stderr=file)
    try:
        wait_for("the scheduler", lambda: [found for found in ours(tmp_path) if "kube-scheduler" in found])
        assert len(ours(tmp_path)) == len(COMPONENTS)
    finally:
        tests.terminate()
        code = tests.wait(PATIENCE)
    assert (code, ours(tmp_path)) == (pytest.ExitCode.INTERRUPTED, []), output.read_text()
    assert [found.name for found in tmp_path.iterdir() if not found.name.startswith("pytest-of")] == ["output"]


def ours(folder: Path) -> list[str]:
    """The command lines of processes that have something in the folder."""
    return [command for command in commands() if str(folder) in command]


def commands() -> Iterator[str]:
    """The command line of each process of this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            yield file.read_text(errors="replace")
