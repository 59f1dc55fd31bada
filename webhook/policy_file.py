"""The policy file: YAML in the words of Flyte's own configuration, checked as a whole before it is used."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from webhook import pod, quantity
from webhook.policy import Defaults, Policy, Settings, secondary
from webhook.quantity import NANO, Quantity, QuantityError
from webhook.resource_list import ResourceList, is_extended, is_qualified_name
from webhook.yaml_text import Document, Path, Problem, ProblemsError, load_all

# How Flyte spells resources (flyteadmin task_resource_provider.go; the short forms are users' habits), and Kubernetes.
SPELLINGS: Final = {
    "cpu": "cpu",
    "memory": "memory",
    "mem": "memory",
    "ephemeralStorage": "ephemeral-storage",
    "storage": "ephemeral-storage",
    "gpu": "gpu",
}
# Keys of Flyte's plugins.k8s (flytek8s/config/config.go, v1.16 and v2) that mean nothing to an admission webhook.
FLYTE_K8S_KEYS: Final = frozenset(
    {
        "accelerator-device-classes", "accelerator-devices", "add-tolerations-for-extended-resources", "co-pilot",
        "create-container-config-error-grace-period", "create-container-error-grace-period", "default-affinity",
        "default-annotations", "default-cpus", "default-env-from-configmaps", "default-env-from-secrets",
        "default-env-vars", "default-env-vars-from-env", "default-labels", "default-memory", "default-node-selector",
        "default-pod-dns-config", "default-pod-security-context", "default-pod-template-name",
        "default-pod-template-resync", "default-security-context", "default-tolerations",
        "delete-resource-on-finalize", "disable-inject-owner-references", "enable-distributed-error-aggregation",
        "enable-host-networking-pod", "gpu-device-node-label", "gpu-partition-size-node-label",
        "gpu-unpartitioned-node-selector-requirement", "gpu-unpartitioned-toleration",
        "image-pull-backoff-grace-period", "inject-finalizer", "interruptible-node-selector",
        "interruptible-node-selector-requirement", "interruptible-tolerations",
        "non-interruptible-node-selector-requirement", "pod-pending-timeout", "scheduler-name", "send-object-events",
        "update-backoff-retries", "update-base-backoff-duration",
    }
)  # fmt: skip

# Other sections of Flyte's `plugins`, left to Flyte as well.
FLYTE_PLUGINS: Final = frozenset(
    {
        "agent-service", "athena", "aws", "bigquery", "catalogcache", "clustered", "connector-service", "dask",
        "databricks", "echo", "k8s-array", "kf-operator", "logs", "pod", "qubole", "ray", "sagemaker", "snowflake",
        "spark", "sparkoperator",
    }
)  # fmt: skip

Finding: TypeAlias = tuple[Path, str]


def also(check: Callable[[Any], Iterable[Finding]]) -> WrapValidator:
    """Report what `check` finds in the raw value along with what pydantic finds, not after it."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        errors = [_error(path, what) for path, what in check(value)]
        try:
            validated = handler(value)
        except ValidationError as error:
            errors += [_again(found) for found in error.errors()]
        if errors:
            raise ValidationError.from_exception_data("policy", errors)
        return validated

    return WrapValidator(validate)


def _error(path: Path, what: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("policy", "{what}", {"what": what}), loc=path, input=None)


def _again(found: ErrorDetails) -> InitErrorDetails:
    if found["type"] == "policy":
        return _error(found["loc"], found["msg"])
    return InitErrorDetails(type=found["type"], loc=found["loc"], input=found["input"], ctx=found.get("ctx", {}))


def _amount(value: object) -> Quantity:
    amount = quantity.from_json(value)
    if amount.nano < 0:
        raise ValueError(f"{value} is negative; write 0 for none")
    return amount


