"""Any Pod that the API server may send can be read; for anything else the error has the path."""

from typing import Any

import msgspec
import pytest

from tests import workloads
from tests.vectors import Data, cases, params, pod_of, texts
from webhook.api import pod as pods
from webhook.api.pod import Toleration, decode
from webhook.api.quantity import parse
from webhook.api.resources import Resources, decode_hook

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
    asked = (workloads.effective_requests(pod), workloads.effective_limits(pod))
    everything = (*asked, workloads.has_pod_level_resources(pod))
    assert ({k: v for side in everything[:2] for k, v in side.items() if v}, everything[2]) == ({}, False)
    assert workloads.qos(pod) == "BestEffort"


def test_null_labels_and_annotations_are_read_as_they_are() -> None:
    pod = pod_of({"metadata": {"labels": {"a": None, "b": ""}, "annotations": {"c": None}}})
    assert (pod.metadata.labels, pod.metadata.annotations) == ({"a": None, "b": ""}, {"c": None})


def test_fields_that_no_rule_reads_may_hold_anything() -> None:
    assert pod_of({"kind": 5, "spec": {"volumes": "?", "nodeName": []}}) == pod_of({})


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("[]", "Expected `object`, got `array`"),
        ('{"spec": []}', "at `$.spec`"),
        ('{"spec": {"containers": {}}}', "Expected `array | null`, got `object` - at `$.spec.containers`"),
        ('{"spec": {"containers": [5]}}', "at `$.spec.containers[0]`"),
        ('{"spec": {"containers": [{}, {"resources": []}]}}', "at `$.spec.containers[1].resources`"),
        ('{"spec": {"initContainers": [{"restartPolicy": 1}]}}', "at `$.spec.initContainers[0].restartPolicy`"),
        (
            '{"spec": {"containers": [{"resources": {"requests": {"cpu": "four"}}}]}}',
            (
                "requests[cpu]: 'four' is not a valid quantity; write a number such as 2, 500m, 1.5 or 1e3, with one "
                "of the suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei - at `$.spec.containers[0].resources`"
            ),
        ),
        ('{"spec": {"resources": {"limits": 5}}}', "at `$.spec.resources`"),
        ('{"spec": {"resources": {"limits": {"cpu": []}}}}', "limits[cpu]: '[]' is not a valid quantity"),
        ('{"spec": {"overhead": {"cpu": true}}}', "'true' is not a valid quantity"),
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
        with pytest.raises(msgspec.ValidationError, match="is not a valid quantity"):
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
        decode_hook(complex, "1")


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
    assert one != Resources(requests={"cpu": parse("1")}, limits={}), "a patch adds what is absent, not what is empty"
    assert hash(one) == hash(Resources(requests={"cpu": parse("1")}))
    assert one == thousand
    assert one not in (k, {"cpu": "1"}, Resources(limits={"cpu": parse("1")}))
    binary, decimal = (Resources(requests={"memory": parse(text)}) for text in ("0.5Ki", "512"))
    assert binary != decimal, "both print 512, but twice of it 1Ki and 1024"
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
