"""What a review ends in, and what leads there: Changes to the Pod and Violations of its quotas."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from webhook.flyte import Task
from webhook.pod import Pod
from webhook.resource_list import EMPTY, ResourceList, text
from webhook.settings import Outlook, Settings

Rule: TypeAlias = Literal["api-default", "fill", "clamp", "tolerate", "trace"]


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


class Context(Struct, frozen=True):
    """What a rule knows besides the Pod: whose it is, what holds for it, and what it was before a resize."""

    task: Task
    settings: Settings
    old: Pod | None = None


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


class Written(Struct, frozen=True, gc=False):
    """Changes as JSON: the operations of a patch that make them, and the record of them (see `webhook.trace`).

    `operations` is what stands between the brackets of the patch. `record` is a JSON string with a `%b` for each name
    of a container: `named` tells which, counting the app containers and then the init containers. `changes` is the
    list of them as it is logged.
    """

    operations: bytes
    record: bytes
    named: tuple[int, ...]
    changes: Raw

    @property
    def size(self) -> int:
        """The bytes of all of it."""
        return len(self.operations) + len(self.record) + len(bytes(self.changes))


class Allowed(Struct, frozen=True):
    """The Pod may be created, with these changes; `charges` is what it takes of each quota, by name."""

    changes: tuple[Change, ...] = ()
    charges: Mapping[str, ResourceList] = {}
    settings: Settings = Settings()  # what held for it
    written: Written | None = None  # the changes, where they have been written before
    earlier: tuple[Change, ...] = ()  # what an earlier review of the same Pod has changed, containers by their names


class Denied(Struct, frozen=True):
    """The Pod is refused with an HTTP status, its Kubernetes reason, and a text for the task's author."""

    code: int
    reason: str
    message: str
    changes: tuple[Change, ...] = ()  # what would have been changed
    settings: Settings = Settings()
    outlook: Outlook | None = None  # of a Pod that its quotas have no room for
    retry_after_seconds: int | None = None
    written: Written | None = None
    earlier: tuple[Change, ...] = ()


class Told(Struct, frozen=True):
    """Nothing is done to the Pod: what would be is only told, in the modes `warn` and `audit`."""

    would: Allowed | Denied
    charges: Mapping[str, ResourceList] = {}


Decision: TypeAlias = Allowed | Denied | Told


def outcome(decision: Decision) -> Allowed | Denied:
    """What was decided, or would have been."""
    return decision.would if isinstance(decision, Told) else decision
