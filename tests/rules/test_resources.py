"""Missing requests and limits are filled, and what is over a maximum is lowered: as Flyte does, in every container."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import PLATFORM, clamped, container, context, filled, spec, task_pod
from tests.rules import text as as_text
from tests.vectors import Data, cases, params
from tests.workloads import clamp, default, fill
from webhook.api import pod as pods
from webhook.api import quantity
from webhook.api.pod import Pod
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resources import NO_RESOURCES

CLASS = "deviceclass.resource.kubernetes.io/"
CLASS_IN_A_PATH = "deviceclass.resource.kubernetes.io~1"


def one_resource(pod: Pod) -> dict[str, str]:
    """The cpu of its only container as Flyte's vectors have it: "0" for nothing."""
    (only,) = pod.spec.containers
    return {"request": str(only.requests.get("cpu", ZERO)), "limit": str(only.limits.get("cpu", ZERO))}


def pods_of(given: Data) -> list[Pod]:
    """With its zeros said, and left out."""
    sides = {side: {"cpu": given[side.removesuffix("s")]} for side in ("requests", "limits")}
    nonzero = {side: values for side, values in sides.items() if values["cpu"] != "0"}
    return [task_pod(spec({"resources": block})) for block in (sides, nonzero)]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "AdjustOrDefaultResource")))
def test_fill_and_clamp_are_what_flyte_does_to_a_task(given: Data, expect: Data) -> None:
    block = {"defaults": {"cpu": given["platform_default"]}, "limits": {"cpu": given["platform_limit"]}}
    for pod in pods_of(given):
        rules = context(json.dumps({"task_resources": block}), pod)
        assert one_resource(clamp(fill(pod, rules)[0], rules)[0]) == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "ensureResourceRange")))
def test_clamp_is_what_flyte_does_to_other_containers(given: Data, expect: Data) -> None:
    for pod in pods_of(given):
        rules = context(json.dumps({"task_resources": {"limits": {"cpu": given["platform_limit"]}}}), pod)
        assert one_resource(clamp(pod, rules)[0]) == expect["exact"]


CPU_OF_0, MEMORY_OF_0 = (
    [
        f"/spec/containers/0/resources/requests/{name}: unset -> {amount} (not set; the default)",
        f"/spec/containers/0/resources/limits/{name}: unset -> {amount} (not set; same as the request)",
    ]
    for name, amount in (("cpu", "500m"), ("memory", "500Mi"))
)
STORAGE_OF_0 = [
    "/spec/containers/0/resources/requests/ephemeral-storage: unset -> 1Gi (not set; the default)",
    "/spec/containers/0/resources/limits/ephemeral-storage: unset -> 1Gi (not set; same as the request)",
]
FULL = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}


@pytest.mark.parametrize(
    ("pod_spec", "changes"),
    [
        (spec(), []),
        (spec({}), [*CPU_OF_0, *STORAGE_OF_0, *MEMORY_OF_0]),
        (spec({"resources": None}), [*CPU_OF_0, *STORAGE_OF_0, *MEMORY_OF_0]),
        (spec({"resources": {}}), [*CPU_OF_0, *STORAGE_OF_0, *MEMORY_OF_0]),
        (spec(container({}, {})), [*CPU_OF_0, *STORAGE_OF_0, *MEMORY_OF_0]),
        (spec(container(FULL, FULL)), []),
        (
            spec(container({**FULL, "cpu": "0"}, {**FULL, "cpu": "0"})),
            [
                "/spec/containers/0/resources/requests/cpu: 0 -> 500m (not set; the default)",
                "/spec/containers/0/resources/limits/cpu: 0 -> 500m (not set; same as the request)",
            ],
        ),
        (
            spec(container(FULL, {"cpu": "2"})),
            [
                "/spec/containers/0/resources/limits/ephemeral-storage: unset -> 1Gi (not set; same as the request)",
                "/spec/containers/0/resources/limits/memory: unset -> 1Gi (not set; same as the request)",
            ],
        ),
        (
            spec(container({"cpu": "0"}, FULL)),
            [
                "/spec/containers/0/resources/requests/cpu: 0 -> 1 (not set; same as the limit)",
                "/spec/containers/0/resources/requests/ephemeral-storage: unset -> 1Gi (not set; same as the limit)",
                "/spec/containers/0/resources/requests/memory: unset -> 1Gi (not set; same as the limit)",
            ],
        ),
        (  # a device is completed, and none is given
            spec(container({**FULL, "amd.com/gpu": "1"}, {**FULL, "nvidia.com/gpu": "2", "google.com/tpu": "0"})),
            [
                "/spec/containers/0/resources/limits/amd.com~1gpu: unset -> 1 (not set; same as the request)",
                "/spec/containers/0/resources/requests/nvidia.com~1gpu: unset -> 2 (not set; same as the limit)",
            ],
        ),
        (  # what a policy does not know of is left to its author
            spec(container({**FULL, "hugepages-2Mi": "2Mi", "foo.kubernetes.io/x": "1"}, FULL)),
            [],
        ),
        (  # nothing is built on what the API server refuses
            spec(container({"cpu": "-1"}, {"ephemeral-storage": "1Gi"})),
            [],
        ),
    ],
    ids=[
        *("no container", "nothing", "null", "{}", "{} twice", "everything", "zeros", "requests", "limits", "devices"),
        *("others", "negative"),
    ],
)
def test_a_task_gets_what_it_does_not_state(pod_spec: Data, changes: list[str]) -> None:
    assert filled(task_pod(pod_spec), PLATFORM) == changes


