"""One `resources` block while a rule works on it: every assignment becomes a Change."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from webhook.api.patch import escape
from webhook.api.quantity import Quantity
from webhook.api.resource_list import ResourceList
from webhook.api.resources import NO_RESOURCES, Resources
from webhook.rules.findings import Change, Rule
from webhook.rules.workload import Workload

Side: TypeAlias = Literal["requests", "limits"]
Edited: TypeAlias = tuple[str, Resources | None, tuple[Change, ...]]  # pointer; the new block, if any; what was done


def edited(workload: Workload, blocks: Iterable[Edited]) -> tuple[Workload, list[Change]]:
    """Return the Workload with its blocks as they were edited, and all that was done to them."""
    fresh: dict[str, Resources] = {}
    changes: list[Change] = []
    for pointer, resources, made in blocks:
        if resources is not None:
            fresh[pointer] = resources
            changes += made
    return workload.with_resources(fresh), changes


def has_negative(workload: Workload) -> bool:
    """Return whether the Pod or one of its containers asks for a negative amount, which the API server refuses."""
    return any(
        _is_negative(side)
        for _, block in workload.all_blocks()
        if block
        for side in (block.requests, block.limits)
        if side
    )


def _is_negative(side: ResourceList) -> bool:
    return any(value.nano < 0 for value in side.values())


class Edit:
    """The requests and limits below one JSON Pointer, and what has been done to them."""

    def __init__(self, pointer: str, resources: Resources | None, rule: Rule) -> None:
        """`pointer` is that of a container, or /spec for the Pod as a whole."""
        resources = resources or NO_RESOURCES
        self.requests: dict[str, Quantity] = dict(resources.requests or ())
        self.limits: dict[str, Quantity] = dict(resources.limits or ())
        self.changes: list[Change] = []
        self._pointer = pointer
        self._rule = rule

    @property
    def names(self) -> list[str]:
        """The resources that have a request or a limit, sorted."""
        return sorted({*self.requests, *self.limits})

    @property
    def is_negative(self) -> bool:
        """Whether some amount is negative: the API server refuses the block, and its error is not to be hidden."""
        return _is_negative(self.requests) or _is_negative(self.limits)

    def request(self, name: str, value: Quantity, why: str) -> Quantity:
        """Set a request, and return it."""
        return self._set("requests", self.requests, name, value, why)

    def limit(self, name: str, value: Quantity, why: str) -> Quantity:
        """Set a limit, and return it."""
        return self._set("limits", self.limits, name, value, why)

    def lower(self, name: str, most: Quantity | None, why: str = "over the maximum") -> None:
        """Lower the limit and the request to `most`, and a request that is over its limit to the limit, if any."""
        request, limit = self.requests.get(name), self.limits.get(name)
        if most is not None:
            if limit and limit > most:
                limit = self.limit(name, most, f"{why} {most}")
            if request and request > most:
                request = self.request(name, most, f"{why} {most}")
        if request and limit is not None and request > limit:
            if limit:
                self.request(name, limit, f"over the limit {limit}")
            else:
                self.limit(name, request, "zero; same as the request")

    def done(self) -> Edited:
        """What has become of the block, and how; a block in order stays what it was."""
        if not self.changes:
            return self._pointer, None, ()
        return self._pointer, Resources(self.requests or None, self.limits or None), tuple(self.changes)

    def _set(self, side: Side, values: dict[str, Quantity], name: str, value: Quantity, why: str) -> Quantity:
        before = values.get(name)
        path = f"{self._pointer}/resources/{side}/{escape(name)}"
        self.changes.append(Change(path, None if before is None else str(before), str(value), self._rule, why))
        values[name] = value
        return value
