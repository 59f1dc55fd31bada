"""Compiles the checked content of a policy file into a Policy: Kubernetes' names, and values with their line."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from webhook.api import pod
from webhook.api.quantity import ZERO, Quantity, parse
from webhook.api.resource_list import DEVICE_CLASS, whole
from webhook.flyte.namespace import NamespacePattern
from webhook.flyte.task import Identification
from webhook.policy.model import GPU, Amount, DefaultAmount, Devices, Exemption, Layer, OverrideKey, Policy, TaskScope
from webhook.policy.schema import Codes, K8s, Override, PolicyFile, TaskResources, fields
from webhook.policy.settings import (
    DEFAULT_DENIAL_CODES,
    ByResource,
    Creator,
    DenialCodes,
    OverLimit,
    TolerationSettings,
)
from webhook.policy.spelling import SPELLINGS
from webhook.policy.values import DefaultsField, MaximaField, Toleration
from webhook.policy.yaml_text import Document, Path

T = TypeVar("T")

# Accelerators of Flyte 2 (flytek8s/config/config.go), other names that device plugins give a GPU, and the device
# classes of the vendors' drivers for dynamic resource allocation.
ACCELERATORS: Final = (
    "nvidia.com/gpu", "google.com/tpu", "aws.amazon.com/neuron", "amd.com/gpu", "habana.ai/gaudi",
)  # fmt: skip
GPUS: Final = frozenset(
    {
        "gpu.intel.com/i915", "gpu.intel.com/xe", "intel.com/gpu", "nvidia.com/gpu", "nvidia.com/pgpu",
        "nvidia.com/vgpu", "aws.amazon.com/neuroncore", "aws.amazon.com/neurondevice",
    }
)  # fmt: skip
DEVICE_CLASSES: Final = frozenset(
    f"{DEVICE_CLASS}{name}"
    for name in (
        "gpu.nvidia.com", "mig.nvidia.com", "vfio.gpu.nvidia.com", "gpu.amd.com", "gpu.amd.com-spx", "gpu.intel.com",
        "gaudi.intel.com", "tpu.google.com", "neuron.aws.com",
    )
)  # fmt: skip
BUILT_IN_GPUS: Final = GPUS.union(ACCELERATORS, DEVICE_CLASSES)
# MIG slices, and GPUs that NVIDIA's plugin shares or renames; not HAMi's gpumem and gpucores, which do not count GPUs.
GPU_PREFIXES: Final = ("nvidia.com/mig-", "nvidia.com/gpu.", "nvidia.com/gpu-")


STORAGE: Final = "storage"  # the key that Flyte's documentation has for ephemeral storage
LEAST_STORAGE: Final = parse("100Mi")


class PolicyBlock(NamedTuple):
    """Resources that the file states for some tasks or, as the platform's, for all, with their places in the file."""

    document: Document
    content: Override
    paths: Mapping[str, Path]  # of its keys

    def defaults(self) -> Iterator[tuple[str, DefaultsField]]:
        """Yield the parts that hold defaults, with their keys."""
        for key in ("defaults", "secondary_defaults"):
            yield key, getattr(self.content, key) or {}

    def maxima(self) -> Iterator[tuple[str, MaximaField]]:
        """Yield the parts that hold maxima, with their keys."""
        for key in ("limits", "pod_limits"):
            yield key, getattr(self.content, key) or {}

    def names(self) -> Iterator[tuple[str, Collection[str]]]:
        """Yield the keys of resources in each of these parts."""
        yield from self.defaults()
        yield from self.maxima()
        yield "over_limit", self.content.over_limit or {}

    def origin(self, key: str, *steps: str) -> str:
        """Return `file:line` of a part, or of a key in it."""
        return origin(self.document, (*self.paths[key], *steps))

    @property
    def place(self) -> str:
        """`file:line:column` of an override, or of the day that it ends on."""
        at = self.document.problem(self.paths["until" if self.content.until else ""], "", at_key=True)
        return f"{self.document.file}:{at.line}:{at.column}"

    @property
    def scope(self) -> TaskScope:
        """The tasks that the block applies to."""
        it = self.content
        return TaskScope(it.domain or "", it.project or "", it.workflow or "", it.task or "")

    @property
    def key(self) -> OverrideKey:
        """The block as an override."""
        return OverrideKey(self.scope, self.content.until or "", self.content.made_by == "operator")


def origin(document: Document, path: Path) -> str:
    """Return `file:line` of the key at the path."""
    return f"{document.file}:{document.problem(path, '', at_key=True).line}"


