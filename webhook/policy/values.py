"""The values of a policy file: amounts and tolerations, with the checks that pydantic does not do."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

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

from webhook.api import quantity
from webhook.api.quantity import BEYOND, EXACT_DIGITS, Quantity, QuantityError
from webhook.api.resource_list import (
    HUGEPAGES,
    NATIVE,
    is_device,
    is_extended,
    is_prefixed,
    is_qualified_name,
    page_size,
    unit,
)
from webhook.policy import json_schema
from webhook.policy.settings import CpuLimits, Ratio
from webhook.policy.spelling import SPELLINGS, shown, unknown_key
from webhook.policy.yaml_text import Path

PathProblem: TypeAlias = tuple[Path, str]
K = TypeVar("K")
V = TypeVar("V")


def with_check(check: Callable[[Any], Iterable[PathProblem]]) -> WrapValidator:
    """Report the problems that `check` finds in the raw value together with those that pydantic finds."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        errors = [_error(path, what) for path, what in check(value)]
        try:
            validated = handler(value)
        except ValidationError as error:
            errors += [_to_init_error(found) for found in error.errors()]
        if errors:
            raise ValidationError.from_exception_data("policy", errors)
        return validated

    return WrapValidator(validate)


def _error(path: Path, what: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("policy", "{what}", {"what": what}), loc=path, input=None)


def _to_init_error(found: ErrorDetails) -> InitErrorDetails:
    custom = PydanticCustomError("policy", "{what}", found["ctx"]) if found["type"] == "policy" else None
    return InitErrorDetails(
        type=custom or found["type"], loc=found["loc"], input=found["input"], ctx=found.get("ctx", {})
    )


def _amount(value: object) -> Quantity | None:
    """Return the amount, rounded up to thousandths as the API server does; None for null or an empty text."""
    if value in (None, ""):
        return None
    if isinstance(value, bool | dict | list):
        what = f"{shown(value)} where an amount is expected; write {quantity.ACCEPTED}"
        raise PydanticCustomError("policy", "{what}", {"what": what})
    if value < 0 if isinstance(value, int | float) else str(value).lstrip(" ").startswith("-"):
        raise ValueError(f"{value} is negative; write 0 for none")
    if isinstance(value, str) and not re.fullmatch(json_schema.AMOUNT, value):
        raise QuantityError(value)  # also a suffix alone, which Kubernetes reads as 0
    amount = quantity.from_json(value)
    if amount.nano >= BEYOND:
        raise QuantityError(str(value), f"too large; at most {EXACT_DIGITS} digits are accepted")
    return amount.round_up(-3)


def _defaults_problems(amounts: Any) -> Iterator[PathProblem]:
    """Report keys that are not a resource, resources named twice, and fractions of devices."""
    yield from _key_problems(amounts, is_device, "the full name of an extended resource")
    for key, value in amounts.items() if isinstance(amounts, dict) else ():
        if isinstance(value, dict) and SPELLINGS.get(key) in NATIVE:
            yield from (((key, *path), what) for path, what in _pair_problems(value))
        elif isinstance(value, dict) and (key in SPELLINGS or is_device(key)):
            yield (key,), "request and limit of a device are always equal; write one amount"


def maxima_problems(amounts: Any) -> Iterator[PathProblem]:
    """Report the same problems, but accept prefixes of names too."""
    yield from _key_problems(
        amounts,
        _has_maximum,
        "the full name of any other resource of a container, such as nvidia.com/gpu or hugepages-2Mi, or its beginning "
        "and *, such as nvidia.com/mig-*",
    )


def _has_maximum(name: str) -> bool:
    if name.startswith(HUGEPAGES):
        return re.fullmatch(json_schema.PAGES, name) is not None
    return is_prefixed(f"{name[:-1]}x" if name.endswith("*") else name)


def _key_problems(amounts: Any, is_known: Callable[[str], bool], accepted: str) -> Iterator[PathProblem]:
    spelled: dict[str, Any] = {}
    for key, value in amounts.items() if isinstance(amounts, dict) else ():
        name = SPELLINGS.get(key, str(key))
        if key not in SPELLINGS and not is_known(str(key)):
            yield (key, "[key]"), unknown_key(str(key), SPELLINGS, f"or {accepted}")
        if name in spelled:
            yield (key, "[key]"), f"the same resource as {spelled[name]}; keep one of them"
        spelled[name] = key
        if name not in NATIVE and not _is_multiple(value, unit(name)):
            yield (key,), f"{value} is not a whole number of {_units(name)}"


