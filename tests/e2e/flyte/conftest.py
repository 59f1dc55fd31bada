"""Flyte for the whole run, and a project for each test."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.docs.test_flyte_document import EXAMPLES
from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.controlplane.binaries import MissingError
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.flyte import kubelet, platform, programs
from tests.e2e.flyte.executor import Executor, task
from tests.e2e.flyte.platform import POLICY, Flyte
from tests.e2e.flyte.programs import Programs
from tests.e2e.installed import Accounts, Installed, installed

NUMBERS = count(1)
LEFT_OUT = pytest.StashKey[list[str]]()
Project = Callable[[Json], str]


def pytest_deselected(items: list[pytest.Item]) -> None:
    items[0].config.stash.setdefault(LEFT_OUT, []).extend(item.nodeid.rpartition("/")[2] for item in items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was not run."""
    for name in config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(f"left out: {name}")


@pytest.fixture(scope="session")
def flyte_programs() -> Programs:
    try:
        return programs.find(os.environ)
    except MissingError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def flyte(
    control_plane: ControlPlane, admin: Client, flyte_programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flyte]:
    kubelet.add_nodes(admin)
    asked = [example.get("resources", {}) for example in EXAMPLES]
    with platform.running(control_plane, flyte_programs, tmp_path_factory.mktemp("flyte"), asked) as found:
        yield found


@pytest.fixture(scope="module")
def webhook(admin: Client, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The webhook with the policy of the scenarios."""
    options = f"--kubeconfig={accounts('flyte-admission')}"
    with installed(admin, tmp_path_factory.mktemp("webhook"), options, policy=POLICY, timeoutSeconds=30) as found:
        yield found


@pytest.fixture
def project(admin: Client) -> Project:
    """Makes the namespace of a project in the domain development; of what the quota counts, the webhook knows."""

    def make(hard: Json) -> str:
        namespace = f"project{next(NUMBERS)}-development"
        admin.created({"kind": "Namespace", "metadata": {"name": namespace}})
        if hard:
            metadata = {"name": "project-quota", "namespace": namespace}
            admin.created({"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
            quota = path_of("ResourceQuota", namespace, "project-quota")
            wait_for("the quota to be counted", lambda: admin.must("GET", quota)["status"].get("used"))
        return namespace

    return make


@pytest.fixture
def namespace(project: Project) -> str:
    """A project without a quota."""
    return project({})


@pytest.fixture
def executor(control_plane: ControlPlane, flyte_programs: Programs, tmp_path: Path) -> Executor:
    return Executor(control_plane, flyte_programs, tmp_path)


@pytest.fixture
def full(admin: Client, project: Project) -> tuple[str, Json]:
    """A namespace with 3 cpu, and the Pod that has 2 of them."""
    namespace = project({"limits.cpu": "3"})
    made = task(namespace, "2")
    made["metadata"]["name"] = "first"
    first = admin.created(made)
    quota = path_of("ResourceQuota", namespace, "project-quota")
    wait_for("the first Pod to be charged", lambda: admin.must("GET", quota)["status"]["used"]["limits.cpu"] == "2")
    return namespace, first