def platform_block(document: Document, content: PolicyFile) -> PolicyBlock:
    """Return what applies to all tasks, from any of the shapes that Flyte has for it."""
    resources, path = _task_resources(content)
    block = Override.model_construct(  # the values are checked already
        defaults=resources.defaults,
        limits=resources.limits,
        secondary_defaults=content.secondary_defaults,
        pod_limits=content.pod_limits,
        over_limit=content.over_limit,
        max_replicas=content.max_replicas,
        cpu_limits=content.cpu_limits,
        keep_exclusive_cpus=content.keep_exclusive_cpus,
        resource_claims=content.resource_claims,
        mode=content.mode,
    )
    paths = {"defaults": (*path, "defaults"), "limits": (*path, "limits")}
    ours = (
        "secondary_defaults", "pod_limits", "over_limit", "max_replicas", "cpu_limits", "keep_exclusive_cpus",
        "resource_claims", "mode",
    )  # fmt: skip
    return PolicyBlock(document, block, {**paths, **{key: (key,) for key in ours}})


def override_block(document: Document, path: Path, content: Override) -> PolicyBlock:
    """Return the block of an override, or of a document of flytectl."""
    return PolicyBlock(document, content, {key: (*path, key) for key in fields(Override)} | {"": path})


def _task_resources(content: PolicyFile) -> tuple[TaskResources, Path]:
    outer = content.task_resource_defaults
    if outer is not None and outer.task_resources is not None:
        return outer.task_resources, ("task_resource_defaults", "task_resources")
    if outer is not None and content.task_resources is None:
        return outer, ("task_resource_defaults",)
    return content.task_resources or TaskResources(), ("task_resources",)


def compile_policy(content: PolicyFile, platform: PolicyBlock, overrides: Sequence[PolicyBlock], digest: str) -> Policy:
    """Return the policy that the blocks and the rest of the file make."""
    document = platform.document
    k8s = k8s_of(content)
    gpu = gpu_devices(k8s)
    return Policy(
        platform=_layer(platform, gpu),
        overrides={block.key: _layer(block, gpu) for block in overrides},
        replaces=content.override_strategy == "replace-all-resources",
        identification=_identification(content),
        tolerations=_tolerations(k8s, gpu, by_own_name=content.tolerate_by_own_name),
        devices=gpu,
        denial_codes=_verdicts(content),
        warnings=content.warnings,
        exemptions=tuple(_exemptions(document, content)),
        origins=_origins(document),
        digest=digest,
    )


def k8s_of(content: PolicyFile) -> K8s:
    """Return `plugins.k8s`, or its defaults."""
    return (content.plugins and content.plugins.k8s) or K8s()


def gpu_devices(k8s: K8s) -> Devices:
    """Return the resources that `gpu` stands for."""
    classes = [each for of in as_list(k8s.accelerator_device_classes or []) for each in of.values()]
    configured = [each.resource_name for each in classes if each and each.resource_name]
    return Devices(
        k8s.gpu_resource_name,
        BUILT_IN_GPUS.union(configured, [k8s.gpu_resource_name]),
        GPU_PREFIXES,
    )


def as_list(value: T | list[T]) -> list[T]:
    """Return the list, or one value as a list of it."""
    return value if isinstance(value, list) else [value]


def is_too_small(key: str, amount: Quantity) -> bool:
    """Return whether an amount of `storage` is not applied: Flyte ignores the key, and its charts have 5Mi and 20Mi."""
    return key == STORAGE and ZERO < amount < LEAST_STORAGE


def kubernetes_name(key: str, gpu: Devices) -> str:
    """Return Kubernetes' name for a key of the file."""
    return gpu.name if key == GPU else SPELLINGS.get(key, key)


def _layer(block: PolicyBlock, gpu: Devices) -> Layer:
    content = block.content
    mode, claims, keeps = content.mode, content.resource_claims, content.keep_exclusive_cpus
    return Layer(
        defaults=_defaults(block, "defaults", gpu),
        secondary_defaults=None if content.secondary_defaults is None else _defaults(block, "secondary_defaults", gpu),
        limits=_maxima(block, "limits", gpu),
        pod_limits=_maxima(block, "pod_limits", gpu),
        over_limit=_over_limit(block, gpu),
        max_replicas={
            kind: (most, block.origin("max_replicas", kind)) for kind, most in (content.max_replicas or {}).items()
        },
        cpu_limits=(content.cpu_limits, block.origin("cpu_limits")) if content.cpu_limits else None,
        keeps_exclusive_cpus=(keeps, block.origin("keep_exclusive_cpus")) if keeps is not None else None,
        claims=(claims, block.origin("resource_claims")) if claims else None,
        mode=(mode, block.origin("mode")) if mode else None,
        reason=content.reason or "",
        origin=block.place if "" in block.paths else "",
    )


def _defaults(block: PolicyBlock, key: str, gpu: Devices) -> dict[str, DefaultAmount]:
    """Return the stated defaults by Kubernetes' names."""
    stated: DefaultsField = getattr(block.content, key) or {}
    return {
        kubernetes_name(name, gpu): DefaultAmount(
            _whole(name, value.request), _whole(name, value.limit), block.origin(key, name)
        )
        for name, value in stated.items()
        if value is not None and not is_too_small(name, value.limit)
    }