def a_task_with_others() -> Pod:
    return task_pod(
        spec(
            {"name": "main", **container(FULL, FULL)},
            {"name": "log", **container({"memory": "1Gi"})},
            initContainers=[
                {"name": "init", **container(None, {"nvidia.com/gpu": "1"})},
                {"name": "sidecar", **container({"cpu": "1"}, {"cpu": "1"}), "restartPolicy": "Always"},
            ],
        ),
        annotations={"primary_container_name": "main"},
    )


def both(pointer: str, name: str, amount: str) -> list[str]:
    return [
        f"{pointer}/resources/requests/{name}: unset -> {amount} (not set; the default)",
        f"{pointer}/resources/limits/{name}: unset -> {amount} (not set; same as the request)",
    ]


GPU_OF_INIT = "/spec/initContainers/0/resources/requests/nvidia.com~1gpu: unset -> 1 (not set; same as the limit)"
MEMORY_OF_LOG = "/spec/containers/1/resources/limits/memory: unset -> 1Gi (not set; same as the request)"


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        (  # as the platform has it, but for devices
            "task_resources: {defaults: {cpu: 2, memory: 3Gi, gpu: 1}}",
            [
                *both("/spec/containers/1", "cpu", "2"),
                "/spec/containers/1/resources/limits/memory: unset -> 3Gi (not set; the default)",
                *both("/spec/initContainers/0", "cpu", "2"),
                *both("/spec/initContainers/0", "memory", "3Gi"),
                GPU_OF_INIT,
                *both("/spec/initContainers/1", "memory", "3Gi"),
            ],
        ),
        (  # their own
            "task_resources: {defaults: {cpu: 2, memory: 3Gi}}\nsecondary_defaults: {memory: 64Mi, amd.com/gpu: 1}",
            [
                *both("/spec/containers/1", "amd.com~1gpu", "1"),
                MEMORY_OF_LOG,
                *both("/spec/initContainers/0", "amd.com~1gpu", "1"),
                *both("/spec/initContainers/0", "memory", "64Mi"),
                GPU_OF_INIT,
                *both("/spec/initContainers/1", "amd.com~1gpu", "1"),
                *both("/spec/initContainers/1", "memory", "64Mi"),
            ],
        ),
        # none: nothing is filled there, but a device, whose request must equal its limit
        ("task_resources: {defaults: {cpu: 2, memory: 3Gi}}\nsecondary_defaults: {}", [GPU_OF_INIT]),
        ("", [GPU_OF_INIT]),
    ],
    ids=["absent", "own", "none", "no policy"],
)
def test_other_containers_have_defaults_of_their_own(policy: str, changes: list[str]) -> None:
    pod = a_task_with_others()
    found = [change for change in filled(pod, policy) if not change.startswith("/spec/containers/0/")]
    assert found == changes


ISTIO = {"cpu": "10m", "memory": "40Mi"}
LIMITS_OF_ISTIO = "/spec/containers/1/resources/limits"