def _misfits(amounts: Any) -> Iterator[Finding]:
    """Keys that name no resource, or one resource twice, and devices in parts."""
    spelled: dict[str, Any] = {}
    for key, value in amounts.items() if isinstance(amounts, dict) else ():
        name = SPELLINGS.get(key, str(key))
        if name != "gpu" and key not in SPELLINGS and not is_extended(key):
            yield (key,), f"unknown key; accepted: {', '.join(SPELLINGS)}, or the full name of an extended resource"
        if name in spelled:
            yield (key,), f"the same resource as {spelled[name]}; keep one of them"
        spelled[name] = key
        if (name == "gpu" or is_extended(name)) and not _is_whole(value):
            yield (key,), f"{value} is no whole number of devices; write one such as 1 or 8"


def _is_whole(value: object) -> bool:
    try:
        return quantity.from_json(value).nano % NANO == 0
    except QuantityError:
        return True  # reported as no quantity at all


def _toleration_misfits(toleration: Any) -> Iterator[Finding]:
    """ValidateTolerations in kubernetes `pkg/apis/core/validation/validation.go`."""
    if not isinstance(toleration, dict):
        return
    key, operator, value = (toleration.get(name) or "" for name in ("key", "operator", "value"))
    if not key and operator != "Exists":
        yield ("operator",), "must be Exists where there is no key; write operator: Exists, or a key"
    if key and not is_qualified_name(str(key)):
        yield ("key",), f"{key!r} is no taint key; write a name such as nvidia.com/gpu"
    if operator == "Exists" and value:
        yield ("value",), "must be empty where operator is Exists; remove it, or write operator: Equal"
    if operator in ("", "Equal") and isinstance(value, str) and not _is_label_value(value):
        yield ("value",), f"{value!r} is no taint value; write at most 63 letters, digits and -_."
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        yield (
            ("effect",),
            "must be NoExecute where tolerationSeconds is set; write NoExecute, or remove tolerationSeconds",
        )


def _is_label_value(value: str) -> bool:
    return value == "" or ("/" not in value and is_qualified_name(value))


def _resource(name: str) -> str:
    if not is_qualified_name(name):
        raise ValueError(f"{name!r} is no resource name; write one such as nvidia.com/gpu")
    return name


def _extended(name: str) -> str:
    if not is_extended(name):
        raise ValueError(f"{name!r} is no extended resource; write a full name such as nvidia.com/gpu")
    return name


Amount = Annotated[
    Quantity,
    PlainValidator(_amount),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}, {"type": "null"}]}),
]
Amounts = Annotated[
    dict[str, Amount],
    also(_misfits),
    Field(description="cpu, memory, ephemeralStorage, gpu, or an extended resource by its full name; 0 is none."),
]


class Section(BaseModel):
    """A map of the file: known keys, each of the type it says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Toleration(Section):
    """A toleration of Kubernetes."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    tolerationSeconds: int | None = None


# The steps in angle brackets tell pydantic which shape a value has; paths are reported without them.
Tolerations = Annotated[
    Annotated[Annotated[Toleration, also(_toleration_misfits)], Tag("<one>")]
    | Annotated[list[Annotated[Toleration, also(_toleration_misfits)]], Tag("<many>")],
    Discriminator(lambda value: "<many>" if isinstance(value, list) else "<one>"),
]
ByResource = dict[Annotated[str, AfterValidator(_resource)], Tolerations]
ResourceTolerations = Annotated[
    Annotated[ByResource, Tag("<map>")] | Annotated[list[ByResource], Tag("<list>")],
    Discriminator(lambda value: "<list>" if isinstance(value, list) else "<map>"),
]


def _left_to_flyte(keys: Iterable[str]) -> ConfigDict:
    """Other keys are looked at by _flyte_keys: those of Flyte are no errors."""
    schema = {"additionalProperties": False, "patternProperties": {f"^({'|'.join(sorted(keys))})$": True}}
    return ConfigDict(extra="ignore", json_schema_extra=schema)


class K8s(Section):
    """Flyte's `plugins.k8s`: what it says of GPUs and tolerations is used, the rest is left to Flyte."""

    model_config = _left_to_flyte(FLYTE_K8S_KEYS)

    gpu_resource_name: Annotated[str, AfterValidator(_extended)] = Field(
        default="nvidia.com/gpu", alias="gpu-resource-name"
    )
    resource_tolerations: ResourceTolerations | None = Field(default=None, alias="resource-tolerations")