def _units(name: str) -> str:
    """Return the unit of a resource other than cpu, memory and ephemeral storage, with an example."""
    if name.startswith(HUGEPAGES):
        return f"pages of {name.removeprefix(HUGEPAGES)}; write one such as 1Gi" if page_size(name) else "bytes"
    return "devices; write one such as 1 or 8"


def _is_multiple(value: object, of: int) -> bool:
    try:
        return quantity.from_json(value).nano % of == 0
    except QuantityError:
        return True  # reported as not an amount


def _toleration_problems(toleration: Any) -> Iterator[PathProblem]:
    """Report what ValidateTolerations does, in kubernetes `pkg/apis/core/validation/validation.go`."""
    if not isinstance(toleration, dict):
        return
    key, operator, value = (toleration.get(name) or "" for name in ("key", "operator", "value"))
    if not key and operator != "Exists":
        yield ("operator",), "must be Exists where there is no key; write operator: Exists, or a key"
    if key and not is_qualified_name(str(key)):
        yield ("key",), f"{shown(key)} is not a valid taint key; write a name such as nvidia.com/gpu"
    if operator == "Exists" and value:
        yield ("value",), "must be empty where operator is Exists; remove it, or write operator: Equal"
    if operator in ("", "Equal") and isinstance(value, str) and not is_label_value(value):
        yield ("value",), f"{value!r} is not a valid taint value; write at most 63 letters, digits and -_."
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        yield (
            ("effect",),
            "must be NoExecute where tolerationSeconds is set; write NoExecute, or remove tolerationSeconds",
        )


def is_label_value(value: str) -> bool:
    """Return whether Kubernetes accepts the text as a label or taint value: at most 63 letters, digits and -_."""
    return value == "" or ("/" not in value and is_qualified_name(value))


def can_be_used(name: str) -> bool:
    """Return whether the key of tolerations is of a resource that a container can ask for, or of a kind of them."""
    return name in SPELLINGS or name.startswith(HUGEPAGES) or _has_maximum(name)


def _resource(name: str) -> str:
    if _names_resources(name):
        return name
    domain, slash, rest = name.rpartition("/")
    lower = f"{domain.lower()}{slash}{rest}"  # as Flyte reads it
    meant = lower if _names_resources(lower) else "gpu, one such as nvidia.com/gpu, or nvidia.com/mig-*"
    raise ValueError(f"{name!r} is not a valid resource name; write {meant}")


def _names_resources(name: str) -> bool:
    return is_qualified_name(name) or (name.endswith("*") and _has_maximum(name))


def _extended(name: str) -> str:
    if not is_extended(name):
        raise ValueError(f"{name!r} is not an extended resource; write a full name such as nvidia.com/gpu")
    return name


class Default(NamedTuple):
    """What a container gets of a resource that it does not state."""

    request: Quantity
    limit: Quantity


ExtendedResource = Annotated[str, AfterValidator(_extended), WithJsonSchema(json_schema.EXTENDED)]


def _default(value: object) -> Default | None:
    """Return one amount as request and limit, or a map that has both; None for null or an empty text."""
    if isinstance(value, dict) and any(_pair_problems(value)):
        return None  # they are reported with those of the section
    both = [value[side] for side in Default._fields] if isinstance(value, dict) else [value, value]
    request, limit = map(_amount, both)
    return None if request is None or limit is None else Default(request, limit)


def _pair_problems(pair: dict[str, Any]) -> Iterator[PathProblem]:
    unknown = sorted(pair.keys() - set(Default._fields))
    yield from (((side, "[key]"), unknown_key(side, Default._fields)) for side in unknown)
    amounts: list[Quantity | None] = []
    for side in Default._fields:
        try:
            amounts.append(_amount(pair.get(side)))
        except ValueError as error:
            yield (side,), str(error)
    if unknown or len(amounts) < len(Default._fields):
        return
    request, limit = amounts
    if not (request and limit):
        yield (), "give a request and a limit above 0, or one amount for both"
    elif request > limit:
        yield ("request",), f"{request} is over the limit {limit}; write at most the limit"


