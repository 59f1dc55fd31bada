"""One `resources` block while a rule works on it: every assignment becomes a Change."""

from typing import Literal, TypeAlias

from webhook.decision import Change, Rule
from webhook.patch import escape
from webhook.pod import NO_RESOURCES, Resources
from webhook.quantity import Quantity

Side: TypeAlias = Literal["requests", "limits"]


class Edit:
    """The requests and limits below one JSON Pointer, and what has been done to them."""

    def __init__(self, pointer: str, resources: Resources | None, rule: Rule) -> None:
        """`pointer` is that of a container, or /spec for the Pod as a whole."""
        resources = resources or NO_RESOURCES
        self.requests = dict(resources.requests or ())
        self.limits = dict(resources.limits or ())
        self.changes: list[Change] = []
        self._pointer = pointer
        self._rule = rule

    @property
    def names(self) -> list[str]:
        """The resources that have a request or a limit, sorted."""
        return sorted({*self.requests, *self.limits})

    @property
    def resources(self) -> Resources:
        """The block as it is now."""
        return Resources(requests=self.requests or None, limits=self.limits or None)

    def request(self, name: str, value: Quantity, why: str) -> Quantity:
        """Set a request, and return it."""
        return self._set("requests", self.requests, name, value, why)

    def limit(self, name: str, value: Quantity, why: str) -> Quantity:
        """Set a limit, and return it."""
        return self._set("limits", self.limits, name, value, why)

    def _set(self, side: Side, values: dict[str, Quantity], name: str, value: Quantity, why: str) -> Quantity:
        before = values.get(name)
        path = f"{self._pointer}/resources/{side}/{escape(name)}"
        self.changes.append(Change(path, None if before is None else str(before), str(value), self._rule, why))
        values[name] = value
        return value