class Plugins(Section):
    """Flyte's `plugins`."""

    model_config = _left_to_flyte(FLYTE_PLUGINS)

    k8s: K8s | None = None


class TaskResources(Section):
    """flyteadmin's `task_resources`: what tasks get where they state nothing, and the most they may have."""

    defaults: Amounts | None = None
    limits: Amounts | None = None


class TaskResourceDefaults(TaskResources):
    """The same as the Flyte documentation has it, or with flyteadmin's block nested in it as in Helm values."""

    task_resources: TaskResources | None = None


class PolicyFile(Section):
    """The policy of flyte-admission."""

    task_resources: TaskResources | None = None
    task_resource_defaults: TaskResourceDefaults | None = None
    secondary_defaults: Amounts | None = Field(
        None,
        description="Defaults of containers other than the primary one; {} fills nothing there. "
        "Absent, they get the platform's defaults but for devices.",
    )
    plugins: Plugins | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy that can be used, and what its file says in vain: `file:line:col: warning: …` lines."""

    policy: Policy
    warnings: tuple[str, ...] = ()


def load(text: str, file: str) -> Loaded:
    """The policy in `text`; ProblemsError has everything that is wrong with it. `file` is for messages only."""
    documents = load_all(text, file, strict=True)
    if len(documents) != 1:
        found = f"{len(documents)} documents" if documents else "nothing"
        raise ProblemsError(file, [Problem(1, 1, f"{found} in the file; write one policy, such as task_resources: …")])
    document = documents[0]
    errors, unused = _flyte_keys(document)
    problems = [*errors, *_twice(document)]
    try:
        content = PolicyFile.model_validate(document.data)
    except ValidationError as error:
        problems += [_located(document, found) for found in error.errors()]
    if problems:
        raise ProblemsError(file, problems)
    warnings = sorted([*unused, *_defaults_over_limits(document, content)])
    return Loaded(_compile(content), tuple(problem.at(file) for problem in warnings))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the policy file, for editors and CI."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PolicyFile.model_json_schema(by_alias=True),
        "title": "flyte-admission policy",
    }


def _compile(content: PolicyFile) -> Policy:
    k8s = _k8s(content)
    resources, _ = _task_resources(content)
    defaults = _kubernetes(resources.defaults, k8s)
    own = content.secondary_defaults
    platform = Settings(
        defaults=Defaults(defaults),
        secondary_defaults=secondary(defaults, None if own is None else _kubernetes(own, k8s)),
        limits=_kubernetes(resources.limits, k8s),
        tolerations=_tolerations(k8s),
    )
    return Policy(platform)


def _k8s(content: PolicyFile) -> K8s:
    return (content.plugins and content.plugins.k8s) or K8s()


def _task_resources(content: PolicyFile) -> tuple[TaskResources, Path]:
    """The one block of the file that has them, and where it stands."""
    outer = content.task_resource_defaults
    if outer is not None and outer.task_resources is not None:
        return outer.task_resources, ("task_resource_defaults", "task_resources")
    if outer is not None:
        return outer, ("task_resource_defaults",)
    return content.task_resources or TaskResources(), ("task_resources",)


def _kubernetes(amounts: ResourceList | None, k8s: K8s) -> ResourceList:
    """The amounts under Kubernetes' names; a zero says nothing."""
    names = {**SPELLINGS, "gpu": k8s.gpu_resource_name}
    return {names.get(key, key): amount for key, amount in (amounts or {}).items() if amount}


def _tolerations(k8s: K8s) -> dict[str, tuple[pod.Toleration, ...]]:
    configured = k8s.resource_tolerations or {}
    by_resource: dict[str, list[Toleration]] = {}
    for entry in configured if isinstance(configured, list) else [configured]:
        for name, tolerations in entry.items():
            by_resource.setdefault(name, []).extend(tolerations if isinstance(tolerations, list) else [tolerations])
    return {name: tuple(_toleration(t) for t in tolerations) for name, tolerations in by_resource.items()}


def _toleration(toleration: Toleration) -> pod.Toleration:
    return pod.Toleration(
        key=toleration.key or None,
        operator=toleration.operator,
        value=toleration.value or None,
        effect=toleration.effect,
        toleration_seconds=toleration.tolerationSeconds,
    )


