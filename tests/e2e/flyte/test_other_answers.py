"""What Flyte makes of answers that a policy of its own chooses."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests import flyte_model
from tests.docs.test_flyte_document import DOCUMENT, ROW
from tests.e2e.client import Client, Json
from tests.e2e.flyte.conftest import Project
from tests.e2e.flyte.executor import Executor
from tests.e2e.flyte.platform import POLICY, Flyte
from tests.e2e.installed import Accounts, Installed, installed

pytestmark = pytest.mark.slow
Answering = Callable[[str], AbstractContextManager[Installed]]


@pytest.fixture
def answering(admin: Client, accounts: Accounts, tmp_path: Path) -> Answering:
    """Installs the webhook with these `verdicts` of the policy."""

    def install(verdicts: str) -> AbstractContextManager[Installed]:
        policy = tmp_path / "policy.yaml"
        policy.write_text(f"{POLICY.read_text()}verdicts: {verdicts}\n")
        return installed(admin, tmp_path, f"--kubeconfig={accounts('flyte-admission')}", policy=policy)

    return install


def test_a_429_blocks_a_worker_of_flyte_1_before_the_task_waits(
    flyte: Flyte, project: Project, answering: Answering
) -> None:
    namespace = project({"limits.cpu": "3"})
    flyte.launch("two_cpus", namespace).pod()
    with answering("{fits_later: {flyte1: 429}}") as webhook:
        execution = flyte.launch("two_cpus", namespace)
        execution.until("WAITING_FOR_RESOURCES", "task")
        assert webhook.denials() >= 11  # of one create


@pytest.mark.parametrize("row", ROW.findall(DOCUMENT.read_text()), ids=":".join)
def test_it_is_as_patient_as_the_page_says(
    row: Sequence[str], answering: Answering, executor: Executor, full: tuple[str, Json]
) -> None:
    retry_after, timeout = row[:2]
    said = flyte_model.patience(int(retry_after), int(timeout))
    with (
        answering(f"{{retry_after_seconds: {retry_after}}}"),
        executor.asking(full[0], "2", f"--timeout={timeout}s") as client,
    ):
        steps = client.steps(2 * said.seconds)
    texts = [what for _, what in steps]
    assert len([what for what in texts if what.startswith("POST: 429")]) == said.tries
    assert texts[-1] == "the task has failed: MaxSystemFailuresExceeded"
    assert steps[-1][0] >= said.seconds  # the pauses are ours to say, and a slow machine adds to them
    failures = [what for what in texts if re.match(r"system failure \d+", what)]
    assert ["exceeded quota: project-quota" in what for what in failures] == [said.reason] * 4