@pytest.mark.parametrize(
    ("policy", "counted", "limits"),
    [
        (PLATFORM, (), {"cpu": "500m (not set; the default)", "memory": "500Mi (not set; the default)"}),
        (
            "secondary_defaults: {cpu: 5m, memory: {request: 10Mi, limit: 1Gi}}",
            (),
            {"cpu": "10m (not set; same as the request)", "memory": "1Gi (not set; the default)"},
        ),
        ("task_resources: {limits: {memory: 8Gi}}", (), {}),
        ("task_resources: {limits: {memory: 8Gi}}", ("memory",), {"memory": "40Mi (not set; same as the request)"}),
        ("{}", (), {}),
        ("{}", ("cpu", "ephemeral-storage"), {"cpu": "10m (not set; same as the request)"}),
        ("secondary_defaults: {}", (), {}),
        ("secondary_defaults: {}", ("cpu",), {"cpu": "10m (not set; same as the request)"}),
        ("{task_resources: {defaults: {cpu: 0}}}", ("memory",), {"memory": "40Mi (not set; same as the request)"}),
    ],
    ids=[
        "default",
        "request over the default",
        "maximum",
        "maximum and quota",
        "nothing",
        "quota",
        "told to fill nothing",
        "told to fill nothing and quota",
        "default 0",
    ],
)
def test_a_sidecar_that_states_requests_alone_gets_the_default_limit(
    policy: str, counted: tuple[str, ...], limits: dict[str, str]
) -> None:
    pod = task_pod(spec(container(FULL, FULL), container(ISTIO, None)))
    with_quota = context(policy, pod)._replace(counted=frozenset(counted))
    _, changes = fill(pod, with_quota)
    found = [as_text(change) for change in changes if "ephemeral" not in change.path]
    assert found == [f"{LIMITS_OF_ISTIO}/{name}: unset -> {after}" for name, after in limits.items()]


def test_a_task_that_states_requests_alone_gets_them_as_limits_whatever_the_default() -> None:
    policy = "task_resources: {defaults: {cpu: {request: 1, limit: 2}, memory: 1Gi}, limits: {cpu: 4}}"
    assert filled(task_pod(spec(container(ISTIO, None))), policy) == [
        "/spec/containers/0/resources/limits/cpu: unset -> 10m (not set; same as the request)",
        "/spec/containers/0/resources/limits/memory: unset -> 40Mi (not set; same as the request)",
    ]
    assert filled(task_pod(spec({})), policy) == [
        "/spec/containers/0/resources/requests/cpu: unset -> 1 (not set; the default)",
        "/spec/containers/0/resources/limits/cpu: unset -> 2 (not set; the default)",
        "/spec/containers/0/resources/requests/memory: unset -> 1Gi (not set; the default)",
        "/spec/containers/0/resources/limits/memory: unset -> 1Gi (not set; same as the request)",
    ]


def test_what_is_written_is_whole_bytes_rounded_up() -> None:
    policy = """
task_resources: {defaults: {memory: 1073741824.5, cpu: 1}, limits: {ephemeralStorage: 2147483648.5}}
"""
    pod = task_pod(
        spec(
            container({"cpu": "1"}, {"cpu": "1", "ephemeral-storage": "3Gi"}),
            container({"memory": "2147483648500m", "cpu": "0.5m"}, {"cpu": "1"}),
        )
    )
    assert filled(pod, policy) == [
        "/spec/containers/0/resources/requests/ephemeral-storage: unset -> 3Gi (not set; same as the limit)",
        "/spec/containers/0/resources/requests/memory: unset -> 1073741825 (not set; the default)",
        "/spec/containers/0/resources/limits/memory: unset -> 1073741825 (not set; same as the request)",
        "/spec/containers/1/resources/limits/memory: unset -> 2147483649 (not set; same as the request)",
    ]
    assert clamped(pod, policy)[0] == (
        "/spec/containers/0/resources/limits/ephemeral-storage: 3Gi -> 2147483649 (over the maximum 2147483649)"
    )


def test_a_device_by_default_goes_to_the_task() -> None:
    pod = task_pod(spec({}, {}, initContainers=[{}]))
    assert filled(pod, "task_resources: {defaults: {gpu: 1}}") == both("/spec/containers/0", "nvidia.com~1gpu", "1")


@pytest.mark.parametrize(
    ("level", "changes"),
    [
        (None, [*CPU_OF_0, *STORAGE_OF_0, *MEMORY_OF_0]),
        ({}, [*CPU_OF_0, *STORAGE_OF_0, *MEMORY_OF_0]),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}, [*STORAGE_OF_0, *MEMORY_OF_0]),
        ({"limits": {"memory": "1Gi"}}, [*CPU_OF_0, *STORAGE_OF_0]),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}}, STORAGE_OF_0),
    ],
)
def test_what_the_pod_states_as_a_whole_is_left_open_in_containers(level: Data | None, changes: list[str]) -> None:
    assert filled(task_pod(spec({}, resources=level)), PLATFORM) == changes


