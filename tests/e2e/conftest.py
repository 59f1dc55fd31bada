"""A control plane for the whole run, and a namespace for each test."""

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from tests.e2e.client import Client
from tests.e2e.controlplane import binaries, processes
from tests.e2e.controlplane.binaries import Binaries, MissingError
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.following import Follower, checked_out
from tests.e2e.installed import Accounts, Installed, installed
from tests.e2e.rendering import NAMESPACE
from tests.manifests import BASE


def pytest_configure() -> None:
    """End as Ctrl-C does when asked to in other ways, so that the control plane is stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


@pytest.fixture(scope="session")
def programs() -> Binaries:
    try:
        return binaries.find(os.environ)
    except MissingError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def control_plane(programs: Binaries) -> Iterator[ControlPlane]:
    with processes.running(programs) as plane:
        yield plane


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Iterator[Client]:
    client = control_plane.client()
    yield client
    client.close()


@pytest.fixture
def namespace(admin: Client) -> str:
    """A namespace that no other test uses; it ends with the control plane."""
    made = {"kind": "Namespace", "metadata": {"generateName": "test-"}}
    return str(admin.created(made)["metadata"]["name"])


@pytest.fixture(scope="module")
def accounts(control_plane: ControlPlane) -> Iterator[Accounts]:
    """Kubeconfig files of the shipped service accounts, which have the shipped rights and no others."""
    kubectl = [control_plane.binaries.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    environment = {"HOME": str(control_plane.folder)}
    files = ("rbac.yaml", "certs-policy.yaml", "secret.yaml")
    shipped = [f"--namespace={NAMESPACE}", *(f"--filename={BASE / name}" for name in files)]
    subprocess.run([*kubectl, "apply", f"--filename={BASE / 'namespace.yaml'}"], check=True, env=environment)
    subprocess.run([*kubectl, "apply", *shipped], check=True, env=environment)
    yield partial(control_plane.service_account, NAMESPACE)
    subprocess.run([*kubectl, "delete", *shipped], check=True, env=environment)


@pytest.fixture(scope="module")
def webhook(admin: Client, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The webhook, called by the API server, with the shipped configurations and no rights but the shipped ones."""
    kubeconfig = accounts("flyte-admission")
    with installed(admin, tmp_path_factory.mktemp("webhook"), f"--kubeconfig={kubeconfig}") as found:
        yield found


@pytest.fixture(params=["kustomize", "Helm"])
def follower(request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path: Path) -> Iterator[Follower]:
    """An admin who follows the document one way or the other, and leaves nothing installed."""
    found = checked_out(control_plane, tmp_path, request.param)
    yield found
    if (found.checkout / "my-cluster").exists():
        found.follow("Uninstall")
