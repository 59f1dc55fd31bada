"""What Flyte 1 makes of our refusals, as its user sees it."""

import re
import time
from itertools import pairwise

import pytest

from tests.e2e.client import Client, wait_for
from tests.e2e.flyte import kubelet
from tests.e2e.flyte.conftest import Project
from tests.e2e.flyte.platform import Execution, Flyte, reasons
from tests.e2e.installed import Installed

pytestmark = pytest.mark.usefixtures("webhook")
EXCEEDED = "exceeded quota: project-quota"
LATE = 180.0  # seconds: propeller looks again every 30 seconds, and backs off


def recovers(flyte: Flyte, admin: Client, namespace: str, first: str, second: str) -> Execution:
    """The second execution, which waited while the first one's Pod was there, and then ended well."""
    one = flyte.launch(first, namespace)
    pod = one.pod()
    two = flyte.launch(second, namespace)
    waiting = two.until("WAITING_FOR_RESOURCES", "task")
    assert any(EXCEEDED in reason for reason in reasons(waiting))
    kubelet.finish(admin, pod)
    one.until("SUCCEEDED")
    late = two.pod(LATE)
    kubelet.finish(admin, late)
    two.until("SUCCEEDED")
    assert {event.get("retry_attempt", 0) for event in two.events("task")} == {0}
    return two


def fails(execution: Execution) -> str:
    """The message that its user sees; no attempt but the first was made."""
    error = execution.until("FAILED")["error"]
    assert {event.get("retry_attempt", 0) for event in execution.events("task")} == {0}
    assert execution.pods() == []
    return str(error["message"])


def test_a_task_that_fits_later_waits_and_recovers(flyte: Flyte, admin: Client, project: Project) -> None:
    execution = recovers(flyte, admin, project({"limits.cpu": "3"}), "two_cpus", "two_cpus")
    said = {reason for event in execution.events("task") for reason in reasons(event) if EXCEEDED in reason}
    assert len(said) == 1  # the first refusal, for as long as it waits


@pytest.mark.slow
def test_a_task_that_waits_asks_again_soon_and_then_every_30_seconds(
    flyte: Flyte, project: Project, webhook: Installed
) -> None:
    namespace = project({"limits.cpu": "3"})
    flyte.launch("two_cpus", namespace).pod()
    counted, rounds = webhook.denials(), [0.0]

    def asks() -> bool:
        nonlocal counted
        before, counted = counted, webhook.denials()
        if counted > before and time.monotonic() > rounds[-1] + 2:  # it may ask twice in a round
            rounds.append(time.monotonic())
        return len(rounds) > 5

    flyte.launch("two_cpus", namespace)
    wait_for("it to ask in five rounds", asks, LATE)
    first, *_, last = (later - earlier for earlier, later in pairwise(rounds[1:]))
    assert 4 < first < 20 < last


@pytest.mark.slow
def test_a_task_waits_for_gpus(flyte: Flyte, admin: Client, project: Project) -> None:
    recovers(flyte, admin, project({"requests.nvidia.com/gpu": "2"}), "gpu", "two_gpus")


def test_a_task_of_exactly_the_quota_waits_and_recovers(flyte: Flyte, admin: Client, project: Project) -> None:
    recovers(flyte, admin, project({"limits.cpu": "2"}), "one_cpu", "two_cpus")


@pytest.mark.slow
def test_a_task_of_exactly_a_quota_of_many_names_waits(flyte: Flyte, admin: Client, project: Project) -> None:
    hard = {"limits.cpu": "2", "limits.memory": "1.5Gi", "requests.cpu": "2"}
    recovers(flyte, admin, project(hard), "one_cpu", "two_cpus")


@pytest.mark.slow
def test_a_task_waits_for_a_quota_that_counts_pods(flyte: Flyte, admin: Client, project: Project) -> None:
    recovers(flyte, admin, project({"pods": "1"}), "one_cpu", "one_cpu")


@pytest.mark.parametrize(
    ("workflow", "hard", "short"),
    [
        ("four_cpus", {"limits.cpu": "3"}, "short by limits.cpu=1 with nothing else running"),
        ("two_gpus", {"requests.nvidia.com/gpu": "1"}, "short by requests.nvidia.com/gpu=1 with nothing else"),
    ],
    ids=["cpu", "gpu"],
)
def test_a_task_that_never_fits_fails_at_once_with_our_words(
    flyte: Flyte, project: Project, workflow: str, hard: dict[str, str], short: str
) -> None:
    message = fails(flyte.launch(workflow, project(hard)))
    assert EXCEEDED in message
    assert short in message


def test_a_small_task_passes_a_large_one_that_waits(flyte: Flyte, project: Project) -> None:
    namespace = project({"limits.cpu": "3"})
    flyte.launch("two_cpus", namespace).pod()
    flyte.launch("two_cpus", namespace).until("WAITING_FOR_RESOURCES", "task")
    assert flyte.launch("one_cpu", namespace).pod()


@pytest.mark.parametrize(
    "cpu",
    [
        pytest.param("3", marks=pytest.mark.slow, id="with room to spare"),
        pytest.param("2", id="exactly"),
    ],
)
def test_a_map_task_runs_as_many_elements_as_the_quota_has_room_for(
    flyte: Flyte, admin: Client, project: Project, cpu: str
) -> None:
    execution = flyte.launch("mapped", project({"limits.cpu": cpu}))
    ended: set[str] = set()

    def all_have_ended() -> bool:
        for pod in execution.pods():
            if pod["spec"].get("nodeName") and pod["metadata"]["name"] not in ended:
                kubelet.finish(admin, pod)
                ended.add(pod["metadata"]["name"])
        return bool({"SUCCEEDED", "FAILED"} & set(execution.phases("workflow")))

    wait_for("the map task to end", all_have_ended, 2 * LATE)
    assert execution.phases("workflow")[-1] == "SUCCEEDED"
    assert len(ended) == 3


def test_a_map_task_whose_elements_never_fit_fails_at_once(flyte: Flyte, project: Project) -> None:
    message = fails(flyte.launch("mapped", project({"limits.cpu": "1"})))
    assert re.search(r"limits\.cpu=1 with nothing else running", message)
