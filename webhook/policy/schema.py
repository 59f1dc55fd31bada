"""The shape of the policy file: its sections and keys."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from webhook.api.bounds import REPLICAS
from webhook.flyte.task import label_value
from webhook.policy import json_schema
from webhook.policy.spelling import SPELLINGS
from webhook.policy.values import (
    CpuLimitsField,
    DefaultsField,
    ExtendedResource,
    MapOrMaps,
    MaximaField,
    OneOrMore,
    OneToleration,
    PathProblem,
    PodMaximaField,
    ResourceTolerations,
    Section,
    is_label_value,
    maxima_problems,
    with_check,
)

T = TypeVar("T")

Code: TypeAlias = Literal[403, 413, 422, 429]


def _template(template: str) -> str:
    if not re.fullmatch(json_schema.TEMPLATE, template):
        raise ValueError(
            f"{template!r} is not a valid template; write a name with {{{{ project }}}} or {{{{ domain }}}} in it"
        )
    return template


def _name(name: str) -> str:
    if not is_label_value(name):
        raise ValueError(f"{name!r} is not a valid name; write at most 63 letters, digits and -_.")
    return name


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": json_schema.NAME})]


def _labelled(name: str) -> str:
    if name and not label_value(name, 1):
        raise ValueError(f"{name!r} is not a valid name; write it as in Flyte, with letters or digits")
    return name


# The name of a workflow or a task. Pods have it as a label, of which Flyte keeps letters and digits.
FullName = Annotated[str, AfterValidator(_labelled), WithJsonSchema({"type": "string", "pattern": "^$|[A-Za-z0-9]"})]


def _not_empty(value: T) -> T:
    if not value:
        raise ValueError("nothing given; write at least one" if isinstance(value, list) else "empty; write a text")
    return value


def _day(text: str) -> str:
    if not re.fullmatch(json_schema.DAY, text):
        raise ValueError(f"{text!r} is not a valid date; write one such as 2030-12-31, the last day that counts")
    return text


Reason = Annotated[
    str, AfterValidator(_not_empty), Field(examples=["a demo"]), WithJsonSchema({"type": "string", "minLength": 1})
]
Day = Annotated[
    str,
    AfterValidator(_day),
    Field(examples=["2030-12-31"], description="The last day that counts, in UTC."),
    WithJsonSchema({"type": "string", "format": "date", "pattern": json_schema.DAY}),
]


def _match_problems(match: Any) -> Iterator[PathProblem]:
    if isinstance(match, dict) and not any(match.values()):
        yield (), "would exempt everything; give a namespace, a project, a domain or made_by"


# Flyte's own sections have many more keys than are used here, and new ones with each version.
LEFT_TO_FLYTE: Final = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": True})


class DeviceClass(Section):
    """One of Flyte's `accelerator-device-classes`; only its resource name is used here."""

    model_config = LEFT_TO_FLYTE

    resource_name: ExtendedResource | None = Field(
        default=None, alias="resource-name", description="The resource of the accelerator."
    )


class K8s(Section):
    """Flyte's `plugins.k8s`: the keys for GPUs and tolerations are used here, the rest is left to Flyte."""

    model_config = LEFT_TO_FLYTE

    gpu_resource_name: ExtendedResource = Field(
        default="nvidia.com/gpu", alias="gpu-resource-name", description="The resource that gpu means in defaults."
    )
    accelerator_device_classes: MapOrMaps[str, DeviceClass | None] | None = Field(
        default=None,
        alias="accelerator-device-classes",
        description="Their resources are GPUs too: the maximum `gpu` applies to each.",
    )
    resource_tolerations: ResourceTolerations | None = Field(
        default=None,
        alias="resource-tolerations",
        description="Tolerations of Pods that use a resource, by names as in limits: also gpu, for each kind of GPU, "
        "and the beginnings of names, such as nvidia.com/mig-*. The most specific key wins.",
    )
    default_tolerations: OneOrMore[OneToleration] | None = Field(
        default=None, alias="default-tolerations", description="Tolerations of every task Pod."
    )
    interruptible_tolerations: OneOrMore[OneToleration] | None = Field(
        default=None,
        alias="interruptible-tolerations",
        description='Tolerations of Pods with the label interruptible: "true", which Flyte 1 alone sets.',
    )
    add_tolerations_for_extended_resources: Annotated[
        OneOrMore[ExtendedResource] | None,
        BeforeValidator(lambda value: value.split(",") if isinstance(value, str) and "," in value else value),
    ] = Field(
        default=None,
        alias="add-tolerations-for-extended-resources",
        description="Resources tolerated by their own name. If absent or empty, tolerate_by_own_name decides.",
    )


class Plugins(Section):
    """Flyte's `plugins`."""

    model_config = LEFT_TO_FLYTE

    k8s: Annotated[K8s | None, Field(description="GPUs and tolerations.")] = None


class TaskResources(Section):
    """flyteadmin's `task_resources`: defaults for tasks that state nothing, and maxima."""

    defaults: DefaultsField | None = None
    limits: MaximaField | None = None