def _maxima(block: PolicyBlock, key: str, gpu: Devices) -> dict[str, Amount]:
    """Return the stated maxima by Kubernetes' names; that of every GPU is there by its key too."""
    stated: MaximaField = getattr(block.content, key) or {}
    amounts = {
        name: Amount(_whole(name, value), block.origin(key, name))
        for name, value in stated.items()
        if value is not None and not is_too_small(name, value)
    }
    of_gpu = {gpu.name: amounts[GPU], GPU: amounts[GPU]} if GPU in amounts else {}
    return of_gpu | {SPELLINGS.get(name, name): amount for name, amount in amounts.items()}


def _whole(key: str, amount: Quantity) -> Quantity:
    return whole(SPELLINGS.get(key, key), amount)


def _over_limit(block: PolicyBlock, gpu: Devices) -> dict[str, tuple[OverLimit, str]]:
    stated = {name: (how, block.origin("over_limit", name)) for name, how in (block.content.over_limit or {}).items()}
    return {name if name == GPU else kubernetes_name(name, gpu): value for name, value in stated.items()}


def _identification(content: PolicyFile) -> Identification:
    mapping = NamespacePattern()
    template = content.namespace_mapping.template if content.namespace_mapping else mapping.template
    domains = tuple(domain.id for domain in as_list(content.domains)) if content.domains else mapping.domains
    return Identification(NamespacePattern(template, domains), content.project_domain_labels)


def _tolerations(k8s: K8s, gpu: Devices, *, by_own_name: bool) -> TolerationSettings:
    named = as_list(k8s.add_tolerations_for_extended_resources or [])
    return TolerationSettings(
        by_resource=gpu.by_resource(ByResource, _by_resource(k8s)),
        extended=None if by_own_name and not named else frozenset(named),
        always=tuple(map(_toleration, as_list(k8s.default_tolerations or []))),
        interruptible=tuple(map(_toleration, as_list(k8s.interruptible_tolerations or []))),
    )


def _by_resource(k8s: K8s) -> dict[str, tuple[pod.Toleration, ...]]:
    by_resource: dict[str, list[Toleration]] = {}
    for entry in as_list(k8s.resource_tolerations or []):
        for name, tolerations in entry.items():
            by_resource.setdefault(SPELLINGS.get(name, name), []).extend(as_list(tolerations))
    return {name: tuple(map(_toleration, tolerations)) for name, tolerations in by_resource.items()}


def _toleration(toleration: Toleration) -> pod.Toleration:
    return pod.Toleration(
        key=toleration.key or None,
        operator=toleration.operator or None,
        value=toleration.value or None,
        effect=toleration.effect or None,
        toleration_seconds=toleration.tolerationSeconds,
    )


def _verdicts(content: PolicyFile) -> DenialCodes:
    verdicts = content.verdicts
    if verdicts is None:
        return DEFAULT_DENIAL_CODES
    return DenialCodes(
        fits_later={**DEFAULT_DENIAL_CODES.fits_later, **_codes(verdicts.fits_later)},
        never_fits={**DEFAULT_DENIAL_CODES.never_fits, **_codes(verdicts.never_fits)},
        retry_after_seconds=verdicts.retry_after_seconds,
    )


def _codes(codes: Codes | None) -> dict[Creator, Any]:
    """Return the stated ones of a section, whose keys are the creators."""
    return {creator: code for creator in CREATORS if (code := getattr(codes, creator, None)) is not None}


def _exemptions(document: Document, content: PolicyFile) -> Iterator[Exemption]:
    for index, exemption in enumerate(content.exemptions or ()):
        place = document.problem(("exemptions", index, "until"), "", at_key=True)
        yield Exemption(
            namespace=exemption.match.namespace or "",
            project=exemption.match.project or "",
            domain=exemption.match.domain or "",
            skips=tuple(exemption.skip),
            reason=exemption.reason,
            until=exemption.until,
            origin=f"{document.file}:{place.line}:{place.column}",
            of_operators=exemption.match.made_by == "operator",
        )


CREATORS: Final[tuple[Creator, ...]] = ("flyte1", "flyte2", "operator", "job")
# Sections whose values carry their own place.
SECTIONS_WITHOUT_ORIGINS: Final = (
    "task_resources", "task_resource_defaults", "secondary_defaults", "pod_limits", "over_limit", "max_replicas",
    "overrides", "exemptions",
)  # fmt: skip


def _origins(document: Document) -> dict[str, str]:
    """Return the lines of other keys, without list indexes: `plugins.k8s.resource-tolerations.nvidia.com/gpu`."""
    origins: dict[str, str] = {}
    for path in document.keys:
        if path[0] not in SECTIONS_WITHOUT_ORIGINS:
            key = ".".join(step for step in path if isinstance(step, str))
            origins.setdefault(key, origin(document, path))
    return origins
