"""A control plane for the whole run, and a namespace for each test."""

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.e2e.client import Client
from tests.e2e.controlplane import binaries, processes
from tests.e2e.controlplane.binaries import Binaries, MissingError
from tests.e2e.controlplane.processes import ControlPlane


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
