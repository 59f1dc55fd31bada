"""What the rules find: Changes to the Pod, and Violations of its quotas."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from webhook.api.resource_list import EMPTY, ResourceList, text

Rule: TypeAlias = Literal["api-default", "fill", "clamp", "tolerate"]


class Change(Struct, frozen=True, gc=False, rename={"before": "from", "after": "to"}):
    """One value of the Pod, before and after; patch, log, metrics, audit annotation and `review` tell it from this."""

    path: str  # JSON Pointer; "/-" at its end appends to a list
    before: Any  # a JSON value, None for absent
    after: Any
    rule: Rule
    why: str

    def __str__(self) -> str:
        """For people: path, from, to, why."""
        return f"{self.path}: {_text(self.before)} -> {_text(self.after)} ({self.why})"


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class Unspecified(Struct, frozen=True):
    """A quota counts cpu or memory that these containers do not state."""

    quota: str
    missing: Mapping[str, list[str]]  # resource -> names of containers

    def __str__(self) -> str:
        """As kube-apiserver words it."""
        parts = (f"{name} for: {','.join(self.missing[name])}" for name in sorted(self.missing))
        return f"failed quota: {self.quota}: must specify {'; '.join(parts)}"


class StatusUnknown(Struct, frozen=True):
    """The quota controller has not yet counted all that is used of these resources."""

    quota: str
    resources: list[str]

    def __str__(self) -> str:
        """As kube-apiserver words it."""
        return f"status unknown for quota: {self.quota}, resources: {','.join(self.resources)}"


class NegativeUsage(Struct, frozen=True):
    """The Pod asks for less than nothing."""

    resources: list[str]

    def __str__(self) -> str:
        """As kube-apiserver words it."""
        return f"quota usage is negative for resource(s): {','.join(self.resources)}"


class Exceeded(Struct, frozen=True):
    """The Pod asks for more of these resources than its quota has left."""

    quota: str
    resources: list[str]
    requested: ResourceList
    used: ResourceList
    limited: ResourceList

    def __str__(self) -> str:
        """As kube-apiserver words it; Flyte 1 parses this text."""
        requested, used, limited = (text(r, self.resources) for r in (self.requested, self.used, self.limited))
        return f"exceeded quota: {self.quota}, requested: {requested}, used: {used}, limited: {limited}"


Violation: TypeAlias = Unspecified | StatusUnknown | NegativeUsage | Exceeded


class Verdict(Struct, frozen=True):
    """Why the Pod does not fit (nothing: it does), and what it takes of each quota that counts it.

    Of a Pod that asks for too much, `room` is what one Pod could have now of what it asks for, `most` what it could
    ever have: the least that any of the quotas leaves. Of a resize, both are beyond what the Pod has.
    """

    violations: tuple[Violation, ...]
    charges: Mapping[str, ResourceList]
    room: ResourceList = EMPTY
    most: ResourceList = EMPTY

    @property
    def refuses(self) -> bool:
        """Whether this is ours to refuse: a negative amount, told alone, gets the API server's own error."""
        return self.violations != () and not isinstance(self.violations[0], NegativeUsage)
