"""The shape of the policy file: its keys, their types, and what pydantic does not know to refuse."""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from webhook import quantity
from webhook.quantity import NANO, Quantity, QuantityError
from webhook.resource_list import is_extended, is_qualified_name
from webhook.yaml_text import Path

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
    return InitErrorDetails(type=found["type"], loc=found["loc"], input=found["input"], ctx=found.get("ctx", {}))


def _amount(value: object) -> Quantity:
    amount = quantity.from_json(value)
    if amount.nano < 0:
        raise ValueError(f"{value} is negative; write 0 for none")
    return amount.round_up(-3)  # as the API server will


def _misfits(amounts: Any) -> Iterator[Finding]:
    """Keys that name no resource, or one resource twice, and devices in parts."""
    spelled: dict[str, Any] = {}
    for key, value in amounts.items() if isinstance(amounts, dict) else ():
        name = SPELLINGS.get(key, str(key))
        if name != "gpu" and key not in SPELLINGS and not is_extended(key):
            yield (
                (key, "[key]"),
                f"unknown key; accepted: {', '.join(SPELLINGS)}, or the full name of an extended resource",
            )
        if name in spelled:
            yield (key, "[key]"), f"the same resource as {spelled[name]}; keep one of them"
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
    operator: Literal["Equal", "Exists", ""] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] | None = None  # none is all of them
    tolerationSeconds: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None


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
    schema: dict[str, JsonValue] = {
        "additionalProperties": False,
        "patternProperties": {f"^({'|'.join(sorted(keys))})$": True},
    }
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


def fields(section: type[BaseModel]) -> list[str]:
    """The keys of the section, as they stand in the file."""
    return [field.alias or name for name, field in section.model_fields.items()]
