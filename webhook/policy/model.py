"""The policy: the settings of each task, from layers of which the most specific wins."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Final, NamedTuple, TypeAlias, TypeVar
from weakref import proxy

from webhook.api.quantity import Quantity
from webhook.api.resource_list import ResourceList, is_extended
from webhook.flyte.task import (
    MAX_LABEL_LENGTH,
    Generation,
    Identification,
    Task,
    label_value,
    map_elements_label,
    without_hash,
)
from webhook.policy.settings import (
    DEFAULT_DENIAL_CODES,
    ByResource,
    Claims,
    CpuLimits,
    Defaults,
    DenialCodes,
    Maxima,
    Mode,
    OverLimit,
    Settings,
    SkippableRule,
    TolerationSettings,
    lowest_maximum,
)

V = TypeVar("V")
B = TypeVar("B")
GPU: Final = "gpu"  # Flyte's key for any kind of device
MAX_MEMOISED: Final = 4096  # tasks whose settings are kept

# Resources that every container is bounded in where there is a maximum. Not disk: requests as large as the maximum
# would leave the nodes empty, and Flyte injects none for a maximum alone either.
BOUNDED: Final = ("cpu", "memory")


class Amount(NamedTuple):
    """An amount that the policy states, and where: `file:line`."""

    value: Quantity
    origin: str


class DefaultAmount(NamedTuple):
    """A default that the policy states, and where: `file:line`."""

    request: Quantity
    limit: Quantity
    origin: str


Amounts: TypeAlias = Mapping[str, Amount]
DefaultAmounts: TypeAlias = Mapping[str, DefaultAmount]


class TaskScope(NamedTuple):
    """The tasks that an override applies to; more fields, counted from the right, make it more specific."""

    domain: str = ""
    project: str = ""
    workflow: str = ""
    task: str = ""

    def __str__(self) -> str:
        """Return text such as `project flytesnacks, domain development`, or `all tasks`."""
        named = {"project": self.project, "domain": self.domain, "workflow": self.workflow, "task": self.task}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "all tasks"

    def wider(self) -> Iterator["TaskScope"]:
        """Yield the scope and all scopes that contain it, the most specific last: task, workflow, project, domain."""
        given = [index for index, name in enumerate(self) if name]
        for bits in range(2 ** len(given)):
            kept = {index for place, index in enumerate(given) if bits >> place & 1}
            yield TaskScope(*(name if index in kept else "" for index, name in enumerate(self)))

    def as_labels(self, made_by: Generation) -> "TaskScope":
        """Return the scope with workflow and task as labels of that generation of Flyte."""
        return self._replace(workflow=label_value(self.workflow, made_by), task=label_value(self.task, made_by))

    def labels(self, made_by: Generation) -> Iterator["TaskScope"]:
        """Yield the scope as labels of its task, and of the elements of map tasks of it: only Flyte 1 names those."""
        labels = self.as_labels(made_by)
        yield labels
        if made_by == 1 and self.task and (elements := map_elements_label(self.task)):
            yield labels._replace(task=elements)


class OverrideKey(NamedTuple):
    """An override by its tasks, of several the most specific last.

    One for the Pods of operators is on top of those for all Pods. One with a day counts until the end of it, on top of
    those that end later, or never.
    """

    scope: TaskScope
    until: str = ""  # YYYY-MM-DD, in UTC
    of_operators: bool = False  # whether it is only for Pods that operators create

    def __str__(self) -> str:
        """Return text such as `project flytesnacks, Pods of operators`."""
        return f"{self.scope}, Pods of operators" if self.of_operators else str(self.scope)


@dataclass(frozen=True, slots=True)
class Layer:
    """What the policy states for all tasks or for one scope; zero means none, an absent name is not stated."""

    defaults: DefaultAmounts = field(default_factory=dict)
    secondary_defaults: DefaultAmounts | None = None
    limits: Amounts = field(default_factory=dict)
    pod_limits: Amounts = field(default_factory=dict)
    cpu_limits: tuple[CpuLimits, str] | None = None  # with its origin
    keeps_exclusive_cpus: tuple[bool, str] | None = None  # with its origin
    claims: tuple[Claims, str] | None = None  # with its origin
    over_limit: Mapping[str, tuple[OverLimit, str]] = field(default_factory=dict)  # with their origins
    max_replicas: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # with their origins
    mode: tuple[Mode, str] | None = None  # with its origin
    reason: str = ""  # of an override
    origin: str = ""  # of an override: file:line:column


@dataclass(frozen=True, slots=True)
class Exemption:
    """Tasks that some rules do not apply to, until the end of a day."""

    namespace: str
    project: str
    domain: str
    skips: tuple[SkippableRule, ...]
    reason: str
    until: str  # YYYY-MM-DD, in UTC
    origin: str  # file:line:column
    of_operators: bool = False  # whether it is only for Pods that operators create

    def applies_to(self, task: TaskScope, namespace: str, today: str, *, operated: bool = False) -> bool:
        """Return whether the exemption applies to the Pods of the task in that namespace, on that day."""
        if self.of_operators and not operated:
            return False
        wanted = (self.namespace, namespace), (self.project, task.project), (self.domain, task.domain)
        return today <= self.until and all(name in ("", found) for name, found in wanted)


@dataclass(frozen=True, slots=True)
class Devices:
    """The resources that Flyte's key `gpu` stands for: one in requests and defaults, all of them in a maximum."""

    name: str = "nvidia.com/gpu"
    names: frozenset[str] = frozenset({"nvidia.com/gpu"})
    prefixes: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Return whether the name, or pattern, stands for one of these resources."""
        return name in self.names or name.startswith(self.prefixes)

    def by_resource(self, kind: Callable[..., B], stated: Mapping[str, V]) -> B:
        """Return the values by resource, for keys that are names, beginnings of names with a *, or `gpu`."""
        patterns = {name.removesuffix("*"): value for name, value in stated.items() if name.endswith("*")}
        return kind(
            exact={name: value for name, value in stated.items() if name != GPU and not name.endswith("*")},
            patterns=tuple(sorted(patterns.items(), key=lambda pattern: len(pattern[0]), reverse=True)),
            devices=stated.get(GPU),
            device_names=self.names,
            device_prefixes=self.prefixes,
        )


@dataclass(frozen=True, eq=False)
class Policy:
    """The compiled policy file."""

    platform: Layer = Layer()
    overrides: Mapping[OverrideKey, Layer] = field(default_factory=dict)
    replaces: bool = False  # whether only the most specific override counts, as in Flyte, instead of a merge
    identification: Identification = field(default_factory=Identification)
    tolerations: TolerationSettings = field(default_factory=TolerationSettings)
    devices: Devices = Devices()
    denial_codes: DenialCodes = DEFAULT_DENIAL_CODES
    warnings: bool = False
    exemptions: tuple[Exemption, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)  # of values other than an Amount, by key: `file:line`
    digest: str = ""  # of the text of the file

    def in_mode(self, mode: Mode) -> "Policy":
        """Return the same policy with this mode for all tasks."""
        overrides = {key: replace(layer, mode=None) for key, layer in self.overrides.items()}
        return replace(self, platform=replace(self.platform, mode=(mode, "--mode")), overrides=overrides)

    def settings(self, task: Task, namespace: str, today: str) -> Settings:
        """Return the settings of the task on that day, YYYY-MM-DD."""
        if not (self.overrides or self.exemptions):  # nothing depends on the task
            return self._platform_settings
        # Only exemptions depend on the namespace, and a cluster may have more namespaces than are memoised.
        where = (namespace if self.exemptions else "", today if self._depends_on_day else "")
        scope = TaskScope(task.domain, task.project, task.workflow, task.name)
        # The webhook sees labels before the API server checks their length.
        legal = all(len(name) <= MAX_LABEL_LENGTH for name in scope)
        compute = self._memoised_settings if legal else self._compute_settings
        return compute(scope, task.generation, *where, task.operated and self._depends_on_operators)

    @cached_property
    def _depends_on_day(self) -> bool:
        return bool(self.exemptions) or any(key.until for key in self.overrides)

    @cached_property
    def _depends_on_operators(self) -> bool:
        return any(it.of_operators for it in self.exemptions) or any(key.of_operators for key in self.overrides)

    @cached_property
    def _platform_settings(self) -> Settings:
        return self.settings_of(())

    @cached_property
    def _memoised_settings(self) -> Callable[[TaskScope, Generation, str, str, bool], Settings]:
        # A proxy, so that the cache does not keep the policy alive.
        return lru_cache(maxsize=MAX_MEMOISED)(partial(Policy._compute_settings, proxy(self)))

    @cached_property
    def _memoised_compile(self) -> Callable[[tuple[OverrideKey, ...], frozenset[tuple[SkippableRule, str]]], Settings]:
        return lru_cache(maxsize=MAX_MEMOISED)(partial(Policy._compile, proxy(self)))

    def settings_of(self, overrides: tuple[OverrideKey, ...]) -> Settings:
        """Return the settings of tasks with exactly these overrides, without exemptions."""
        return self._memoised_compile(overrides, frozenset())

    def _compute_settings(  # positional, for the memo
        self,
        task: TaskScope,
        made_by: Generation,
        namespace: str,
        today: str,
        operated: bool,  # noqa: FBT001
    ) -> Settings:
        overrides = self.matching(task, made_by, today, operated=operated)
        exempt = [it for it in self.exemptions if it.applies_to(task, namespace, today, operated=operated)]
        return self._memoised_compile(overrides, frozenset((rule, it.reason) for it in exempt for rule in it.skips))

    def _compile(self, overrides: tuple[OverrideKey, ...], skips: frozenset[tuple[SkippableRule, str]]) -> Settings:
        layer = self.effective(overrides)
        maxima, of_pod = (
            self.devices.by_resource(Maxima, {name: amount.value for name, amount in limits.items()})
            for limits in (layer.limits, layer.pod_limits)
        )
        refused_by = {name: origin if how == "refuse" else "" for name, (how, origin) in layer.over_limit.items()}
        bounded = {name: most for name in BOUNDED if (most := lowest_maximum(name, maxima, of_pod))}
        claims, claims_origin = layer.claims or ("allow", "")
        return Settings(
            defaults=_defaults(layer.defaults, bounded),
            secondary_defaults=_secondary(layer.defaults, bounded, layer.secondary_defaults),
            limits=maxima,
            pod_limits=of_pod,
            max_replicas={kind: limit for kind, limit in layer.max_replicas.items() if limit[0]},
            over_limit_refused_by=self.devices.by_resource(ByResource, refused_by),
            cpu_limits=layer.cpu_limits[0] if layer.cpu_limits else "keep",
            keeps_exclusive_cpus=bool(layer.keeps_exclusive_cpus and layer.keeps_exclusive_cpus[0]),
            claims_refused_by=claims_origin if claims == "refuse" else "",
            tolerations=self.tolerations,
            mode=layer.mode[0] if layer.mode else "enforce",
            skips=dict(sorted(skips)),
            denial_codes=self.denial_codes,
            warnings=self.warnings,
            policy=self.digest,
        )

    def stated(self, amounts: Mapping[str, V], name: str) -> V | None:
        """Return what is stated for the resource: by its name, by the beginning of it, or as `gpu`."""
        found: V | None = self.devices.by_resource(ByResource, amounts).find(name)
        return found

    def effective(self, overrides: Iterable[OverrideKey]) -> Layer:
        """Merge the layers of the overrides: later ones override earlier ones, all of them override the platform."""
        layers = [self.overrides[key] for key in overrides]
        stated = [self.platform, *layers]
        counted = [layer for layer in layers if layer.defaults or layer.limits][-1:] if self.replaces else stated
        counted = counted or [self.platform]
        secondary = [layer.secondary_defaults for layer in stated if layer.secondary_defaults is not None]
        return Layer(
            defaults=_merged(layer.defaults for layer in counted),
            secondary_defaults=_merged(secondary) if secondary else None,
            limits=self._merged_by_kind(layer.limits for layer in counted),
            pod_limits=self._merged_by_kind(layer.pod_limits for layer in stated),
            over_limit=self._merged_by_kind(layer.over_limit for layer in stated),
            max_replicas={kind: limit for layer in stated for kind, limit in layer.max_replicas.items()},
            cpu_limits=next((layer.cpu_limits for layer in reversed(stated) if layer.cpu_limits), None),
            keeps_exclusive_cpus=next(
                (layer.keeps_exclusive_cpus for layer in reversed(stated) if layer.keeps_exclusive_cpus), None
            ),
            claims=next((layer.claims for layer in reversed(stated) if layer.claims), None),
            mode=next((layer.mode for layer in reversed(stated) if layer.mode), None),
        )

    def _merged_by_kind(self, layers: Iterable[Mapping[str, V]]) -> Mapping[str, V]:
        """Merge so that `gpu` of a more specific layer overrides every device that a less specific one names."""
        merged: dict[str, V] = {}
        for stated in layers:
            if GPU in stated:
                merged = {name: value for name, value in merged.items() if not self.devices.has(name)}
            merged.update(stated)
        return merged

    def matching(
        self, task: TaskScope, made_by: Generation = 1, today: str = "", *, operated: bool = False
    ) -> tuple[OverrideKey, ...]:
        """Return the overrides that apply to the Pods of the task on that day, the most specific last.

        Workflow and task may be full names, or labels of that generation of Flyte. Without a day none has ended.
        """
        known = self._by_labels[made_by]
        labels = task.as_labels(made_by)
        elements = labels._replace(task=without_hash(labels.task))
        both = zip(labels.wider(), elements.wider(), strict=True)
        found = [known.get(one) or known.get(other) or () for one, other in both]
        return tuple(
            key
            for keys in found
            for key in keys
            if (operated or not key.of_operators) and (not key.until or today <= key.until)
        )

    @cached_property
    def _by_labels(self) -> Mapping[Generation, Mapping[TaskScope, Sequence[OverrideKey]]]:
        by_labels: dict[Generation, dict[TaskScope, list[OverrideKey]]] = {1: {}, 2: {}}
        for made_by, known in by_labels.items():
            for key in sorted(self.overrides, key=_weight, reverse=True):
                for labels in key.scope.labels(made_by):
                    known.setdefault(labels, []).append(key)
        return by_labels

    def expired(self, today: str) -> tuple[str, ...]:
        """Return the expired exemptions and overrides as `file:line:col: warning: ...`."""
        what = "no longer counts; remove it, or give it a later day"
        dated = [(it.origin, it.until) for it in self.exemptions]
        dated += [(layer.origin, key.until) for key, layer in self.overrides.items() if key.until]
        return tuple(f"{origin}: warning: expired on {until}, {what}" for origin, until in dated if today > until)


def _weight(key: OverrideKey) -> tuple[bool, bool, str]:
    """Return the order of overrides for the same tasks, the strongest first."""
    return not key.of_operators, not key.until, key.until


def _merged(amounts: Iterable[DefaultAmounts]) -> DefaultAmounts:
    merged: dict[str, DefaultAmount] = {}
    for stated in amounts:
        merged.update(stated)
    return merged


def _defaults(amounts: DefaultAmounts, bounded: ResourceList) -> Defaults:
    """Return the amounts above zero, and bounds for the names that have none."""
    stated = {name: amount for name, amount in amounts.items() if amount.request}
    return Defaults(
        requests={name: amount.request for name, amount in stated.items()},
        limits={name: amount.limit for name, amount in stated.items()},
        bounds={name: most for name, most in bounded.items() if name not in stated},
    )


def _secondary(defaults: DefaultAmounts, bounded: ResourceList, own: DefaultAmounts | None) -> Defaults:
    """Return the defaults of secondary containers: their own, else the platform's without its devices.

    With an empty map of their own nothing is filled, as in Flyte, but for what a ResourceQuota or LimitRange demands:
    that becomes the platform's.
    """
    if own:
        return _defaults(own, bounded)
    of_platform = _defaults({name: value for name, value in defaults.items() if not is_extended(name)}, bounded)
    return of_platform if own is None else replace(of_platform, completes=frozenset())
