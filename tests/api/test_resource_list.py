"""ResourceLists add, subtract and compare by name as in kube-apiserver, and names have the same kinds as there."""

from collections.abc import Callable

import pytest

from tests.vectors import texts
from webhook.api import resource_list
from webhook.api.quantity import parse
from webhook.api.resource_list import ResourceList


def amounts(**texts: str) -> ResourceList:
    return {name: parse(text) for name, text in texts.items()}


Operation = Callable[[ResourceList, ResourceList], ResourceList]


@pytest.mark.parametrize(
    ("operation", "left", "right", "expect"),
    [
        (resource_list.add, {}, {}, {}),
        (resource_list.add, {"cpu": "1"}, {}, {"cpu": "1"}),
        (resource_list.add, {}, {"cpu": "1"}, {"cpu": "1"}),
        (resource_list.add, {"cpu": "1"}, {"memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}),
        (resource_list.add, {"cpu": "1"}, {"cpu": "500m"}, {"cpu": "1500m"}),
        (resource_list.add, {"memory": "1Gi"}, {"memory": "500M"}, {"memory": "1573741824"}),
        (resource_list.add, {"memory": "0"}, {"memory": "1Gi"}, {"memory": "1Gi"}),
        (resource_list.maximum, {}, {}, {}),
        (resource_list.maximum, {"cpu": "1"}, {}, {"cpu": "1"}),
        (resource_list.maximum, {}, {"cpu": "1"}, {"cpu": "1"}),
        (resource_list.maximum, {"cpu": "1", "memory": "1Gi"}, {"cpu": "2"}, {"cpu": "2", "memory": "1Gi"}),
        (resource_list.maximum, {"cpu": "2"}, {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}),
        (resource_list.maximum, {"cpu": "1e3"}, {"cpu": "1k"}, {"cpu": "1e3"}),
        (resource_list.maximum, {"cpu": "-1"}, {}, {"cpu": "-1"}),
        (resource_list.subtract, {}, {"cpu": "1"}, {}),
        (resource_list.subtract, {"cpu": "1"}, {}, {"cpu": "1"}),
        (resource_list.subtract, {"cpu": "1", "memory": "1Gi"}, {"cpu": "1500m"}, {"cpu": "-500m", "memory": "1Gi"}),
    ],
)
def test_an_absent_name_is_not_a_zero(
    operation: Operation, left: dict[str, str], right: dict[str, str], expect: dict[str, str]
) -> None:
    assert texts(operation(amounts(**left), amounts(**right))) == expect


def test_an_operation_leaves_its_operands_as_they_were() -> None:
    left, right = amounts(cpu="1"), amounts(cpu="2", memory="1Gi")
    resource_list.add(left, right)
    resource_list.maximum(left, right)
    resource_list.subtract(left, right)
    assert (texts(left), texts(right)) == ({"cpu": "1"}, {"cpu": "2", "memory": "1Gi"})


def test_only_keeps_the_order_of_the_list() -> None:
    found = resource_list.only(amounts(pods="1", cpu="2", memory="3"), {"memory", "pods", "services"})
    assert list(texts(found).items()) == [("pods", "1"), ("memory", "3")]


@pytest.mark.parametrize(
    ("names", "expect"),
    [([], ""), (["cpu"], "cpu=1500m"), (["cpu", "memory", "pods"], "cpu=1500m,memory=1e9,pods=0")],
)
def test_a_list_prints_as_the_api_server_prints_it(names: list[str], expect: str) -> None:
    assert resource_list.text(amounts(memory="1e9", cpu="1.5"), names) == expect


LABEL = "a" * 63
SUBDOMAIN = ".".join(["a" * 62] * 4)  # 251 characters


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        ("cpu", True),
        ("A", True),
        ("a.b_c-D9", True),
        ("nvidia.com/gpu", True),
        ("nvidia.com/mig-1g.5gb", True),
        (LABEL, True),
        (f"example.com/{LABEL}", True),
        (f"{SUBDOMAIN}.a/gpu", True),
        ("", False),
        ("-a", False),
        ("a-", False),
        ("a b", False),
        ("a\n", False),
        ("é", False),
        ("/gpu", False),
        ("nvidia.com/", False),
        ("a/b/c", False),
        ("NVIDIA.com/gpu", False),
        ("nvidia..com/gpu", False),
        (".com/gpu", False),
        ("nvidia.com./gpu", False),
        ("a_b/gpu", False),
        (f"{LABEL}a", False),
        (f"example.com/{LABEL}a", False),
        (f"{SUBDOMAIN}.aaa/gpu", False),
    ],
)
def test_a_qualified_name_is_what_kubernetes_takes_for_one(name: str, expect: bool) -> None:  # noqa: FBT001
    assert resource_list.is_qualified_name(name) is expect


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        ("nvidia.com/gpu", True),
        ("nvidia.com/mig-1g.5gb", True),
        ("google.com/tpu", True),
        ("amd.com/gpu", True),
        ("vendor.example/a_b", True),
        ("cpu", False),
        ("gpu", False),
        ("hugepages-2Mi", False),
        ("kubernetes.io/batch-cpu", False),
        ("foo.kubernetes.io/gpu", False),
        ("deviceclass.resource.kubernetes.io/gpu", False),
        ("requests.nvidia.com/gpu", False),
        ("nvidia.com/", False),
        ("-x.com/gpu", False),
        (f"{SUBDOMAIN}/gpu", False),  # as requests.NAME in a quota it is too long
    ],
)
def test_an_extended_resource_is_a_vendors_countable_device(name: str, expect: bool) -> None:  # noqa: FBT001
    assert resource_list.is_extended(name) is expect


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        ("deviceclass.resource.kubernetes.io/gpu.nvidia.com", True),
        ("nvidia.com/gpu", True),
        ("deviceclass.resource.kubernetes.io/", False),
        ("deviceclass.resource.kubernetes.io/a/b", False),
        ("kubernetes.io/x", False),
        ("cpu", False),
    ],
)
def test_devices_are_extended_resources_and_device_classes(name: str, expect: bool) -> None:  # noqa: FBT001
    assert resource_list.is_device(name) is expect


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        ("nvidia.com/gpu", True),
        ("kubernetes.io/batch-cpu", True),
        ("node.kubernetes.io/slots", True),
        ("deviceclass.resource.kubernetes.io/gpu", True),
        ("kubernetes.io/", False),
        ("requests.nvidia.com/gpu", False),
        ("cpu", False),
    ],
)
def test_a_container_may_ask_for_extended_resources_and_names_with_kubernetes_io(name: str, expect: bool) -> None:  # noqa: FBT001
    assert resource_list.is_prefixed(name) is expect


@pytest.mark.parametrize(
    ("name", "amount", "expect"),
    [
        ("cpu", "1500500u", "1500m"),
        ("memory", "1500m", "1"),
        ("nvidia.com/gpu", "1500m", "1"),
        ("hugepages-2Mi", "7Mi", "6Mi"),
        ("hugepages-1Gi", "1023Mi", "0"),
        # no size of pages: the API server refuses the name
        ("hugepages-", "1500m", "1"),
        ("hugepages-0", "1500m", "1"),
        ("hugepages--2Mi", "1500m", "1"),
        ("hugepages-1500m", "1500m", "1"),
        ("hugepages-big", "1500m", "1"),
    ],
)
def test_an_amount_is_cut_to_whole_units_of_its_resource(name: str, amount: str, expect: str) -> None:
    assert resource_list.round_down(name, parse(amount).nano) == parse(expect).nano
