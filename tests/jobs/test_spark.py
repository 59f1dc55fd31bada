"""The SparkApplication: what is charged is what Spark's Pods take, and the heap fits into its container."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, amount, defaulted
from tests.jobs import (
    GPU,
    LABELS,
    POLICIES,
    admitted,
    charged,
    mutated,
    policy_of,
    resources,
    some,
    templates,
    usage,
)  # fmt: skip
from tests.jobs.spark_operator import conf_of, heap_and_total, pod, pods
from webhook.jobs import KINDS
from webhook.jobs.heap import Memory, mebibytes
from webhook.policy.model import Policy

SPARK = "sparkapplications.sparkoperator.k8s.io"
decode = KINDS["sparkoperator.k8s.io", "sparkapplications"].decode
CORES, CPUS = st.integers(1, 40), some("500m", "1", "2", "2500m", "16")
MEMORY = some("512m", "1g", "3000m", "1048576k", "4096", "16g", "60gb")


@st.composite
def sides(draw: st.DrawFn, side: str, conf: dict[str, str]) -> Json:
    """The fields of the driver or executor, and its keys in the configuration; Flyte writes both."""
    fields = {
        "cores": CORES, "coreRequest": CPUS, "coreLimit": some("16", "32", "40"),
        "memory": MEMORY, "memoryOverhead": MEMORY,
    }  # fmt: skip
    own = draw(st.fixed_dictionaries({"labels": st.just(LABELS)}, optional=fields))
    keys = {
        f"spark.{side}.cores": CORES.map(str),
        f"spark.{side}.memory": MEMORY,
        f"spark.{side}.memoryOverhead": MEMORY,
        f"spark.{side}.memoryOverheadFactor": some("0.1", "0.25", "1.5"),
        f"spark.kubernetes.{side}.request.cores": CPUS,
        f"spark.kubernetes.{side}.limit.cores": some("16", "32", "40"),
    }
    conf |= draw(st.fixed_dictionaries({}, optional=keys))
    own |= draw(st.fixed_dictionaries({}, optional={"template": templates(f"spark-kubernetes-{side}")}))
    if "template" not in own:  # which may have GPUs of its own
        gpus = {
            f"spark.{side}.resource.gpu.amount": draw(some("1", "4")),
            f"spark.{side}.resource.gpu.vendor": "nvidia.com",
        }
        conf |= draw(some({}, gpus))
        limits = some("120g", "400gb", "200Gi", "130000m")  # no less than the memory: the API server refuses that
        own |= draw(st.fixed_dictionaries({}, optional={"memoryLimit": limits}))
        own |= draw(st.fixed_dictionaries({}, optional={"tolerations": st.just([{"key": "own"}])}))
        own |= draw(some({}, {"gpu": {"name": GPU, "quantity": 3}}, {"gpu": {"name": "amd.com/gpu", "quantity": 1}}))
        sidecar = {"name": "log", "resources": draw(resources())}
        own |= draw(some({}, {"sidecars": [sidecar]}, {"initContainers": [{"name": "fetch"}], "sidecars": [sidecar]}))
    return own


@st.composite
def applications(draw: st.DrawFn) -> Json:
    conf: dict[str, str] = {"spark.kubernetes.executor.podNamePrefix": "j"}
    spec: Json = {"driver": draw(sides("driver", conf)), "executor": draw(sides("executor", conf))}
    number = st.integers(0, 3)
    spec["executor"] |= draw(st.fixed_dictionaries({}, optional={"instances": number}))
    bounds = {"enabled": st.booleans(), "minExecutors": number, "maxExecutors": number}
    spec |= draw(st.fixed_dictionaries({}, optional={"dynamicAllocation": st.fixed_dictionaries({}, optional=bounds)}))
    spec |= draw(some({}, {"mainApplicationFile": "local:///main.py"}, {"mainApplicationFile": "local:///main.jar"}))
    spec |= draw(some({}, {"memoryOverheadFactor": "0.3"}))
    keys = {
        "spark.executor.instances": number.map(str),
        "spark.dynamicAllocation.enabled": some("true", "false"),
        "spark.dynamicAllocation.minExecutors": number.map(str),
        "spark.executor.pyspark.memory": MEMORY,
        "spark.memory.offHeap.size": some("1g", "1073741824"),
    }
    conf |= draw(st.fixed_dictionaries({}, optional=keys))
    if "spark.memory.offHeap.size" in conf:
        conf["spark.memory.offHeap.enabled"] = draw(some("true", "false"))
    spec["sparkConf"] = conf
    metadata = {"name": "j", "labels": LABELS}
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": metadata,
        "spec": spec,
    }


def main_of(made: Json) -> Json:
    (found,) = (it for it in made["spec"]["containers"] if it["name"].startswith("spark-kubernetes"))
    return dict(found["resources"])


@settings(max_examples=300)
@given(applications(), POLICIES)
def test_the_job_is_charged_for_the_pods_of_spark_and_their_own_review_changes_nothing_that_the_job_can_state(
    job: Json, policy: Policy
) -> None:
    after, _ = mutated(SPARK, job, policy)
    made = [defaulted(each) for each in pods(after)]
    stored = [admitted(each, policy) for each in made]
    for own, its in zip(made, stored, strict=True):
        side = "driver" if own is made[0] else "executor"
        assert same(own, is_in_template="template" in job["spec"][side]) == same(
            its, is_in_template="template" in job["spec"][side]
        )
    assert mutated(SPARK, after, policy)[0] == after
    assert usage(stored) == charged(SPARK, job, policy)


def same(made: Json, *, is_in_template: bool) -> Json:
    """What the job can state of a Pod: not the ephemeral storage of a container that is not in a template."""
    spec = {**made["spec"], "containers": [dict(each) for each in made["spec"]["containers"]]}
    for each in spec["containers"]:
        if not is_in_template and each["name"].startswith("spark-kubernetes"):
            each["resources"] = {
                side: {name: value for name, value in amounts.items() if name != "ephemeral-storage"}
                for side, amounts in each["resources"].items()
            }
    return spec


@settings(max_examples=200)
@given(applications(), POLICIES)
def test_heap_and_overhead_are_the_memory_of_the_container_and_cores_follow_its_cpu(job: Json, policy: Policy) -> None:
    after, _ = mutated(SPARK, job, policy)
    for side in ("driver", "executor"):
        (heap, total), before = heap_and_total(after, side), heap_and_total(job, side)
        has, had = (main_of(pod(each, side)) for each in (after, job))
        assert total * 2**20 == amount(has["requests"]["memory"])
        assert total * 2**20 == amount(has["limits"]["memory"]) or "memoryLimit" in job["spec"][side]
        assert (heap, total) == before or (0 <= heap < before[0] and total < before[1])
        cores, stated = (int(conf_of(each)[f"spark.{side}.cores"]) for each in (after, job))
        cpu, cpu_before = ([amount(each[kind].get("cpu", 0)) for kind in ("requests", "limits")] for each in (has, had))
        assert cores == stated if cpu == cpu_before else cores <= min(stated, math.ceil(max(cpu)))


def read(spec: Json) -> list[tuple[str, int, int, tuple[str, ...]]]:
    job = decode(msgspec.Raw(msgspec.json.encode({"spec": spec})))
    return [(role.name, role.count, role.most, role.notes) for role in job.roles]


@pytest.mark.parametrize(
    ("executor", "expect"),
    [
        ({}, (1, 1)),
        ({"executor": {"instances": 3}, "sparkConf": {"spark.executor.instances": "5"}}, (3, 3)),
        ({"sparkConf": {"spark.executor.instances": "5"}}, (5, 5)),
        ({"sparkConf": {"spark.executor.instances": "many"}}, (1, 1)),
        ({"sparkConf": {"spark.executor.instances": "9" * 400}}, (1, 1)),
        ({"executor": {"instances": -3}}, (0, 0)),
        ({"dynamicAllocation": {"enabled": True}}, (0, 2147483647)),
        ({"dynamicAllocation": {"enabled": True, "minExecutors": 2, "maxExecutors": 8}}, (2, 8)),
        ({"dynamicAllocation": {"enabled": False, "minExecutors": 2}, "executor": {"instances": 4}}, (4, 4)),
        (
            {
                "dynamicAllocation": {"minExecutors": 2},
                "sparkConf": {
                    "spark.dynamicAllocation.enabled": "TRUE",
                    "spark.dynamicAllocation.minExecutors": "3",
                    "spark.dynamicAllocation.maxExecutors": "2",
                },
            },
            (3, 3),
        ),
    ],
    ids=str,
)
def test_executors_are_counted_as_spark_does(executor: Json, expect: tuple[int, int]) -> None:
    assert read({"executor": {}, **executor}) == [("executor", *expect, ())]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ({}, ["spark-kubernetes-driver"]),
        ({"spec": {"containers": [{"name": "main"}, {"name": "log"}]}}, ["main", "log"]),
    ],
    ids=["empty", "another name"],
)
def test_the_container_of_spark_is_the_first_of_a_template_that_has_none_of_its_name(
    template: Json, names: list[str]
) -> None:
    spec = {"driver": {"template": template, "coreRequest": "3"}}
    (role,) = decode(msgspec.Raw(msgspec.json.encode({"spec": spec}))).roles
    assert [container.name for container in role.pod.spec.containers] == names
    assert str(role.pod.spec.containers[0].requests["cpu"]) == "3"


def test_what_has_no_driver_and_no_executor_has_no_role() -> None:
    assert read({}) == []


@pytest.mark.parametrize(
    ("spec", "notes"),
    [
        ({"driver": {"memory": "8 gigs"}}, ["the memory of spec/driver stays as it is: Spark cannot read it"]),
        ({"driver": {"memory": "1.5g"}}, ["the memory of spec/driver stays as it is: Spark cannot read it"]),
        (
            {"driver": {"memoryLimit": "two gigs"}},
            ["spec/driver/memoryLimit stays as it is: the Spark operator cannot read it"],
        ),
        (
            {"driver": {}, "memoryOverheadFactor": "inf"},
            ["the memory of spec/driver stays as it is: Spark cannot read it"],
        ),
        (
            {"driver": {}, "memoryOverheadFactor": "a tenth"},
            ["the memory of spec/driver stays as it is: Spark cannot read it"],
        ),
        (
            {"driver": {}, "sparkConf": {"spark.kubernetes.driver.limit.cores": "two"}},
            ["spec/driver/coreLimit stays as it is: Spark cannot read it"],
        ),
    ],
    ids=str,
)
def test_what_spark_cannot_read_is_noted(spec: Json, notes: list[str]) -> None:
    assert read(spec) == [("driver", 1, 1, tuple(notes))]


@pytest.mark.parametrize(
    ("stated", "after"), [("0", "1408m"), ("9g", "8192m"), ("9gb", "8192m"), ("9000Mi", "8192m"), ("8g", "8g")]
)
def test_the_limit_of_memory_that_the_operator_sets_is_filled_and_lowered(stated: str, after: str) -> None:
    policy = policy_of('{"task_resources": {"limits": {"memory": "8Gi"}}}')
    spec = {"driver": {"memoryLimit": stated}, "sparkConf": {}}
    job = {"metadata": {"name": "j", "labels": LABELS}, "spec": spec}
    assert mutated(SPARK, job, policy)[0]["spec"]["driver"]["memoryLimit"] == after


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("512", 512), ("512m", 512), ("1G", 1024), ("2gb", 2048), ("1048575k", 1023), (" 1t ", 2**20), ("0001g", 1024),
        ("0", 0), ("1gib", None), ("1.5g", None), ("", None), ("-1g", None), ("9" * 19, None),
    ],
)  # fmt: skip
def test_memory_is_read_as_spark_reads_it(text: str, expect: int | None) -> None:
    assert mebibytes(text) == expect
    assert mebibytes("1048576", "b") == 1


@pytest.mark.parametrize(
    ("memory", "most", "expect"),
    [
        (Memory(1024), 2048, Memory(1024)),
        (Memory(8192, factor=0.4), 8192, Memory(5852, factor=0.4)),
        (Memory(8192), 1024, Memory(640)),
        (Memory(8192), 384, Memory(350, 34)),
        (Memory(6000, 2000), 4000, Memory(3000, 1000)),
        (Memory(4000, 1000, {"python": 3000}), 4000, Memory(2000, 500, {"python": 1500})),
        (Memory(4096, others={"off-heap": 4096}), 4505, Memory(1976, others={"off-heap": 2145})),
    ],
)
def test_heap_and_overhead_are_lowered_to_the_memory_of_the_container(
    memory: Memory, most: int, expect: Memory
) -> None:
    lowered = memory.within(most)
    assert lowered.total <= most or lowered == memory
    assert lowered == expect


@given(st.integers(0, 10**6), st.none() | st.integers(0, 10**5), st.floats(0.01, 1000), st.integers(1, 10**6))
def test_lowered_memory_is_within_the_maximum_and_leaves_next_to_nothing_of_it(
    heap: int, overhead: int | None, factor: float, most: int
) -> None:
    memory = Memory(heap, overhead, factor=factor)
    lowered = memory.within(most)
    assert lowered.total <= max(most, 0)
    if memory.total > most:
        assert lowered.total > most - 2 - factor