def _located(document: Document, found: ErrorDetails) -> Problem:
    path = tuple(step for step in found["loc"] if not (isinstance(step, str) and step.startswith("<")))
    at_key = found["type"] == "extra_forbidden" or path[-1:] == ("[key]",)
    return document.problem(path[:-1] if path[-1:] == ("[key]",) else path, _what(found), at_key=at_key)


def _what(found: ErrorDetails) -> str:
    """A pydantic error in the words of this file: what it is, and what would be accepted."""
    value = found["input"]
    match found["type"]:
        case "extra_forbidden":
            return f"unknown key; accepted: {', '.join(_accepted(found['loc'][:-1]))}"
        case "value_error":
            return str(found["ctx"]["error"])
        case "literal_error":
            return f"{value!r} is not accepted; write {found['ctx']['expected']}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{_kind(value)} where a map is expected; write `key: value` lines below it"
        case "list_type":
            return f"{_kind(value)} where a list is expected; write `- …` lines below it"
        case "string_type":
            return f"{_kind(value)} where a text is expected; write it in quotes"
        case "int_type":
            return f"{_kind(value)} where a whole number is expected"
    return found["msg"]


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a map"
        case list():
            return "a list"
        case bool():
            return "a boolean"
    return repr(value)


def _accepted(path: Path) -> Iterable[str]:
    """The keys of the section at the path."""
    section: type[BaseModel] = PolicyFile
    for step in path:
        if step == "<one>" or isinstance(step, int):
            section = Toleration
            continue
        field = next((f for name, f in section.model_fields.items() if step in (f.alias, name)), None)
        nested = [kind for kind in get_args(field.annotation) if isinstance(kind, type)] if field else []
        section = next((kind for kind in nested if issubclass(kind, BaseModel)), section)
    return _fields(section)


def _fields(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _flyte_keys(document: Document) -> tuple[list[Problem], list[Problem]]:
    """Keys of Flyte's sections that mean nothing here: those that Flyte does not know either, and its own."""
    errors, warnings = [], []
    sections: tuple[tuple[type[Section], frozenset[str], Path], ...] = (
        (Plugins, FLYTE_PLUGINS, ("plugins",)),
        (K8s, FLYTE_K8S_KEYS, ("plugins", "k8s")),
    )
    for section, known, path in sections:
        own = _fields(section)
        for key in _keys(document.data, *path):
            if key in known:
                warnings.append(document.problem((*path, key), "warning: left to Flyte, not used here", at_key=True))
            elif key not in own:
                what = f"unknown key, to Flyte too; used here: {', '.join(own)}"
                errors.append(document.problem((*path, key), what, at_key=True))
    return errors, warnings


def _twice(document: Document) -> list[Problem]:
    """The platform's resources may be given in one of the shapes that Flyte has for them."""
    outer = _keys(document.data, "task_resource_defaults")
    problems = []
    if outer and "task_resources" in _keys(document.data):
        what = "given in task_resources too; keep one of them"
        problems.append(document.problem(("task_resource_defaults",), what, at_key=True))
    if "task_resources" in outer and ("defaults" in outer or "limits" in outer):
        what = "given beside defaults or limits; keep one of them"
        problems.append(document.problem(("task_resource_defaults", "task_resources"), what, at_key=True))
    return problems


def _keys(data: Any, *path: str | int) -> list[str]:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return list(data) if isinstance(data, dict) else []


def _defaults_over_limits(document: Document, content: PolicyFile) -> Iterator[Problem]:
    resources, path = _task_resources(content)
    k8s = _k8s(content)
    limits = _kubernetes(resources.limits, k8s)
    for block, amounts in (
        ((*path, "defaults"), resources.defaults),
        (("secondary_defaults",), content.secondary_defaults),
    ):
        for key, amount in (amounts or {}).items():
            (name,) = _kubernetes({key: amount}, k8s) or (key,)
            if name in limits and amount > limits[name]:
                yield document.problem(
                    (*block, key), f"warning: {amount} is over the limit {limits[name]}, which is what tasks get"
                )
