"""What a Pod asks for as a whole is what Kubernetes says it asks for, and any Pod that it may send can be read."""

from typing import Any

import msgspec
import pytest

from tests.vectors import Data, amounts, cases, params, pod_of, texts
from webhook import effective
from webhook import pod as pods
from webhook.pod import Pod, Resources, Toleration, decode
from webhook.quantity import parse

AGGREGATES = cases("quota.json", "aggregateRequestsLimits")


def without_status(case: Data) -> bool:
    """Others than ResourceQuota may leave out what the kubelet has actuated and allocated during a resize."""
    given = case["input"]
    return "ontainerStatuses" in str(given["pod"]) and not given["options"].get("UseStatusResources")


def with_another_formula(case: Data) -> bool:
    """The scheduler's variants of the formula, which ResourceQuota does not use."""
    return not {"ExcludeOverhead", "SkipPodLevelResources"}.isdisjoint(case["input"]["options"])


@pytest.mark.parametrize(
    ("given", "expect"), params(c for c in AGGREGATES if not without_status(c) and not with_another_formula(c))
)
def test_effective_requests_and_limits_are_those_of_kubernetes(given: Data, expect: Data) -> None:
    pod = pod_of(given["pod"])
    found = {"requests": effective.effective_requests(pod), "limits": effective.effective_limits(pod)}
    wanted = {side: amounts(expect[side]) for side in found if side in expect}
    assert {side: found[side] for side in wanted} == wanted


def test_no_more_aggregates_than_these_are_left_out() -> None:
    assert len(AGGREGATES) == 41
    assert [case["id"] for case in AGGREGATES if with_another_formula(case)] == [
        "4b66bab48c", "70fd1e063a", "ddd8db2ea7", "ee042d26e6",
    ]  # fmt: skip
    assert [case["id"] for case in AGGREGATES if without_status(case)] == [
        "8fb614a4b1", "0962f30d38", "77d6be1f98",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "requests", "limits"),
    [
        ({}, {}, {}),
        ({"containers": []}, {}, {}),
        (
            {"containers": [{"resources": {"requests": {"nvidia.com/gpu": "1"}}}] * 3},
            {"nvidia.com/gpu": "3"},
            {},
        ),
        (  # a sidecar runs beside the init containers after it, not beside those before it
            {
                "initContainers": [
                    {"resources": {"requests": {"cpu": "5"}}},
                    {"resources": {"requests": {"cpu": "1"}}, "restartPolicy": "Always"},
                    {"resources": {"requests": {"cpu": "4500m"}}},
                ],
                "containers": [{"resources": {"requests": {"cpu": "2"}}}],
            },
            {"cpu": "5500m"},
            {},
        ),
        (  # overhead adds to every request, and to those limits that are there
            {
                "overhead": {"cpu": "250m", "memory": "120Mi"},
                "containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "0"}}}],
            },
            {"cpu": "1250m", "memory": "120Mi"},
            {"cpu": "2250m", "memory": "0"},
        ),
        (  # what the Pod states as a whole replaces what its containers add up to
            {
                "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "9"}, "limits": {"memory": "1Gi"}},
                "containers": [
                    {"resources": {"requests": {"cpu": "3", "nvidia.com/gpu": "1"}, "limits": {"memory": "2Gi"}}}
                ],
            },
            {"cpu": "1", "nvidia.com/gpu": "1"},
            {"memory": "1Gi"},
        ),
    ],
    ids=["nothing", "no container", "sum", "sidecar", "overhead", "pod level"],
)
def test_a_pod_asks_for_its_peak(spec: Data, requests: dict[str, str], limits: dict[str, str]) -> None:
    pod = pod_of({"spec": spec})
    assert (texts(effective.effective_requests(pod)), texts(effective.effective_limits(pod))) == (requests, limits)


