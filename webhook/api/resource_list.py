"""Arithmetic on ResourceLists (maps of resource names to quantities), and the kinds of resource names.

The operations are those of k8s.io/apiserver `pkg/quota/v1/resources.go` and k8s.io/component-helpers
`resource/helpers.go`: an absent name is not zero, and a sum keeps the format of its first operand.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from webhook.api.quantity import NANO, ZERO, Quantity, QuantityError, parse

ResourceList: TypeAlias = Mapping[str, Quantity]

EMPTY: Final[ResourceList] = {}
NATIVE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
HUGEPAGES: Final = "hugepages-"
MAX_NAME_LENGTH: Final = 253 + 1 + 63  # of a resource
DEVICE_CLASS: Final = "deviceclass.resource.kubernetes.io/"
_DNS_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED_NAME: Final = re.compile(
    rf"(?:(?=[^/]{{1,253}}/){_DNS_LABEL}(\.{_DNS_LABEL})*/)?(?=[^/]{{1,63}}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
)


def is_qualified_name(name: str) -> bool:
    """Return whether Kubernetes accepts `name` as a label or toleration key or resource name: [DNS subdomain/]name."""
    return _QUALIFIED_NAME.fullmatch(name) is not None


def is_extended(name: str) -> bool:
    """Return whether `name` is an extended resource: a GPU, a MIG slice, a TPU, any vendor's countable device.

    The rule is IsExtendedResourceName in kubernetes `pkg/apis/core/v1/helper/helpers.go`.
    """
    return len(name) <= MAX_NAME_LENGTH and _is_extended(name)


@lru_cache(maxsize=1024)
def _is_extended(name: str) -> bool:
    return (
        "/" in name
        and "kubernetes.io/" not in name
        and not name.startswith("requests.")
        and is_qualified_name(f"requests.{name}")
    )


def is_device(name: str) -> bool:
    """Return whether the name requests devices: an extended resource, or a class of dynamic resource allocation."""
    return is_extended(name) or (name.startswith(DEVICE_CLASS) and is_qualified_name(name))


def is_prefixed(name: str) -> bool:
    """Return whether a container may ask for the name, apart from cpu, memory, ephemeral storage and hugepages.

    These are extended resources, and all names with `kubernetes.io/`: the scheduler counts what a node offers of them
    (ValidateContainerResourceName in kubernetes `pkg/apis/core/validation/validation.go`).
    """
    return is_extended(name) or ("kubernetes.io/" in name and is_qualified_name(name))


def page_size(name: str) -> int:
    """Return the nanobytes of one page of `hugepages-SIZE`; 0 where the name has no size in whole bytes."""
    try:
        size = parse(name.removeprefix(HUGEPAGES)).nano if name.startswith(HUGEPAGES) else 0
    except QuantityError:
        return 0
    return size if size > 0 and size % NANO == 0 else 0


def unit(name: str) -> int:
    """Return the smallest amount of the resource in nanos: a thousandth of a cpu, a page, a byte, a device."""
    return NANO // 1000 if name == "cpu" else page_size(name) or NANO


def round_down(name: str, nano: int) -> int:
    """Return the nanos rounded down to whole units of the resource."""
    return nano // unit(name) * unit(name)


def whole(name: str, amount: Quantity) -> Quantity:
    """Return the amount in whole units of the resource, rounded up: no container has half a byte."""
    return amount if name == "cpu" else amount.round_up(0)


def add(left: ResourceList, right: ResourceList) -> ResourceList:
    """Return the sum by name; a name that only one operand has keeps its value."""
    if not left or not right:
        return left or right
    return {**left, **{name: left[name] + value if name in left else value for name, value in right.items()}}


def maximum(left: ResourceList, right: ResourceList) -> ResourceList:
    """Return the larger value by name; a name that only one operand has keeps its value."""
    if not left or not right:
        return left or right
    return {**left, **{name: value for name, value in right.items() if name not in left or value > left[name]}}


def subtract(left: ResourceList, right: ResourceList) -> ResourceList:
    """Return the difference for each name of `left`."""
    return {name: value - right[name] if name in right else value for name, value in left.items()}


def only(resources: ResourceList, names: Collection[str]) -> ResourceList:
    """Return the entries whose names are in `names`."""
    return {name: value for name, value in resources.items() if name in names}


def text(resources: ResourceList, names: Iterable[str]) -> str:
    """Return `name=value` for each of `names`, joined by commas as the API server prints them."""
    return ",".join(f"{name}={resources.get(name, ZERO)}" for name in names)
