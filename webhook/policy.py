"""What the platform's admins have decided, compiled for the request path: effective settings per task."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from webhook.flyte import Generation, Identification, Task, label_value
from webhook.pod import Toleration
from webhook.quantity import Quantity
from webhook.resource_list import ResourceList, is_extended

NATIVE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
# What a container may not have without bound where there is a maximum. Not its disk: a request as large as the most
# that a task may ever need would leave the nodes empty, and Flyte too injects none for a maximum alone.
BOUNDED: Final = ("cpu", "memory")
GPU: Final = "gpu"  # Flyte's key for a device of whatever kind
MOST_REMEMBERED: Final = 4096  # tasks whose settings are kept

Mode: TypeAlias = Literal["enforce", "warn", "audit"]
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
    """The most that a container may have, by resource."""

    exact: ResourceList = field(default_factory=dict)
    patterns: tuple[tuple[str, Quantity], ...] = ()  # by the beginning of a name, longest first
    devices: Quantity | None = None  # of each resource that is a GPU under another name
    device_names: frozenset[str] = frozenset()
    device_prefixes: tuple[str, ...] = ()

    def get(self, name: str) -> Quantity | None:
        """The maximum of the resource; None where there is none. The more specific the key, the more it counts."""
        found = self.exact.get(name)
        if found is None:
            found = next((most for prefix, most in self.patterns if name.startswith(prefix)), None)
        if found is None and (name in self.device_names or name.startswith(self.device_prefixes)):
            found = self.devices
        return found or None


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
    tolerations: Tolerations = Tolerations()
    mode: Mode = "enforce"
    skips: Mapping[Skipped, str] = field(default_factory=dict)  # what an exemption spares the task, and why
    verdicts: Verdicts = VERDICTS
    warnings: bool = False
    policy: str = ""  # the digest of the policy that these are from


class Amount(NamedTuple):
    """An amount that the policy states, and where: `file:line`."""

    value: Quantity
    origin: str


Amounts: TypeAlias = Mapping[str, Amount]
NOTHING: Final[Amounts] = {}


class Scope(NamedTuple):
    """The tasks that an override is for; the more of it is given, from the right, the more specific it is."""

    domain: str = ""
    project: str = ""
    workflow: str = ""
    task: str = ""

    def __str__(self) -> str:
        """`project flytesnacks, domain development`."""
        named = {"project": self.project, "domain": self.domain, "workflow": self.workflow, "task": self.task}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value)

    def wider(self) -> Iterator["Scope"]:
        """The scope and every one that contains it, the most specific last: task, workflow, project, domain."""
        given = [index for index, name in enumerate(self) if name]
        for bits in range(2 ** len(given)):
            kept = {index for place, index in enumerate(given) if bits >> place & 1}
            yield Scope(*(name if index in kept else "" for index, name in enumerate(self)))

    def as_labels(self, made_by: Generation) -> "Scope":
        """With workflow and task as the labels of that Flyte have them."""
        return self._replace(workflow=label_value(self.workflow, made_by), task=label_value(self.task, made_by))


@dataclass(frozen=True, slots=True)
class Layer:
    """What the policy states for all tasks, or for those of one scope; zero is none, an absent name says nothing."""

    defaults: Amounts = field(default_factory=dict)
    secondary_defaults: Amounts | None = None
    limits: Amounts = field(default_factory=dict)
    mode: tuple[Mode, str] | None = None  # with its origin


@dataclass(frozen=True, slots=True)
class Exemption:
    """Whom some of the rules spare until the end of a day, and why."""

    namespace: str
    project: str
    domain: str
    skips: tuple[Skipped, ...]
    reason: str
    until: str  # YYYY-MM-DD, in UTC
    origin: str  # file:line:column

    def spares(self, task: Scope, namespace: str, today: str) -> bool:
        """Whether it counts for the task in that namespace, on that day."""
        wanted = (self.namespace, namespace), (self.project, task.project), (self.domain, task.domain)
        return today <= self.until and all(name in ("", found) for name, found in wanted)


@dataclass(frozen=True, slots=True)
class Devices:
    """The resources that Flyte's key `gpu` stands for: one where it is asked for, all of them where it is a maximum."""

    name: str = "nvidia.com/gpu"
    names: frozenset[str] = frozenset({"nvidia.com/gpu"})
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Policy:
    """The whole policy."""

    platform: Layer = Layer()
    overrides: Mapping[Scope, Layer] = field(default_factory=dict)
    replaces: bool = False  # whether the most specific override stands alone, as in Flyte, instead of being merged
    identification: Identification = field(default_factory=Identification)
    tolerations: Tolerations = Tolerations()
    devices: Devices = Devices()
    verdicts: Verdicts = VERDICTS
    warnings: bool = False
    exemptions: tuple[Exemption, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)  # of what is no Amount, by its key: `file:line`
    digest: str = ""  # of the text it was read from, to tell one policy from another

    def settings(self, task: Task, namespace: str, today: str) -> Settings:
        """What holds for the task on that day, YYYY-MM-DD."""
        scope = Scope(task.domain, task.project, task.workflow, task.name)
        return self._settings(scope, task.generation, namespace, today)

    @cached_property
    def _settings(self) -> Callable[[Scope, Generation, str, str], Settings]:
        return lru_cache(maxsize=MOST_REMEMBERED)(self._looked_up)

    @cached_property
    def _compiled(self) -> Callable[[tuple[Scope, ...], frozenset[tuple[Skipped, str]]], Settings]:
        return lru_cache(maxsize=MOST_REMEMBERED)(self._compile)

    def settings_of(self, scopes: tuple[Scope, ...]) -> Settings:
        """What holds for tasks in all of these scopes and no other, without exemptions."""
        return self._compiled(scopes, frozenset())

    def _looked_up(self, task: Scope, made_by: Generation, namespace: str, today: str) -> Settings:
        scopes = self.matching(task, made_by)
        exempt = [exemption for exemption in self.exemptions if exemption.spares(task, namespace, today)]
        return self._compiled(scopes, frozenset((rule, it.reason) for it in exempt for rule in it.skips))

    def _compile(self, scopes: tuple[Scope, ...], skips: frozenset[tuple[Skipped, str]]) -> Settings:
        layer = self.effective(scopes)
        maxima = self._maxima(layer.limits)
        defaults = _nonzero(layer.defaults)
        bounds = {name: most for name in BOUNDED if name not in defaults and (most := maxima.get(name))}
        return Settings(
            defaults=Defaults(defaults, bounds=bounds),
            secondary_defaults=_secondary(defaults, bounds, layer.secondary_defaults),
            limits=maxima,
            tolerations=self.tolerations,
            mode=layer.mode[0] if layer.mode else "enforce",
            skips=dict(sorted(skips)),
            verdicts=self.verdicts,
            warnings=self.warnings,
            policy=self.digest,
        )

    def _maxima(self, limits: Amounts) -> Maxima:
        stated = {name: amount.value for name, amount in limits.items()}
        devices = stated.pop(GPU, None)
        patterns = {name.removesuffix("*"): most for name, most in stated.items() if name.endswith("*")}
        return Maxima(
            exact={name: most for name, most in stated.items() if not name.endswith("*")},
            patterns=tuple(sorted(patterns.items(), key=lambda pattern: len(pattern[0]), reverse=True)),
            devices=devices,
            device_names=self.devices.names,
            device_prefixes=self.devices.prefixes,
        )

    def effective(self, scopes: Iterable[Scope]) -> Layer:
        """What is stated for the scopes together, the later ones over the earlier, all of them over the platform."""
        layers = [self.overrides[scope] for scope in scopes]
        stated = [self.platform, *layers]
        counted = [layer for layer in layers if layer.defaults or layer.limits][-1:] if self.replaces else stated
        counted = counted or [self.platform]
        secondary = [layer.secondary_defaults for layer in stated if layer.secondary_defaults is not None]
        return Layer(
            defaults=_merged(layer.defaults for layer in counted),
            secondary_defaults=_merged(secondary) if secondary else None,
            limits=_merged(layer.limits for layer in counted),
            mode=next((layer.mode for layer in reversed(stated) if layer.mode), None),
        )

    def matching(self, task: Scope, made_by: Generation = 1) -> tuple[Scope, ...]:
        """The scopes of the overrides that hold for the task, the most specific last.

        Workflow and task may be given as people write them or as the labels of that Flyte have them.
        """
        known = self._by_labels[made_by]
        return tuple(known[scope] for scope in task.as_labels(made_by).wider() if scope in known)

    @cached_property
    def _by_labels(self) -> Mapping[Generation, Mapping[Scope, Scope]]:
        generations: tuple[Generation, ...] = (1, 2)
        return {made_by: {scope.as_labels(made_by): scope for scope in self.overrides} for made_by in generations}

    def expired(self, today: str) -> tuple[str, ...]:
        """The exemptions that no longer count, as `file:line:col: warning: ...`."""
        what = "no longer counts; remove it, or give it a later day"
        return tuple(
            f"{it.origin}: warning: expired on {it.until}, {what}" for it in self.exemptions if today > it.until
        )


def _merged(amounts: Iterable[Amounts]) -> Amounts:
    merged: dict[str, Amount] = {}
    for stated in amounts:
        merged.update(stated)
    return merged


def _nonzero(amounts: Amounts) -> dict[str, Quantity]:
    return {name: amount.value for name, amount in amounts.items() if amount.value}


def _secondary(defaults: ResourceList, bounds: ResourceList, own: Amounts | None) -> Defaults:
    """The defaults of containers beside the primary one: their own, else the platform's without its devices."""
    if own is not None:
        amounts = _nonzero(own)
        return Defaults(amounts, frozenset(amounts))
    return Defaults({name: value for name, value in defaults.items() if not is_extended(name)}, bounds=bounds)