ONE_OF_EACH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("spec", "expect"),
    [
        ({}, effective.BEST_EFFORT),
        ({"containers": [{}]}, effective.BEST_EFFORT),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}, effective.BEST_EFFORT),
        ({"containers": [{"resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "0"}}}]}, effective.BEST_EFFORT),
        ({"containers": [{"resources": {"requests": {"cpu": "1"}}}]}, effective.BURSTABLE),
        ({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}, effective.BURSTABLE),
        ({"containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}]}, effective.BURSTABLE),
        ({"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}]}, effective.GUARANTEED),
        ({"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}, {}]}, effective.BURSTABLE),
        (
            {"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": {"cpu": "1000m", "memory": "1024Mi"}}}]},
            effective.GUARANTEED,
        ),
        (
            {"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": {"cpu": "2", "memory": "1Gi"}}}]},
            effective.BURSTABLE,
        ),
        (
            {
                "containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}],
                "initContainers": [{"resources": {"requests": {"cpu": "1"}}}],
            },
            effective.BURSTABLE,
        ),
        (
            {"resources": {}, "containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}]},
            effective.BEST_EFFORT,
        ),
        ({"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}, "containers": [{}]}, effective.GUARANTEED),
        ({"resources": {"limits": {"cpu": "1"}}, "containers": [{}]}, effective.BURSTABLE),
        ({"resources": {"requests": ONE_OF_EACH}, "containers": [{}]}, effective.BURSTABLE),
    ],
)
def test_the_qos_class_is_that_of_kubernetes(spec: Data, expect: str) -> None:
    assert effective.qos(pod_of({"spec": spec})) == expect


@pytest.mark.parametrize(
    ("resources", "expect"),
    [
        (None, False),
        ({}, False),
        ({"requests": {}, "limits": None}, False),
        ({"requests": {"ephemeral-storage": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}, False),
        ({"requests": {"cpu": "0"}}, True),
        ({"limits": {"hugepages-2Mi": "2Mi"}}, True),
    ],
)
def test_pod_level_resources_are_there_once_a_supported_name_is(resources: Data | None, expect: bool) -> None:  # noqa: FBT001
    assert effective.has_pod_level_resources(pod_of({"spec": {"resources": resources}})) is expect


NULLS: Data = {
    "apiVersion": None,
    "metadata": {"name": None, "generateName": None, "labels": None, "annotations": None, "ownerReferences": None},
    "spec": {
        "containers": [{"name": None, "resources": None, "restartPolicy": None, "image": None}],
        "initContainers": [{"resources": {"requests": None, "limits": None, "claims": None}}],
        "resources": None,
        "overhead": None,
        "tolerations": [{"key": None, "operator": None, "value": None, "effect": None, "tolerationSeconds": None}],
        "activeDeadlineSeconds": None,
        "priorityClassName": None,
        "affinity": {
            "podAffinity": None,
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": None,
                "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": None}],
            },
        },
    },
    "status": None,
}
SPECS_OF_NULLS: list[Data] = [
    {"containers": None, "initContainers": None, "tolerations": None, "affinity": None},
    {"resources": {"requests": None, "limits": None}},
    {"overhead": {"cpu": None}, "containers": [{"resources": {"requests": {"cpu": None}}}]},
    {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": None}]}}},
]


@pytest.mark.parametrize("data", [NULLS, *({"spec": spec} for spec in SPECS_OF_NULLS)])
def test_null_says_as_much_as_absence(data: Data) -> None:
    pod = pod_of(data)
    asked = (effective.effective_requests(pod), effective.effective_limits(pod))
    everything = (*asked, effective.has_pod_level_resources(pod))
    assert ({k: v for side in everything[:2] for k, v in side.items() if v}, everything[2]) == ({}, False)
    assert effective.qos(pod) is effective.BEST_EFFORT


def test_null_labels_and_annotations_are_read_as_they_are() -> None:
    pod = pod_of({"metadata": {"labels": {"a": None, "b": ""}, "annotations": {"c": None}}})
    assert (pod.metadata.labels, pod.metadata.annotations) == ({"a": None, "b": ""}, {"c": None})


def test_fields_that_no_rule_reads_may_hold_anything() -> None:
    assert pod_of({"kind": 5, "spec": {"volumes": "?", "nodeName": [], "containers": []}}) == Pod()


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("[]", "Expected `object`, got `array`"),
        ('{"spec": []}', "at `$.spec`"),
        ('{"spec": {"containers": {}}}', "Expected `array`, got `object` - at `$.spec.containers`"),
        ('{"spec": {"containers": [5]}}', "at `$.spec.containers[0]`"),
        ('{"spec": {"containers": [{}, {"resources": []}]}}', "at `$.spec.containers[1].resources`"),
        ('{"spec": {"initContainers": [{"restartPolicy": 1}]}}', "at `$.spec.initContainers[0].restartPolicy`"),
        (
            '{"spec": {"containers": [{"resources": {"requests": {"cpu": "four"}}}]}}',
            (
                "requests[cpu]: 'four' is not a quantity; write a number such as 2, 500m, 1.5 or 1e3, with one of the "
                "suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei - at `$.spec.containers[0].resources`"
            ),
        ),
        ('{"spec": {"resources": {"limits": 5}}}', "at `$.spec.resources`"),
        ('{"spec": {"resources": {"limits": {"cpu": []}}}}', "limits[cpu]: '[]' is not a quantity"),
        ('{"spec": {"overhead": {"cpu": true}}}', "'True' is not a quantity"),
        ('{"spec": {"overhead": {"cpu": []}}}', "at `$.spec.overhead[...]`"),
        ('{"spec": {"tolerations": [{"tolerationSeconds": "300"}]}}', "at `$.spec.tolerations[0].tolerationSeconds`"),
        ('{"metadata": {"labels": {"a": 1}}}', "at `$.metadata.labels[...]`"),
        (
            '{"metadata": {"ownerReferences": [{"controller": "true"}]}}',
            "at `$.metadata.ownerReferences[0].controller`",
        ),
    ],
)
def test_what_is_no_pod_is_reported_with_its_path(raw: str, path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        decode(raw.encode())
    assert path in str(raised.value)


@pytest.mark.parametrize("raw", ["", "{", '{"spec": ', '{"spec": {"overhead": {"cpu": 01}}}', "nul"])
def test_what_is_no_json_is_a_decode_error(raw: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(raw.encode())


@pytest.mark.parametrize(("given", "expect"), params(cases("quantity.json", "json")))
def test_a_quantity_on_the_wire_is_read_as_kubernetes_reads_it(given: Data, expect: Data) -> None:
    raw = f'{{"spec": {{"overhead": {{"cpu": {given["json"]}}}}}}}'.encode()
    if not expect["ok"]:
        with pytest.raises(msgspec.ValidationError, match="is not a quantity"):
            decode(raw)
        return
    assert texts(decode(raw).spec.overhead or {}) == {"cpu": expect["string"]}


@pytest.mark.parametrize(
    ("raw", "text"),
    [("1E400", "10e399"), ("12345678901234567890123", "12345678901234567890123"), ("0.1", "100m"), ("1e-12", "1e-9")],
)
def test_a_bare_number_keeps_every_digit(raw: str, text: str) -> None:
    pod = decode(f'{{"spec": {{"overhead": {{"cpu": {raw}}}}}}}'.encode())
    assert texts(pod.spec.overhead or {}) == {"cpu": text}


def test_no_other_type_is_decoded_by_our_hook() -> None:
    with pytest.raises(NotImplementedError):
        pods.decode_hook(complex, "1")


@pytest.mark.parametrize(
    ("toleration", "identity"),
    [
        ({}, ("", "Equal", "", "")),
        ({"key": "a", "operator": "Exists", "effect": "NoSchedule"}, ("a", "Exists", "", "NoSchedule")),
        ({"key": "a", "value": "b", "tolerationSeconds": 300}, ("a", "Equal", "b", "")),
    ],
)
def test_tolerations_are_the_same_by_key_operator_value_and_effect(toleration: Data, identity: tuple[str, ...]) -> None:
    assert msgspec.convert(toleration, Toleration).identity == identity


def test_blocks_of_resources_are_equal_by_what_they_print() -> None:
    one, thousand, k = (Resources(requests={"cpu": parse(text)}) for text in ("1", "1000m", "1e0"))
    assert one == Resources(requests={"cpu": parse("1")}, limits={})
    assert hash(one) == hash(Resources(requests={"cpu": parse("1")}))
    assert one == thousand
    assert one not in (k, {"cpu": "1"}, Resources(limits={"cpu": parse("1")}))
    assert repr(one) == "Resources({'cpu': Quantity('1')}, None)"


def test_a_block_of_resources_knows_what_it_uses() -> None:
    block = pod_of(
        {"spec": {"resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "0"}, "limits": {"memory": "1Gi"}}}}
    ).spec.resources
    assert block is not None
    assert block.used == {"cpu", "memory"}


def test_containers_stand_at_their_json_pointers() -> None:
    pod = pod_of({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "c"}]}})
    assert [(pointer, container.name) for pointer, container in pods.containers(pod)] == [
        ("/spec/containers/0", "a"),
        ("/spec/containers/1", "b"),
        ("/spec/initContainers/0", "c"),
    ]


def test_resources_are_replaced_where_they_stand_and_nothing_else_is() -> None:
    before = {
        "containers": [{"name": "a"}, {"name": "b"}],
        "initContainers": [{"name": "c", "restartPolicy": "Always"}],
    }
    two, three, four = (Resources(limits={"cpu": parse(text)}) for text in ("2", "3", "4"))
    after: dict[str, Any] = {
        "containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2"}}}],
        "initContainers": [{"name": "c", "restartPolicy": "Always", "resources": {"limits": {"cpu": "3"}}}],
        "resources": {"limits": {"cpu": "4"}},
    }
    pod = pod_of({"spec": before})
    changed = pods.with_resources(pod, {"/spec/containers/1": two, "/spec/initContainers/0": three, "/spec": four})
    assert changed == pod_of({"spec": after})
    assert pods.with_resources(pod, {}) is pod