class TaskResourceDefaults(TaskResources):
    """The same in the form of the Flyte documentation, or with flyteadmin's block nested in it as in Helm values."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {"required": ["task_resources"], "anyOf": [{"required": ["defaults"]}, {"required": ["limits"]}]}
        }
    )

    task_resources: TaskResources | None = Field(None, description="flyteadmin's block, as in Helm values.")


class NamespaceMapping(Section):
    """flyteadmin's `namespace_mapping`."""

    template: Annotated[
        str, AfterValidator(_template), WithJsonSchema({"type": "string", "pattern": json_schema.TEMPLATE})
    ] = Field("{{ project }}-{{ domain }}", description="How namespaces are named.")


class Domain(Section):
    """One of flyteadmin's `domains`."""

    id: Annotated[Name, Field(examples=["production"])]
    name: str | None = None


ModeField = Annotated[
    Literal["enforce", "warn", "audit"],
    Field(
        description="warn and audit neither change nor refuse anything; "
        "warnings and the audit log report the would-be result."
    ),
]


ClaimsField = Annotated[
    Literal["allow", "refuse"],
    Field(description="Whether Pods may have spec.resourceClaims, which have no maximum here."),
]


OverLimitField = Annotated[
    dict[Annotated[str, WithJsonSchema({"type": "string", **json_schema.MAXIMA_KEY})], Literal["clamp", "refuse"]],
    with_check(maxima_problems),
    Field(
        description="What becomes of an amount over its maximum: clamp lowers it, refuse refuses the Pod for good. "
        "Keys as in limits; what is not named is lowered."
    ),
]


ExclusiveCpusField = Annotated[
    bool,
    Field(
        description="Whether Guaranteed Pods with whole cpus keep their cpu limits: the CPU manager policy `static` "
        "gives such Pods cpus of their own."
    ),
]


MadeByField = Annotated[
    Literal["operator"],
    Field(description="operator: only the Pods that operators create, such as those of a RayJob; not the job itself."),
]
# Each kind that webhook.jobs knows.
JobKind: TypeAlias = Literal[
    "RayJob", "SparkApplication", "DaskJob", "PyTorchJob", "TFJob", "MPIJob", "JobSet"
]  # fmt: skip


def _workers(number: int) -> int:
    if not 0 <= number <= REPLICAS:
        raise ValueError(f"{number} is not a number of workers; write one such as 16, or 0 for no maximum")
    return number


Workers = Annotated[
    int, AfterValidator(_workers), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": REPLICAS})
]
MaxReplicasField = Annotated[
    dict[JobKind, Workers],
    Field(
        description="The most workers that a job of each kind may have, in all its groups together; 0 is no maximum. "
        "A job with more is refused for good: its number of workers is never lowered."
    ),
]


def _override(schema: dict[str, Any]) -> None:
    for_some = json_schema.one_of("org", "project", "domain", "workflow", "task")
    schema["allOf"] = [for_some, json_schema.NO_MODE_FOR_TASKS]
    json_schema.with_settings(schema)


class Override(TaskResources):
    """Values for some tasks: a flytectl task-resource-attribute document, with additional keys.

    Settings of Flyte 2, such as task_resource.max.cpu, are read as limits and defaults.
    """

    model_config = ConfigDict(json_schema_extra=_override)

    org: Name | None = Field(
        None, description="The organisation in settings of Flyte 2, which has one; alone it is for all tasks."
    )
    project: Name | None = Field(None, description="The project that the override is for; all if it is absent.")
    domain: Name | None = Field(None, description="The domain that the override is for; all if it is absent.")
    made_by: MadeByField | None = None
    workflow: FullName | None = Field(default=None, description="The name as in Flyte; only Pods of Flyte 1 have it.")
    task: FullName | None = Field(
        default=None, description="The full name of a task, as in Flyte; map tasks of it too."
    )
    secondary_defaults: DefaultsField | None = Field(
        None, description="Defaults of containers other than the primary one."
    )
    pod_limits: PodMaximaField | None = None
    over_limit: OverLimitField | None = None
    max_replicas: MaxReplicasField | None = None
    cpu_limits: CpuLimitsField | None = None
    keep_exclusive_cpus: ExclusiveCpusField | None = None
    resource_claims: ClaimsField | None = None
    mode: ModeField | None = None
    until: Day | None = Field(
        None, description="The last day that the override counts, in UTC.", examples=["2030-12-31"]
    )
    reason: Reason | None = Field(None, description="What the override is for.")


class Match(Section):
    """The Pods that an exemption is for; all keys given must match. Task authors' labels are not among the keys."""

    model_config = ConfigDict(json_schema_extra={"allOf": [json_schema.one_of("namespace", "project", "domain")]})

    namespace: Name | None = Field(None, description="The namespace of the Pods.")
    project: Name | None = Field(None, description="Their project, by the name of their namespace.")
    domain: Name | None = Field(None, description="Their domain, by the name of their namespace.")
    made_by: MadeByField | None = None