@pytest.mark.parametrize(
    ("pod_spec", "changes"),
    [
        (spec(), []),
        (spec({}), []),
        (spec(container({"cpu": "4", "memory": "8Gi"}, {"cpu": "4", "memory": "8Gi"})), []),
        (spec(container({"cpu": "4000m"}, {"cpu": "4e0"})), []),
        (
            spec(container({"cpu": "6"}, {"cpu": "6"})),
            [
                "/spec/containers/0/resources/limits/cpu: 6 -> 4 (over the maximum 4)",
                "/spec/containers/0/resources/requests/cpu: 6 -> 4 (over the maximum 4)",
            ],
        ),
        (
            spec(container({"memory": "1Gi"}, {"memory": "8193Mi"})),
            ["/spec/containers/0/resources/limits/memory: 8193Mi -> 8Gi (over the maximum 8Gi)"],
        ),
        (
            spec(container({"cpu": "4001m"})),
            ["/spec/containers/0/resources/requests/cpu: 4001m -> 4 (over the maximum 4)"],
        ),
        (
            spec(container({"cpu": "3"}, {"cpu": "2"})),
            ["/spec/containers/0/resources/requests/cpu: 3 -> 2 (over the limit 2)"],
        ),
        (
            spec(container({"ephemeral-storage": "3Gi"}, {"ephemeral-storage": "2Gi"})),
            ["/spec/containers/0/resources/requests/ephemeral-storage: 3Gi -> 2Gi (over the limit 2Gi)"],
        ),
        (
            spec(container({"cpu": "5"}, {"cpu": "0"})),
            [
                "/spec/containers/0/resources/requests/cpu: 5 -> 4 (over the maximum 4)",
                "/spec/containers/0/resources/limits/cpu: 0 -> 4 (zero; same as the request)",
            ],
        ),
        (
            spec(container({"nvidia.com/gpu": "8"}, {"nvidia.com/gpu": "8"})),
            [
                "/spec/containers/0/resources/limits/nvidia.com~1gpu: 8 -> 2 (over the maximum 2)",
                "/spec/containers/0/resources/requests/nvidia.com~1gpu: 8 -> 2 (over the maximum 2)",
            ],
        ),
        (
            spec(container({"amd.com/gpu": "8"}, {"amd.com/gpu": "8"})),
            [
                "/spec/containers/0/resources/limits/amd.com~1gpu: 8 -> 2 (over the maximum 2)",
                "/spec/containers/0/resources/requests/amd.com~1gpu: 8 -> 2 (over the maximum 2)",
            ],
        ),
        (spec(container({"example.com/fpga": "8"}, {"example.com/fpga": "8"})), []),
        (
            spec(container({f"{CLASS}mig.nvidia.com": "3", "hugepages-2Mi": "3Gi"}, {f"{CLASS}net.example.com": "9"})),
            [
                f"/spec/containers/0/resources/requests/{CLASS_IN_A_PATH}mig.nvidia.com: 3 -> 2 (over the maximum 2)",
            ],
        ),
        (spec(container({"cpu": "-5", "memory": "9Gi"}, {"cpu": "9"}), container({"cpu": "9"}, {"memory": "-1"})), []),
        (
            spec(
                {},
                container(None, {"cpu": "5"}),
                initContainers=[container({"cpu": "7"}), {**container({"cpu": "8"}), "restartPolicy": "Always"}],
            ),
            [
                "/spec/containers/1/resources/limits/cpu: 5 -> 4 (over the maximum 4)",
                "/spec/initContainers/0/resources/requests/cpu: 7 -> 4 (over the maximum 4)",
                "/spec/initContainers/1/resources/requests/cpu: 8 -> 4 (over the maximum 4)",
            ],
        ),
    ],
    ids=[
        *("no container", "nothing", "equal", "equal in another format", "both", "limit", "request", "over the limit"),
        *("no maximum", "zero limit", "device", "another GPU", "no GPU", "device class", "negative"),
        "every container",
    ],
)
def test_nothing_stays_over_a_maximum_or_over_its_limit(pod_spec: Data, changes: list[str]) -> None:
    assert clamped(task_pod(pod_spec), PLATFORM) == changes