AmountField = Annotated[Quantity | None, PlainValidator(_amount)]
DefaultsField = Annotated[
    dict[str, Annotated[Default | None, PlainValidator(_default)]],
    with_check(_defaults_problems),
    WithJsonSchema(
        json_schema.amounts(
            "What a container gets that states nothing: cpu, memory, ephemeralStorage, gpu, or an extended resource or "
            "device class by its full name; 0 is none. An amount is request and limit; {request: 500m, limit: 2} "
            "has them differ. There are no defaults for hugepages.",
            json_schema.DEFAULTS_KEY,
            json_schema.PAIR,
        )
    ),
]
MaximaField = Annotated[
    dict[str, AmountField],
    with_check(maxima_problems),
    WithJsonSchema(
        json_schema.amounts(
            "What a container may have at most. As defaults; also hugepages-SIZE in bytes, names with "
            "kubernetes.io/, and the beginnings of names, such as nvidia.com/mig-*, "
            "deviceclass.resource.kubernetes.io/* or hugepages-*. gpu is the maximum of each kind of GPU by itself.",
            json_schema.MAXIMA_KEY,
        )
    ),
]
PodMaximaField = Annotated[
    dict[str, AmountField],
    with_check(maxima_problems),
    WithJsonSchema(
        json_schema.amounts(
            "What a Pod may have at most in all its containers together, or in one init container; keys as in "
            "limits. gpu is the maximum of each kind of GPU by itself, not of all kinds together.",
            json_schema.MAXIMA_KEY,
        )
    ),
]


def _cpu_limits(value: object) -> CpuLimits:
    if value in ("keep", "remove"):
        return cast("CpuLimits", value)
    ratio = value["ratio"] if isinstance(value, dict) and [*value] == ["ratio"] else None
    if not isinstance(ratio, int | float) or isinstance(ratio, bool) or ratio < 1:
        said = ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) if isinstance(value, dict) else None
        stated = shown(value) if said is None else f"{{{said}}}"
        raise ValueError(f"{stated} is not accepted; write keep, remove, or {{ratio: 2}} with a number from 1 up")
    return Ratio(quantity.from_json(ratio).nano)


CpuLimitsField = Annotated[
    CpuLimits,
    PlainValidator(_cpu_limits),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["keep", "remove"]},
                {
                    "type": "object",
                    "properties": {"ratio": {"type": "number", "minimum": 1}},
                    "required": ["ratio"],
                    "additionalProperties": False,
                },
            ],
            "description": "What becomes of cpu limits: {ratio: 2} raises those under twice the request. A limit that "
            "is counted or demanded stays.",
        }
    ),
]


class Section(BaseModel):
    """A map in the policy file, with known keys and typed values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Toleration(Section):
    """A toleration of Kubernetes."""

    model_config = ConfigDict(json_schema_extra={"allOf": json_schema.TOLERATION})

    key: Annotated[
        str | None,
        WithJsonSchema({"type": ["string", "null"], "anyOf": [*json_schema.QUALIFIED_NAME, json_schema.NOTHING]}),
    ] = None
    operator: Literal["Equal", "Exists", ""] | None = None
    value: Annotated[str | None, WithJsonSchema({"type": ["string", "null"], "pattern": json_schema.NAME})] = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] | None = None  # absent means all of them
    tolerationSeconds: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None


# The tags in angle brackets discriminate the shapes of a value for pydantic; reported paths omit them.
OneToleration = Annotated[Toleration, with_check(_toleration_problems)]
# Where Flyte's decoder takes one value for a list of one.
OneOrMore: TypeAlias = Annotated[
    Annotated[V, Tag("<one>")] | Annotated[list[V], Tag("<many>")],
    Discriminator(lambda value: "<many>" if isinstance(value, list) else "<one>"),
]
# Where Flyte's decoder joins the maps of a list to one.
MapOrMaps: TypeAlias = Annotated[
    Annotated[dict[K, V], Tag("<map>")] | Annotated[list[dict[K, V]], Tag("<list>")],
    Discriminator(lambda value: "<list>" if isinstance(value, list) else "<map>"),
]
Resource = Annotated[
    str,
    AfterValidator(_resource),
    WithJsonSchema({"type": "string", "anyOf": [*json_schema.QUALIFIED_NAME, json_schema.MAXIMA_KEY]}),
]
ResourceTolerations = MapOrMaps[Resource, OneOrMore[OneToleration]]
