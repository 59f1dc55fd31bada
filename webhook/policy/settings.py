"""What holds for one task, as the rules read it: defaults, maxima, tolerations, verdicts, and how strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from webhook.api.pod import Toleration
from webhook.api.quantity import Quantity
from webhook.api.resource_list import HUGEPAGES, NATIVE, ResourceList, round_down

Mode: TypeAlias = Literal["enforce", "warn", "audit"]
Claims: TypeAlias = Literal["allow", "refuse"]
Skipped: TypeAlias = Literal["fill", "clamp", "tolerate", "quota"]
Outlook: TypeAlias = Literal["fits-later", "never-fits"]
Creator: TypeAlias = Literal["flyte1", "flyte2", "operator"]


@dataclass(frozen=True, slots=True, eq=False)
class Defaults:
    """What a container gets where it states nothing, and of which native resources it gets the missing half.

    Of an extended resource the missing half is always completed: its request must equal its limit.
    """

    amounts: ResourceList = field(default_factory=dict)
    completes: frozenset[str] = NATIVE
    bounds: ResourceList = field(default_factory=dict)  # the maxima of what has no default, which stand in for it


@dataclass(frozen=True, slots=True, eq=False)
class Maxima:
    """The most that a container, or a Pod as a whole, may have, by resource."""

    exact: ResourceList = field(default_factory=dict)
    patterns: tuple[tuple[str, Quantity], ...] = ()  # by the beginning of a name, longest first
    devices: Quantity | None = None  # of each resource that is a GPU under another name
    device_names: frozenset[str] = frozenset()
    device_prefixes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.exact or self.patterns or self.devices)

    def get(self, name: str) -> Quantity | None:
        """The maximum of the resource; None where there is none. The more specific the key, the more it counts."""
        found = self.exact.get(name)
        if found is None:
            found = next((most for prefix, most in self.patterns if name.startswith(prefix)), None)
        if found is None and (name in self.device_names or name.startswith(self.device_prefixes)):
            found = self.devices
        if found and name.startswith(HUGEPAGES):  # of a pattern, which holds for pages of every size
            return Quantity(round_down(name, found.nano), found.format)
        return found or None


def least(name: str, *maxima: Maxima) -> Quantity | None:
    """The least of the maxima of the resource; None where there is none."""
    return min((most for each in maxima if (most := each.get(name)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The HTTP status of a refusal, by whether the Pod may fit later and by who made it."""

    fits_later: Mapping[Creator, int]
    never_fits: Mapping[Creator, int]
    retry_after_seconds: int


# Flyte 1 waits on a 403 in its native wording and never retries a 413; the client of Flyte 2 sleeps on a 429 and burns
# a retry on a 403; operators and people know the 403 (plugin_manager.go of both generations).
VERDICTS: Final = Verdicts(
    fits_later={"flyte1": 403, "flyte2": 429, "operator": 403},
    never_fits={"flyte1": 413, "flyte2": 413, "operator": 403},
    retry_after_seconds=30,
)


@dataclass(frozen=True, slots=True, eq=False)
class Tolerations:
    """Which tolerations a Pod gets: for the resources it uses, always, and if it may be interrupted."""

    by_resource: Mapping[str, tuple[Toleration, ...]] = field(default_factory=dict)
    extended: frozenset[str] | None = None  # tolerated by their own name; None: those that by_resource leaves out
    always: tuple[Toleration, ...] = ()
    interruptible: tuple[Toleration, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """What holds for one task. Names are those of Kubernetes: the key `gpu` has become resources."""

    defaults: Defaults = Defaults()
    secondary_defaults: Defaults = Defaults()
    limits: Maxima = Maxima()
    pod_limits: Maxima = Maxima()
    claims_refused_by: str = ""  # where the policy refuses resource claims, `file:line`; empty: it allows them
    tolerations: Tolerations = Tolerations()
    mode: Mode = "enforce"
    skips: Mapping[Skipped, str] = field(default_factory=dict)  # what an exemption spares the task, and why
    verdicts: Verdicts = VERDICTS
    warnings: bool = False
    policy: str = ""  # the digest of the policy that these are from

    def most_of_pod(self, name: str) -> Quantity | None:
        """The most that `spec.resources` may state: the maximum of a container holds for it too."""
        return least(name, self.limits, self.pod_limits)