AMOUNTS = st.sampled_from(["0", "1", "100m", "500Mi", "2Gi", "6", "1e3", "3.3", "9Gi", "1500u"])
NAMES = st.sampled_from(["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "hugepages-2Mi"])
BLOCKS = st.none() | st.fixed_dictionaries(
    {}, optional={side: st.none() | st.dictionaries(NAMES, AMOUNTS) for side in ("requests", "limits")}
)
CONTAINERS = st.lists(st.fixed_dictionaries({"resources": BLOCKS}), min_size=1, max_size=3)
SPECS = st.fixed_dictionaries(
    {"containers": CONTAINERS}, optional={"initContainers": st.none() | CONTAINERS, "resources": BLOCKS}
)
POLICIES = st.sampled_from(
    [
        PLATFORM,
        "task_resources: {limits: {cpu: 0.25, memory: 1G, ephemeralStorage: 1500m}}",
        "task_resources: {defaults: {cpu: 8, gpu: 1}, limits: {cpu: 2}}\nsecondary_defaults: {memory: 9Gi}",
    ]
)


def ruled(pod: Pod, policy: str) -> Pod:
    rules = context(policy, pod)
    return clamp(fill(pod, rules)[0], rules)[0]


@given(SPECS, POLICIES)
def test_afterwards_every_value_is_within_its_maximum_and_every_request_within_its_limit(
    pod_spec: Data, policy: str
) -> None:
    pod = ruled(task_pod(pod_spec), policy)
    maxima = context(policy, pod).settings.limits
    level = pod.spec.resources or NO_RESOURCES
    blocks = [(container.requests, container.limits) for _, container in pods.containers(pod)]
    for requests, limits in (*blocks, (level.requests or EMPTY, level.limits or EMPTY)):
        for values in (requests, limits):
            assert all(value <= (maxima.get(name) or value) for name, value in values.items())
        assert all(value <= limits.get(name, value) for name, value in requests.items())


@given(SPECS, POLICIES)
def test_a_second_time_nothing_changes(pod_spec: Data, policy: str) -> None:
    pod = ruled(task_pod(pod_spec), policy)
    rules = context(policy, pod)
    assert (fill(pod, rules), clamp(pod, rules)) == ((pod, []), (pod, []))


@given(SPECS, POLICIES)
def test_nothing_changes_either_after_the_defaults_of_the_api_server(pod_spec: Data, policy: str) -> None:
    admitted, _ = default(task_pod(pod_spec))
    pod, _ = default(ruled(admitted, policy))
    rules = context(policy, pod)
    assert (fill(pod, rules), clamp(pod, rules)) == ((pod, []), (pod, []))


HUGE = "task_resources: {limits: {hugepages-2Mi: 1Gi, hugepages-*: 3000Mi}}"


@pytest.mark.parametrize(
    ("name", "asked", "gets"),
    [
        ("hugepages-2Mi", "2Gi", "1Gi"),
        ("hugepages-2Mi", "1Gi", "1Gi"),
        ("hugepages-1Gi", "4Gi", "2Gi"),  # whole pages
        ("hugepages-4Gi", "4Gi", "0"),
    ],
)
def test_hugepages_are_clamped_by_whole_pages_with_the_request_equal_to_the_limit(
    name: str, asked: str, gets: str
) -> None:
    (clamped,) = ruled(task_pod(spec(container({name: asked}, {name: asked}))), HUGE).spec.containers
    assert (str(clamped.requests[name]), str(clamped.limits[name])) == (gets, gets)


def test_a_missing_half_of_a_device_class_is_filled_and_hugepages_are_not() -> None:
    pod = task_pod(spec(container({f"{CLASS}gpu.nvidia.com": "1", "hugepages-2Mi": "2Mi"})))
    limit = f"/spec/containers/0/resources/limits/{CLASS_IN_A_PATH}gpu.nvidia.com"
    assert filled(pod, "") == [f"{limit}: unset -> 1 (not set; same as the request)"]


def test_a_maximum_of_zero_is_none() -> None:
    pod = task_pod(spec(container({"cpu": "6"}, {"cpu": "6"})))
    assert clamped(pod, "task_resources: {limits: {cpu: 0}}") == []


def test_a_maximum_finer_than_thousandths_holds_after_the_api_server_has_rounded() -> None:
    policy = "task_resources: {limits: {cpu: 1500u}}"
    pod, _ = default(ruled(task_pod(spec(container({"cpu": "6"}, {"cpu": "6"}))), policy))
    assert clamped(pod, policy) == []


# What plugins.k8s of Flyte has for a task where the platform has nothing (default-cpus, default-memory).
FLYTES_DEFAULTS = {"cpu": "1", "memory": "1Gi"}
ASSIGNING = [
    *(case for file in ("flyte_v1.json", "flyte_v2.json") for case in cases(file, "ApplyResourceOverrides")),
    *(case for file in ("flyte_v1.json", "flyte_v2.json") for case in cases(file, "AddFlyteCustomizationsToContainer")),
    *cases("flyte_v1.json", "AddFlyteCustomizationsToContainerWithPodTemplate"),
    *cases("flyte_v1.json", "AddFlyteCustomizationsToContainer.derived"),
    *cases("flyte_v2.json", "AddFlyteCustomizationsToContainer.accelerators"),
]


def as_flyte_sends_it(given: Data) -> Data:
    """The container's resources when Flyte has merged in what the task overrides and what its PodTemplate has."""
    container = given.get("container", given.get("resources", {}))
    merged: Data = {}
    for side in ("requests", "limits"):
        layers = [container, given.get("overrides", {})]
        if given.get("mode") == "MergeExistingResources":
            layers.insert(0, given.get("pod_template", {}))
        gpu = {"GOOGLE_TPU": "google.com/tpu"}.get(given.get("device_class") or "", "nvidia.com/gpu")
        amounts = {gpu if name == "gpu" else name: v for layer in layers for name, v in layer.get(side, {}).items()}
        merged[side] = amounts
    return merged


@pytest.mark.parametrize(
    ("given", "expect"),
    params(case for case in ASSIGNING if case["input"].get("mode") != "EnsureExistingResourcesInRange"),
)
def test_a_task_gets_what_flyte_assigns_it(given: Data, expect: Data) -> None:
    platform = {side: dict(given["platform"].get(side, {})) for side in ("requests", "limits")}
    block = {"defaults": FLYTES_DEFAULTS | platform["requests"], "limits": platform["limits"]}
    pod = ruled(task_pod(spec({"resources": as_flyte_sends_it(given)})), json.dumps({"task_resources": block}))
    found = {side: amounts(getattr(pod.spec.containers[0], side)) for side in ("requests", "limits")}
    wanted = expect.get("exact") or expect.get("subset") or {}
    for side, values in wanted.items():
        known = values if "subset" in expect else found[side] | values
        assert {name: found[side].get(name) for name in known} == amounts_of(values), side
    if "counts" in expect:
        assert {side: len(found[side]) for side in expect["counts"]} == expect["counts"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "flyteadmin.setCompiledTaskDefaults")))