class Exemption(Section):
    """An exemption of the Pods of a project, domain or namespace from some rules, until the end of a day."""

    match: Annotated[Match, with_check(_match_problems), Field(examples=["{project: flytesnacks}"])]
    skip: Annotated[
        list[Literal["fill", "clamp", "tolerate", "quota"]],
        AfterValidator(_not_empty),
        Field(description="The rules that are skipped.", examples=["[clamp]"], json_schema_extra={"minItems": 1}),
    ]
    reason: Reason = Field(description="Why; the audit log has it.")
    until: Day


class Codes(Section):
    """The HTTP status of a refusal, by the creator of the Pod; jobs have their own, whichever Flyte creates them."""

    flyte1: Code | None = Field(None, description="For Pods that Flyte 1 creates.")
    flyte2: Code | None = Field(None, description="For Pods that Flyte 2 creates.")
    operator: Code | None = Field(None, description="For Pods that an operator creates, and for resizes.")
    job: Code | None = Field(None, description="For jobs, such as a RayJob.")


class LaterCodes(Codes):
    """The same where it may fit later."""

    job: Code | Literal["admit"] | None = Field(default=None, description="admit lets the operator of the job wait.")  # type: ignore[assignment]


class Verdicts(Section):
    """The refusal of a Pod or a job that its ResourceQuota has no room for."""

    fits_later: LaterCodes | None = Field(None, description="Where it fits when others have ended.")
    never_fits: Codes | None = Field(None, description="Where it does not fit even with nothing else running.")
    retry_after_seconds: Annotated[int, Field(gt=0, le=3600)] = Field(
        2, description="The pause that a 429 asks for. Flyte 2 gives up a try after 30 seconds, with all its pauses."
    )


# What else stands at the top of the configuration of Flyte's services, in lower case. It is left to Flyte.
FLYTE_SECTIONS: Final = frozenset(
    {
        "actions", "admin", "application", "apps", "auth", "cacheservice", "catalog-cache", "cloudevents",
        "cluster_pools", "cluster_resources", "clusterpools", "clusters", "configmap", "configuration",
        "copilot", "database", "datacatalog", "dataproxy", "event", "executor", "externalevents", "flyte",
        "flyteadmin", "flyteconsole", "flytepropeller", "kubeconfig", "logger", "manager", "notifications",
        "otel", "propeller", "qualityofservice", "queues", "rawoutput", "registration", "remotedata", "runs",
        "scheduler", "secrets", "security", "server", "storage", "task_type_whitelist", "tasks", "union",
        "webhook", "workflowstore",
    }
)  # fmt: skip


class PolicyFile(Section):
    """The policy of flyte-admission."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"not": {"required": ["task_resources"]}}, json_schema.NO_TASK_RESOURCE_DEFAULTS],
        }
    )

    task_resources: TaskResources | None = None
    task_resource_defaults: TaskResourceDefaults | None = None
    secondary_defaults: DefaultsField | None = Field(
        None,
        description="Defaults of containers other than the primary one; {} fills nothing there. "
        "Absent, they get the platform's defaults but for devices.",
    )
    pod_limits: PodMaximaField | None = None
    over_limit: OverLimitField | None = None
    max_replicas: MaxReplicasField | None = None
    cpu_limits: CpuLimitsField | None = None
    keep_exclusive_cpus: ExclusiveCpusField | None = None
    resource_claims: ClaimsField | None = None
    overrides: list[Override] | None = Field(
        None, description="Values for some tasks, merged resource by resource; the most specific wins."
    )
    override_strategy: Literal["merge-per-resource", "replace-all-resources"] = Field(
        "merge-per-resource",
        description="replace-all-resources: the most specific override alone counts, as in Flyte, and what it "
        "does not name has no default and no maximum. secondary_defaults and pod_limits are merged in any case.",
    )
    namespace_mapping: NamespaceMapping | None = None
    domains: OneOrMore[Domain] | None = Field(None, description="flyteadmin's domains, to read namespaces by.")
    tolerate_by_own_name: bool = Field(
        default=True,
        description="Whether devices that resource-tolerations does not name are tolerated by their own name.",
    )
    project_domain_labels: Literal["flyte2", "always", "never"] = Field(
        "flyte2",
        description="Whose labels give project and domain where the namespace does not; anyone who launches a workflow "
        "of Flyte 1 can set them.",
    )
    mode: ModeField | None = None
    warnings: bool = Field(default=False, description="Whether the client gets the changes as warnings too.")
    exemptions: list[Exemption] | None = None
    verdicts: Verdicts | None = None
    plugins: Plugins | None = None


def fields(section: type[BaseModel]) -> list[str]:
    """Return the keys of the section, as in the file."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _all_keys(section: type[BaseModel]) -> Iterator[str]:
    yield from fields(section)
    for field in section.model_fields.values():
        for part in sections(field.annotation):
            yield from _all_keys(part)


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections in an annotation, inside lists, maps and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from sections(part)


ALL_KEYS: Final = frozenset({*_all_keys(PolicyFile), *SPELLINGS})
