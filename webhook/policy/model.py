"""What the platform's admins have decided: settings per task, from layers of which the most specific wins."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Final, NamedTuple, TypeAlias
from weakref import proxy

from webhook.api.quantity import Quantity
from webhook.api.resource_list import ResourceList, is_extended
from webhook.flyte.task import Generation, Identification, Task, label_value
from webhook.policy.settings import (
    VERDICTS,
    Claims,
    Defaults,
    Maxima,
    Mode,
    Settings,
    Skipped,
    Tolerations,
    Verdicts,
    least,
)

GPU: Final = "gpu"  # Flyte's key for a device of whatever kind
MOST_REMEMBERED: Final = 4096  # tasks whose settings are kept
LONGEST_LABEL: Final = 63  # characters

# What a container may not have without bound where there is a maximum. Not its disk: a request as large as the most
# that a task may ever need would leave the nodes empty, and Flyte too injects none for a maximum alone.
BOUNDED: Final = ("cpu", "memory")


class Amount(NamedTuple):
    """An amount that the policy states, and where: `file:line`."""

    value: Quantity
    origin: str


Amounts: TypeAlias = Mapping[str, Amount]


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
    pod_limits: Amounts = field(default_factory=dict)
    claims: tuple[Claims, str] | None = None  # with its origin
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

    def has(self, name: str) -> bool:
        """Whether the name, or pattern, is of one of them."""
        return name in self.names or name.startswith(self.prefixes)


@dataclass(frozen=True, eq=False)
class Policy:
    """The whole policy."""

    platform: Layer = Layer()
    overrides: Mapping[Scope, Layer] = field(default_factory=dict)
    replaces: bool = False  # whether the most specific override stands alone, as in Flyte, instead of being merged
    identification: Identification = field(default_factory=Identification)
    tolerations: Tolerations = field(default_factory=Tolerations)
    devices: Devices = Devices()
    verdicts: Verdicts = VERDICTS
    warnings: bool = False
    exemptions: tuple[Exemption, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)  # of what is no Amount, by its key: `file:line`
    digest: str = ""  # of the text it was read from, to tell one policy from another

    def settings(self, task: Task, namespace: str, today: str) -> Settings:
        """What holds for the task on that day, YYYY-MM-DD."""
        if not (self.overrides or self.exemptions):  # nothing depends on the task
            return self._everywhere
        # Only exemptions look at namespace and day, and a cluster may have more namespaces than are remembered.
        where = (namespace, today) if self.exemptions else ("", "")
        scope = Scope(task.domain, task.project, task.workflow, task.name)
        # A label comes to us before anybody has looked at its length.
        legal = all(len(name) <= LONGEST_LABEL for name in scope)
        return (self._settings if legal else self._looked_up)(scope, task.generation, *where)

    @cached_property
    def _everywhere(self) -> Settings:
        return self.settings_of(())

    @cached_property
    def _settings(self) -> Callable[[Scope, Generation, str, str], Settings]:
        return lru_cache(maxsize=MOST_REMEMBERED)(
            partial(Policy._looked_up, proxy(self))
        )  # else it would never be freed

    @cached_property
    def _compiled(self) -> Callable[[tuple[Scope, ...], frozenset[tuple[Skipped, str]]], Settings]:
        return lru_cache(maxsize=MOST_REMEMBERED)(partial(Policy._compile, proxy(self)))

    def settings_of(self, scopes: tuple[Scope, ...]) -> Settings:
        """What holds for tasks in all of these scopes and no other, without exemptions."""
        return self._compiled(scopes, frozenset())

    def _looked_up(self, task: Scope, made_by: Generation, namespace: str, today: str) -> Settings:
        scopes = self.matching(task, made_by)
        exempt = [exemption for exemption in self.exemptions if exemption.spares(task, namespace, today)]
        return self._compiled(scopes, frozenset((rule, it.reason) for it in exempt for rule in it.skips))

    def _compile(self, scopes: tuple[Scope, ...], skips: frozenset[tuple[Skipped, str]]) -> Settings:
        layer = self.effective(scopes)
        maxima, of_pod = self._maxima(layer.limits), self._maxima(layer.pod_limits)
        defaults = _nonzero(layer.defaults)
        bounded = {name: most for name in BOUNDED if (most := least(name, maxima, of_pod))}
        claims, claims_origin = layer.claims or ("allow", "")
        return Settings(
            defaults=_defaults(defaults, bounded),
            secondary_defaults=_secondary(defaults, bounded, layer.secondary_defaults),
            limits=maxima,
            pod_limits=of_pod,
            claims_refused_by=claims_origin if claims == "refuse" else "",
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
            limits=self._merged_maxima(layer.limits for layer in counted),
            pod_limits=self._merged_maxima(layer.pod_limits for layer in stated),
            claims=next((layer.claims for layer in reversed(stated) if layer.claims), None),
            mode=next((layer.mode for layer in reversed(stated) if layer.mode), None),
        )

    def _merged_maxima(self, limits: Iterable[Amounts]) -> Amounts:
        """`gpu` of a more specific layer is over every device that a less specific one names."""
        merged: dict[str, Amount] = {}
        for stated in limits:
            if GPU in stated:
                merged = {name: amount for name, amount in merged.items() if not self.devices.has(name)}
            merged.update(stated)
        return merged

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


def _defaults(amounts: ResourceList, bounded: ResourceList) -> Defaults:
    """The amounts, and a bound for what there is none of."""
    return Defaults(amounts, bounds={name: most for name, most in bounded.items() if name not in amounts})


def _secondary(defaults: ResourceList, bounded: ResourceList, own: Amounts | None) -> Defaults:
    """The defaults of containers beside the primary one: their own, else the platform's without its devices.

    An empty map of their own fills nothing, as Flyte does.
    """
    if own is None:
        return _defaults({name: value for name, value in defaults.items() if not is_extended(name)}, bounded)
    return _defaults(_nonzero(own), bounded) if own else Defaults(completes=frozenset())
