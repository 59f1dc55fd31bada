"""Flyte 2, as far as it can be had: its client libraries, and its handling of their errors."""

import pytest

from tests.e2e.client import Client, Json
from tests.e2e.flyte import kubelet
from tests.e2e.flyte.executor import Executor
from tests.e2e.installed import Installed

pytestmark = pytest.mark.usefixtures("webhook")
ROOM = 20  # tasks of 50m in the 1 cpu that is left


def test_room_is_found_within_seconds(executor: Executor, admin: Client, full: tuple[str, Json]) -> None:
    namespace, first = full
    with executor.asking(namespace, "2", "--timeout=30s") as client:
        for line in client.process.stdout or ():
            if "429" in line:
                break
        kubelet.finish(admin, first)
        *_, (_, last) = client.steps(60)
    assert last == "Queued: task submitted to K8s"


def test_what_never_fits_fails_at_once_with_our_words(executor: Executor, full: tuple[str, Json]) -> None:
    with executor.asking(full[0], "4", "--timeout=30s", "--retries=3") as client:
        steps = client.steps(30)
    assert [what.split(":")[0] for _, what in steps] == ["POST", "PermanentFailure EntityTooLarge"]
    assert "exceeded quota: project-quota" in steps[-1][1]


def test_of_sixty_at_once_as_many_run_as_the_quota_has_room_for_and_no_other_loses_an_attempt(
    executor: Executor, admin: Client, webhook: Installed, full: tuple[str, Json]
) -> None:
    namespace, _ = full
    before = webhook.denials()
    with executor.asking(namespace, "50m", "--timeout=30s", "--copies=60", "--max-system-failures=0") as client:
        steps = [what for _, what in client.steps(90)]
    assert len([what for what in steps if "Queued" in what]) == ROOM
    assert len(admin.items("Pod", namespace)) == ROOM + 1
    lost = [what for what in steps if "RetryableFailure" in what]  # to the API server's own 403
    assert len(lost) <= (webhook.denials() - before) / 100


@pytest.mark.slow
def test_an_executor_that_counts_to_a_thousand_waits(executor: Executor, admin: Client, full: tuple[str, Json]) -> None:
    namespace, first = full
    with executor.asking(namespace, "2", "--timeout=30s", "--max-system-failures=1000") as client:
        failures = (line for line in client.process.stdout or () if "system failure" in line)
        for _ in range(5):
            next(failures)
        kubelet.finish(admin, first)
        *_, (_, last) = client.steps(60)
    assert last == "Queued: task submitted to K8s"
