"""Flyte 1 without the webhook: what docs/flyte.md says that Flyte does by itself."""

from fractions import Fraction

import pytest

from tests.docs.test_flyte_document import EXAMPLES, POLICY, has, sides, within
from tests.e2e.client import Client, Json, wait_for
from tests.e2e.flyte import kubelet
from tests.e2e.flyte.conftest import Project
from tests.e2e.flyte.platform import NONE, SOON, Execution, Flyte, reasons, task_resources
from tests.e2e.flyte.test_tasks import both, containers
from tests.e2e.pods import resources


@pytest.fixture(scope="module")
def launched(flyte: Flyte, admin: Client) -> dict[int, Execution]:
    """The examples of the page, all at once."""
    namespace = "examples-development"
    admin.created({"kind": "Namespace", "metadata": {"name": namespace}})
    numbers = [number for number, example in enumerate(EXAMPLES) if "flyte" in example]
    return {
        number: flyte.launch(
            f"example{number}", namespace, task_resources(EXAMPLES[number].get("policy", POLICY)["task_resources"])
        )
        for number in numbers
    }


@has("flyte")
def test_flyte_makes_of_an_example_what_the_page_says(launched: dict[int, Execution], example: Json) -> None:
    found = resources(launched[EXAMPLES.index(example)].pod())
    wanted = sides(example["flyte"])
    assert (within(nonzero(found), example["flyte"]) if any(wanted.values()) else nonzero(found)) == wanted


def nonzero(found: Json) -> dict[str, dict[str, Fraction]]:
    """The amounts, but for the zeros that Flyte writes where nothing is stated."""
    return {side: {name: it for name, it in amounts.items() if it} for side, amounts in sides(found).items()}


def test_flyte_fills_zeros_where_the_platform_has_nothing(flyte: Flyte, namespace: str) -> None:
    found = resources(flyte.launch("plain", namespace, NONE).pod())
    assert found == both({"cpu": "0", "memory": "0"})  # not default-cpus and default-memory of propeller.yaml


def test_flyte_caps_sidecars_of_a_pod_template_and_fills_init_containers(flyte: Flyte, namespace: str) -> None:
    pod = flyte.launch("sidecar", namespace).pod()
    found = containers(pod)
    assert found["greedy"]["limits"]["cpu"] == found["greedy"]["requests"]["cpu"] == "4"
    assert found["log-shipper"] == both({"cpu": "0", "memory": "0"})
    assert containers(pod, "initContainers")["download"] == both({"cpu": "500m", "memory": "500Mi"})


@pytest.mark.parametrize(("workflow", "times"), [("no_fpgas", 1), ("tolerated_fpga", 2)])
def test_flyte_adds_tolerations_of_devices_that_are_not_used_or_that_the_pod_has(
    flyte: Flyte, namespace: str, workflow: str, times: int
) -> None:
    execution = flyte.launch(workflow, namespace)
    (pod,) = wait_for("its Pod", execution.pods, SOON)
    assert [it["key"] for it in pod["spec"]["tolerations"]].count("example.com/fpga") == times


def test_without_us_a_task_of_exactly_the_quota_fails_while_some_of_it_is_used(flyte: Flyte, project: Project) -> None:
    namespace = project({"limits.cpu": "2"})
    flyte.launch("one_cpu", namespace).pod()
    failed = flyte.launch("two_cpus", namespace).until("FAILED")
    assert "exceeded quota: project-quota" in failed["error"]["message"]


@pytest.mark.slow
def test_without_us_a_task_waits_for_gpus_that_its_quota_will_never_have(flyte: Flyte, project: Project) -> None:
    execution = flyte.launch("two_gpus", project({"requests.nvidia.com/gpu": "1"}))
    execution.until("WAITING_FOR_RESOURCES", "task")
    with pytest.raises(TimeoutError):
        execution.until("FAILED", seconds=75)  # more than two of propeller's rounds


def test_without_us_what_fits_later_waits_too(flyte: Flyte, admin: Client, project: Project) -> None:
    namespace = project({"limits.cpu": "3"})
    first = flyte.launch("two_cpus", namespace).pod()
    waiting = flyte.launch("two_cpus", namespace).until("WAITING_FOR_RESOURCES", "task")
    assert any("exceeded quota: project-quota" in reason for reason in reasons(waiting))
    kubelet.finish(admin, first)
