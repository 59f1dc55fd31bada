"""What the platform's admins have decided, compiled for the request path: effective settings per task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from webhook.flyte import Task
from webhook.pod import Toleration
from webhook.resource_list import ResourceList, is_extended

NATIVE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})


@dataclass(frozen=True, slots=True, eq=False)
class Defaults:
    """What a container gets where it states nothing, and of which native resources it gets the missing half.

    Of an extended resource the missing half is always completed: its request must equal its limit.
    """

    amounts: ResourceList = field(default_factory=dict)
    completes: frozenset[str] = NATIVE


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """What holds for one task. Names are those of Kubernetes: the key `gpu` has become a resource."""

    defaults: Defaults = Defaults()
    secondary_defaults: Defaults = Defaults()
    limits: ResourceList = field(default_factory=dict)  # the maxima
    tolerations: Mapping[str, tuple[Toleration, ...]] = field(default_factory=dict)  # by resource

    def as_data(self) -> dict[str, Any]:
        """For people: plain data, quantities as texts."""
        return {
            "defaults": _texts(self.defaults.amounts),
            "secondary_defaults": _texts(self.secondary_defaults.amounts),
            "limits": _texts(self.limits),
            "resource-tolerations": msgspec.to_builtins(self.tolerations),
        }


def _texts(amounts: ResourceList) -> dict[str, str]:
    return {name: str(amount) for name, amount in sorted(amounts.items())}


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy."""

    platform: Settings = Settings()

    def settings(self, _: Task) -> Settings:
        """What holds for the task."""
        return self.platform


def secondary(defaults: ResourceList, own: ResourceList | None) -> Defaults:
    """The defaults of containers beside the primary one: their own, else the platform's without its devices."""
    if own is None:
        return Defaults({name: value for name, value in defaults.items() if not is_extended(name)})
    return Defaults(own, frozenset(own))
