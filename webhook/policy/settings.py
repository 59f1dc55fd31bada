"""The settings of one task, as the rules read them: defaults, maxima, tolerations, denial codes, and mode."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from webhook.api.pod import Toleration
from webhook.api.quantity import NANO, Quantity
from webhook.api.resource_list import HUGEPAGES, NATIVE, ResourceList, round_down

V = TypeVar("V")
Mode: TypeAlias = Literal["enforce", "warn", "audit"]
Claims: TypeAlias = Literal["allow", "refuse"]
OverLimit: TypeAlias = Literal["clamp", "refuse"]
SkippableRule: TypeAlias = Literal["fill", "clamp", "tolerate", "quota"]
Outlook: TypeAlias = Literal["fits-later", "never-fits"]
# Who gets the answer: the client that creates the Pod; for a distributed job, Flyte of either generation.
Creator: TypeAlias = Literal["flyte1", "flyte2", "operator", "job"]
Answer: TypeAlias = int | Literal["admit"]  # a status, or none: a job waits by itself


@dataclass(frozen=True, slots=True, eq=False)
class Defaults:
    """What a container gets where it states nothing, and the native resources whose missing half is filled.

    The missing half of an extended resource is always filled: its request must equal its limit.
    """

    requests: ResourceList = field(default_factory=dict)
    limits: ResourceList = field(default_factory=dict)  # of the same resources
    completes: frozenset[str] = NATIVE
    bounds: ResourceList = field(default_factory=dict)  # maxima that replace a missing default


@dataclass(frozen=True, slots=True, eq=False)
class ByResource(Generic[V]):
    """Values by resource: by its name, by the beginning of its name, and one for every GPU."""

    exact: Mapping[str, V] = field(default_factory=dict)
    patterns: tuple[tuple[str, V], ...] = ()  # by the beginning of a name, longest first
    devices: V | None = None  # of each resource that is a GPU under another name
    device_names: frozenset[str] = frozenset()
    device_prefixes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is any value."""
        return bool(self.exact or self.patterns or self.devices)

    def find(self, name: str) -> V | None:
        """Return the value of the resource, or None; a more specific key wins."""
        found = self.exact.get(name)
        if found is None:
            found = next((value for prefix, value in self.patterns if name.startswith(prefix)), None)
        if found is None and (name in self.device_names or name.startswith(self.device_prefixes)):
            found = self.devices
        return found

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield the values with their keys as in the policy file."""
        yield from self.exact.items()
        yield from ((f"{prefix}*", value) for prefix, value in self.patterns)
        if self.devices is not None:
            yield "gpu", self.devices


@dataclass(frozen=True, slots=True, eq=False)
class Maxima(ByResource[Quantity]):
    """The most that a container, or a Pod as a whole, may have, by resource."""

    def get(self, name: str) -> Quantity | None:
        """Return the maximum of the resource, or None."""
        found = self.find(name)
        if found and name.startswith(HUGEPAGES):  # from a pattern, which applies to pages of every size
            return Quantity(round_down(name, found.nano), found.format)
        return found or None


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times its request a limit is at least, in billionths."""

    nano: int

    def __str__(self) -> str:
        """Return the decimal number."""
        return f"{self.nano / NANO:g}"

    def of(self, request: Quantity) -> Quantity:
        """Return the least limit, in whole thousandths."""
        return Quantity(request.nano * self.nano // NANO, request.format).round_up(-3)


CpuLimits: TypeAlias = Literal["keep", "remove"] | Ratio


def lowest_maximum(name: str, *maxima: Maxima) -> Quantity | None:
    """Return the lowest of the maxima of the resource, or None."""
    return min((most for each in maxima if (most := each.get(name)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class DenialCodes:
    """The HTTP status of a denial, by whether the Pod may fit later and by its creator; a job may wait instead."""

    fits_later: Mapping[Creator, Answer]
    never_fits: Mapping[Creator, int]
    retry_after_seconds: int


# Flyte 1 waits on a 403 in its native wording and never retries a 413. Flyte 2 uses up a retry on a 403; on a 429 its
# client asks up to eleven times within one deadline of 30 seconds, and the fourth such round fails the task. Pauses of
# two seconds fit into that deadline, so that the last answer reaches the user. Operators and people expect the 403.
# Neither Flyte waits with a job that is refused; the operator of a job that is admitted does.
# Sources: plugin_manager.go of both generations, client-go `rest/request.go`; run in tests/e2e/flyte.
DEFAULT_DENIAL_CODES: Final = DenialCodes(
    fits_later={"flyte1": 403, "flyte2": 429, "operator": 403, "job": "admit"},
    never_fits={"flyte1": 413, "flyte2": 413, "operator": 403, "job": 413},
    retry_after_seconds=2,
)


@dataclass(frozen=True, slots=True, eq=False)
class TolerationSettings:
    """The tolerations that a Pod gets: for the resources it uses, always, and if it is interruptible."""

    by_resource: ByResource[tuple[Toleration, ...]] = ByResource()
    extended: frozenset[str] | None = None  # tolerated by their own name; None: those that by_resource leaves out
    always: tuple[Toleration, ...] = ()
    interruptible: tuple[Toleration, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """The settings of one task, by Kubernetes' resource names: the key `gpu` is replaced."""

    defaults: Defaults = Defaults()
    secondary_defaults: Defaults = Defaults()
    limits: Maxima = Maxima()
    pod_limits: Maxima = Maxima()
    # `file:line` where the policy refuses what is over the maximum; empty where it is lowered.
    over_limit_refused_by: ByResource[str] = ByResource()
    max_replicas: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # by kind of job, with `file:line`
    cpu_limits: CpuLimits = "keep"
    keeps_exclusive_cpus: bool = False  # whether Guaranteed Pods with whole cpus keep their limits
    claims_refused_by: str = ""  # `file:line` where the policy refuses resource claims; empty if it allows them
    tolerations: TolerationSettings = TolerationSettings()
    mode: Mode = "enforce"
    skips: Mapping[SkippableRule, str] = field(default_factory=dict)  # rules that an exemption skips, and its reason
    denial_codes: DenialCodes = DEFAULT_DENIAL_CODES
    warnings: bool = False
    policy: str = ""  # the digest of the policy

    def pod_maximum(self, name: str) -> Quantity | None:
        """Return the maximum of `spec.resources`: that of a container applies to it too."""
        return lowest_maximum(name, self.limits, self.pod_limits)