@pytest.mark.parametrize("init", ["null", "[]"])
def test_a_pod_without_init_containers_stays_without(init: str) -> None:
    pod = decode(f'{{"spec": {{"containers": [{{}}], "initContainers": {init}}}}}'.encode())
    fresh = pods.with_resources(pod, {"/spec": Resources(limits={"cpu": parse("1")})})
    assert fresh.spec.init_containers == pod.spec.init_containers


@pytest.mark.parametrize(
    ("spec", "expect"),
    [
        (
            {"containers": [{}], "tolerations": None},
            {
                "/spec/tolerations",
                "/spec/resources", "/spec/resources/requests", "/spec/resources/limits",
                "/spec/containers/0/resources", "/spec/containers/0/resources/requests",
                "/spec/containers/0/resources/limits",
            },
        ),
        (
            {
                "tolerations": [],
                "resources": {"requests": {}, "limits": None},
                "containers": [{"resources": {"limits": {"cpu": "1"}}}],
                "initContainers": [{"resources": {"requests": {}, "limits": {}}}],
            },
            {"/spec/resources/limits", "/spec/containers/0/resources/requests"},
        ),
    ],
)  # fmt: skip
def test_parents_that_are_absent_or_null_are_named(spec: Data, expect: set[str]) -> None:
    assert pods.absent(pod_of({"spec": spec})) == expect
