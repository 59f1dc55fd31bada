"""Edits of `resources` blocks: every assignment is recorded as a Change."""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from webhook.api.patch import escape
from webhook.api.quantity import Quantity
from webhook.api.resource_list import ResourceList
from webhook.api.resources import NO_RESOURCES, Resources
from webhook.rules.findings import Change, Rule
from webhook.rules.workload import Workload

Side: TypeAlias = Literal["requests", "limits"]
SIDES: Final[tuple[Side, Side]] = ("requests", "limits")
# The pointer of a block, the new block if it changed, and the changes.
EditedBlock: TypeAlias = tuple[str, Resources | None, tuple[Change, ...]]


def apply_edits(workload: Workload, blocks: Iterable[EditedBlock]) -> tuple[Workload, list[Change]]:
    """Return the Workload with the edited blocks, and all changes."""
    fresh: dict[str, Resources] = {}
    changes: list[Change] = []
    for pointer, resources, made in blocks:
        if resources is not None:
            fresh[pointer] = resources
            changes += made
    return workload.with_resources(fresh), changes


def has_negative(workload: Workload) -> bool:
    """Return whether the Pod or a container has a negative amount, which the API server refuses."""
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
    """An edit of the requests and limits at one JSON Pointer."""

    def __init__(self, pointer: str, resources: Resources | None, rule: Rule) -> None:
        """Start from the resources; `pointer` is that of a container, or /spec for the Pod as a whole."""
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
        """Whether an amount is negative: rules leave such a block alone, so that the API server reports the error."""
        return _is_negative(self.requests) or _is_negative(self.limits)

    def set_request(self, name: str, value: Quantity, why: str) -> Quantity:
        """Set a request, and return it."""
        return self._set("requests", self.requests, name, value, why)

    def set_limit(self, name: str, value: Quantity, why: str) -> Quantity:
        """Set a limit, and return it."""
        return self._set("limits", self.limits, name, value, why)

    def remove(self, side: Side, name: str, why: str) -> None:
        """Remove a request or a limit."""
        before = (self.requests if side == "requests" else self.limits).pop(name)
        self.changes.append(Change(self._path(side, name), str(before), None, self._rule, why))

    def lower(self, name: str, most: Quantity | None, why: str = "over the maximum") -> None:
        """Lower limit and request to `most`, and the request to the limit; raise a zero limit to the request."""
        request, limit = self.requests.get(name), self.limits.get(name)
        if most is not None:
            if limit and limit > most:
                limit = self.set_limit(name, most, f"{why} {most}")
            if request and request > most:
                request = self.set_request(name, most, f"{why} {most}")
        if request and limit is not None and request > limit:
            if limit:
                self.set_request(name, limit, f"over the limit {limit}")
            else:
                self.set_limit(name, request, "zero; same as the request")

    def result(self) -> EditedBlock:
        """Return the new block and its changes; None as the block where nothing changed."""
        if not self.changes:
            return self._pointer, None, ()
        return self._pointer, Resources(self.requests or None, self.limits or None), tuple(self.changes)

    def _set(self, side: Side, values: dict[str, Quantity], name: str, value: Quantity, why: str) -> Quantity:
        before = values.get(name)
        was = None if before is None else str(before)
        self.changes.append(Change(self._path(side, name), was, str(value), self._rule, why))
        values[name] = value
        return value

    def _path(self, side: Side, name: str) -> str:
        return f"{self._pointer}/resources/{side}/{escape(name)}"