def test_a_task_gets_what_flyteadmin_gives_it_before_it_runs(given: Data, expect: Data) -> None:
    block = {"defaults": given["platform_defaults"], "limits": given["platform_limits"]}
    pod = ruled(task_pod(spec({"resources": given["task"]})), json.dumps({"task_resources": kinds_of_flyte(block)}))
    found = {side: amounts(getattr(pod.spec.containers[0], side)) for side in ("requests", "limits")}
    assert found == {side: amounts_of(values) for side, values in expect["exact"].items()}


def kinds_of_flyte(block: Data) -> Data:
    """Under the keys of task_resources."""
    keys = {"ephemeral-storage": "ephemeralStorage"}
    return {part: {keys.get(name, name): value for name, value in values.items()} for part, values in block.items()}


def amounts(resources: ResourceList) -> dict[str, Quantity]:
    return dict(resources)


def amounts_of(values: Data) -> dict[str, Quantity]:
    return {name: quantity.parse(value) for name, value in values.items()}


def test_beyond_flyte_a_secondary_container_gets_its_request_from_its_limit() -> None:
    (case,) = (c for c in ASSIGNING if c["input"].get("mode") == "EnsureExistingResourcesInRange")
    assert case["expect"]["exact"]["requests"] == {"cpu": "0", "memory": "0"}
    block = {"defaults": case["input"]["platform"]["requests"], "limits": case["input"]["platform"]["limits"]}
    sidecar = {"name": "log", "resources": case["input"]["container"]}
    pod = ruled(task_pod(spec({}, sidecar)), json.dumps({"task_resources": block}))
    assert amounts(pod.spec.containers[1].requests) == amounts_of({"cpu": "1"})
