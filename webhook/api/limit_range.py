"""The part of a LimitRange that Pods are checked against, and what its defaults have set in a Pod."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct

from webhook.api.bounds import QuotaAmountMap
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList, round_down, whole
from webhook.api.resource_quota import NamespacedMeta
from webhook.api.wire import Wire

ANNOTATION: Final = "kubernetes.io/limit-ranger"
_SET: Final = re.compile(r"(?:LimitRanger plugin set: )?(.+) (request|limit) for (init )?container (\S+)")


class LimitRangeItem(Wire, frozen=True):
    """One of `spec.limits`."""

    type: str = ""
    min: QuotaAmountMap[Quantity] | None = None
    max: QuotaAmountMap[Quantity] | None = None
    max_limit_request_ratio: QuotaAmountMap[Quantity] | None = None
    default: QuotaAmountMap[Quantity] | None = None
    default_request: QuotaAmountMap[Quantity] | None = None


class LimitRangeSpec(Wire, frozen=True):
    """`spec` of a LimitRange."""

    limits: list[LimitRangeItem] | None = None


class LimitRange(Wire, frozen=True):
    """A v1 LimitRange; its defaults are in a Pod of the cluster before the webhook sees it."""

    metadata: NamespacedMeta = NamespacedMeta()
    spec: LimitRangeSpec = LimitRangeSpec()

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def of_containers(self) -> list[LimitRangeItem]:
        """The items that are about containers."""
        return [item for item in self.spec.limits or () if item.type == "Container"]


class Bounds(Struct, frozen=True, gc=False):
    """What LimitRanges allow, in whole units; the API server demands a limit of each resource in `most` and `ratio`."""

    least: ResourceList = EMPTY  # of request and limit
    most: ResourceList = EMPTY  # of request and limit
    ratio: ResourceList = EMPTY  # of limit to request

    def __hash__(self) -> int:
        """Return the hash of the names and amounts."""
        return hash(tuple(frozenset(amounts.items()) for amounts in (self.least, self.most, self.ratio)))


class Ranges(Struct, frozen=True, gc=False):
    """What all LimitRanges of a namespace together allow."""

    container: Bounds = Bounds()
    pod: Bounds = Bounds()

    def ratio(self, name: str) -> Quantity | None:
        """Return the most that a limit may be of its request: where each container keeps it, the Pod does."""
        ratios = self.container.ratio.get(name), self.pod.ratio.get(name)
        return min((ratio for ratio in ratios if ratio is not None), default=None)


NO_RANGES: Final = Ranges()


def ranges_of(limit_ranges: Iterable[LimitRange]) -> Ranges:
    """Return what the LimitRanges allow together: each must accept the Pod."""
    items = [item for limit_range in limit_ranges for item in limit_range.spec.limits or ()]
    return Ranges(_bounds(items, "Container"), _bounds(items, "Pod")) if items else NO_RANGES


def _bounds(items: Iterable[LimitRangeItem], kind: str) -> Bounds:
    of_kind = [item for item in items if item.type == kind]
    least, most = _tightest(max, (item.min for item in of_kind)), _tightest(min, (item.max for item in of_kind))
    return Bounds(
        {name: whole(name, amount) for name, amount in least.items()},
        {name: Quantity(round_down(name, amount.nano), amount.format) for name, amount in most.items()},
        _tightest(min, (item.max_limit_request_ratio for item in of_kind)),
    )


def _tightest(
    of: Callable[[Quantity, Quantity], Quantity], bounds: Iterable[Mapping[str, Quantity] | None]
) -> ResourceList:
    tightest: dict[str, Quantity] = {}
    for each in bounds:
        for name, amount in (each or EMPTY).items():
            tightest[name] = of(tightest.get(name, amount), amount)
    return tightest


def defaulted(annotation: str) -> Mapping[tuple[str, str, str], frozenset[str]]:
    """Return the resources that the LimitRanger plugin has set, by its annotation of the Pod.

    They are by `request` or `limit`, by `init ` or nothing, and by the name of the container
    (mergePodResourceRequirements in kubernetes `plugin/pkg/admission/limitranger`).
    """
    found: dict[tuple[str, str, str], frozenset[str]] = defaultdict(frozenset)
    for part in annotation.split("; "):
        if match := _SET.fullmatch(part):
            names, side, init, container = match.groups(default="")
            found[side, init, container] |= frozenset(names.split(", "))
    return found
