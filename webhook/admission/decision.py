"""What a review ends in."""

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from webhook.api.resource_list import ResourceList
from webhook.policy.settings import Outlook, Settings
from webhook.rules.findings import Change


class Allowed(Struct, frozen=True):
    """The Pod may be created, with these changes; `charges` is what it takes of each quota, by name."""

    changes: tuple[Change, ...] = ()
    charges: Mapping[str, ResourceList] = {}
    settings: Settings = Settings()  # what held for it
    patch: bytes = b""  # the operations that make the changes, what stands between the brackets of a JSON Patch
    earlier: tuple[Change, ...] = ()  # what an earlier review of the same Pod has changed, containers by their names
    notes: tuple[str, ...] = ()  # what was left undone, and why
    is_noted: bool = False  # whether the record is left on the Pod: not by /validate, and pods/resize drops annotations
    waits: str = ""  # why a job, which is admitted all the same, does not start yet: its quotas have room only later


class Denied(Struct, frozen=True):
    """The Pod is refused with an HTTP status, its Kubernetes reason, and a text for the task's author."""

    code: int
    reason: str
    message: str
    changes: tuple[Change, ...] = ()  # what would have been changed
    settings: Settings = Settings()
    outlook: Outlook | None = None  # of a Pod that its quotas have no room for
    retry_after_seconds: int | None = None


class ReportOnly(Struct, frozen=True):
    """The Pod may be created as it is; what would happen is only reported, in the modes `warn` and `audit`."""

    would: Allowed | Denied
    charges: Mapping[str, ResourceList] = {}


Decision: TypeAlias = Allowed | Denied | ReportOnly


def outcome(decision: Decision) -> Allowed | Denied:
    """Return what was decided, or would have been."""
    return decision.would if isinstance(decision, ReportOnly) else decision
