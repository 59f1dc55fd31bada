"""What the JSON Schema says of values that pydantic does not describe.

Its patterns have no lookaheads, as the programs that read it differ in those that they know. Where a pattern can say
all that is accepted, the check of the value uses it too. docs/policy.md lists what a JSON Schema cannot say.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue

from webhook.api.resource_list import DEVICE_CLASS
from webhook.policy.spelling import SPELLINGS

SIMPLE_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"
_FULL_NAME: Final = f"^{_PREFIX}{SIMPLE_NAME}$"
_FULL_OR_BEGINNING: Final = rf"^{_PREFIX}({SIMPLE_NAME}|([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?\*)$"
PAGES: Final = r"^hugepages-([1-9][0-9]*([kMGTPE]|[KMGTPE]i)?|\*)$"
NAME: Final = f"^({SIMPLE_NAME})?$"
_LEAP_YEAR: Final = "[0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00"
_DAY: Final = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
DAY: Final = f"^([0-9]{{4}}-({_DAY})|({_LEAP_YEAR})-02-29)$"
TEMPLATE: Final = r"^[-a-z0-9]{0,63}(\{\{ (project|domain) \}\}[-a-z0-9]{0,63})*$"
_NUMBER: Final = r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)"
AMOUNT: Final = f"^( *{_NUMBER}([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)? *)?$"
# Of devices and bytes; not every fraction that comes to a whole number, such as 0.0009765625Ki.
_WHOLE: Final = (
    r"^( *\+?([0-9]+(\.0*)?([eE]\+?[0-9]+|[kMGTPE]|[KMGTPE]i)?|[0-9]*\.([05]|25|75)0*[KMGTPE]i"
    r"|[0-9]*\.[0-9]{1,3}0*([eE]\+?([3-9]|[1-9][0-9]+)|[kMGTPE])"
    r"|[0-9]*(000m|0{6}u|0{9}n)|(0+(\.0*)?|\.0+)[num]?) *)?$"
)
AMOUNTS: Final[list[JsonValue]] = [{"type": "string", "pattern": AMOUNT}, {"type": "number", "minimum": 0}]
WHOLE_AMOUNTS: Final[list[JsonValue]] = [{"type": "string", "pattern": _WHOLE}, {"type": "integer", "minimum": 0}]
NULL: Final[JsonValue] = {"type": "null"}
NOTHING: Final[JsonValue] = {"enum": ["", None]}


def _prefixed(pattern: str, *others: JsonValue, longest: int) -> dict[str, JsonValue]:
    """Return the JSON Schema of names with a prefix of at most so many characters."""
    return {"pattern": pattern, "allOf": [{"pattern": f"^[^/]{{1,{longest}}}/"}, *others]}


def _extended(pattern: str) -> dict[str, JsonValue]:
    """Return the JSON Schema of extended resources: `requests.` before one must make a name as well."""
    reserved: JsonValue = {"not": {"pattern": r"^requests\.|kubernetes\.io/"}}
    return _prefixed(pattern, reserved, longest=253 - len("requests."))


QUALIFIED_NAME: Final[list[JsonValue]] = [{"pattern": f"^{SIMPLE_NAME}$"}, _prefixed(_FULL_NAME, longest=253)]
EXTENDED: Final[dict[str, JsonValue]] = {"type": "string", **_extended(_FULL_NAME)}
_SPELLED: Final[JsonValue] = {"enum": [*SPELLINGS]}
_OF_CLASS: Final = _prefixed(_FULL_NAME, {"pattern": f"^{DEVICE_CLASS.replace('.', '[.]')}"}, longest=253)
_OF_KUBERNETES: Final = _prefixed(_FULL_OR_BEGINNING, {"pattern": r"kubernetes\.io/"}, longest=253)
DEFAULTS_KEY: Final[dict[str, JsonValue]] = {"anyOf": [_SPELLED, _extended(_FULL_NAME), _OF_CLASS]}
MAXIMA_KEY: Final[dict[str, JsonValue]] = {
    "anyOf": [_SPELLED, {"pattern": PAGES}, _extended(_FULL_OR_BEGINNING), _OF_KUBERNETES]
}
_POSITIVE: Final[dict[str, JsonValue]] = {"exclusiveMinimum": 0, "pattern": r"^ *\+?[0-9.]*[1-9]"}
PAIR: Final[JsonValue] = {
    "type": "object",
    "properties": {side: {"anyOf": AMOUNTS, **_POSITIVE} for side in ("request", "limit")},
    "required": ["request", "limit"],
    "additionalProperties": False,
}


def amounts(description: str, key: JsonValue, *others: JsonValue) -> dict[str, JsonValue]:
    """Return the JSON Schema of amounts by resource; `others` is what cpu, memory and disk may be beside an amount.

    The description is part of it: pydantic drops that of a Field beside a WithJsonSchema.
    """
    native = "|".join(name for name in SPELLINGS if name != "gpu")
    return {
        "type": "object",
        "description": description,
        "propertyNames": key,
        "patternProperties": {f"^({native})$": {"anyOf": [*AMOUNTS, NULL, *others]}},
        "additionalProperties": {"anyOf": [*WHOLE_AMOUNTS, NULL]},
    }


def one_of(*keys: str) -> JsonValue:
    """Return the JSON Schema of a map that has a text in one of the keys."""
    return {"anyOf": [{"required": [key], "properties": {key: {"type": "string", "minLength": 1}}} for key in keys]}


def either(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue], *required: str) -> JsonValue:
    """Return the JSON Schema of a map whose keys are the one or the other; with the other, some are required."""
    return {"anyOf": [{"properties": {**one}}, {"properties": {**other}, "required": [*required]}]}


NO_MODE_FOR_TASKS: Final = either({"mode": NULL}, {"workflow": NOTHING, "task": NOTHING})
# What ValidateTolerations checks, beside the type of each value.
TOLERATION: Final[list[JsonValue]] = [
    {"anyOf": [one_of("key"), {"required": ["operator"], "properties": {"operator": {"enum": ["Exists"]}}}]},
    either({"operator": {"not": {"enum": ["Exists"]}}}, {"value": NOTHING}),
    either({"tolerationSeconds": NULL}, {"effect": {"enum": ["NoExecute"]}}, "effect"),
]


def _settings() -> dict[str, JsonValue]:
    """Return the JSON Schema of settings of Flyte 2 by key, flat and nested; flyte_file translates them."""
    others: list[JsonValue] = [{"enum": ["~unset"]}, NULL]
    by_name: dict[str, JsonValue] = {
        "(cpu|memory|storage)": {"anyOf": [*AMOUNTS, *others]}, "gpu": {"anyOf": [*WHOLE_AMOUNTS, *others]},
    }  # fmt: skip
    mirror: JsonValue = {"enum": [True, False, "true", "false", "", "~unset", None]}
    side: JsonValue = {
        "type": "object",
        "patternProperties": {f"^{name}$": amount for name, amount in by_name.items()},
        "additionalProperties": False,
    }
    nested: JsonValue = {
        "type": "object",
        "properties": {"min": side, "max": side, "mirror_limits_request": mirror},
        "additionalProperties": False,
    }
    return {
        "^task_resource$": nested,
        r"^task_resource\.(min|max)$": side,
        r"^task_resource\.mirror_limits_request$": mirror,
        **{rf"^task_resource\.(min|max)\.{name}$": amount for name, amount in by_name.items()},
    }


SETTINGS: Final = _settings()
_IS_SETTING: Final[dict[str, JsonValue]] = {"pattern": r"^task_resource(\.|$)"}
_KNOWN_SETTINGS: Final[list[JsonValue]] = [{"pattern": pattern} for pattern in SETTINGS]


def with_settings(schema: dict[str, Any]) -> None:
    """Have the JSON Schema of a map accept settings of Flyte 2, and beside one of these any other, left to Flyte."""
    known: JsonValue = {"anyOf": [{"enum": [*schema["properties"]]}, *_KNOWN_SETTINGS]}
    others: JsonValue = {"anyOf": [{"not": _IS_SETTING}, *_KNOWN_SETTINGS]}
    has_setting: dict[str, JsonValue] = {"not": {"propertyNames": {"not": _IS_SETTING}}}
    schema |= {"patternProperties": SETTINGS, "additionalProperties": True}
    schema["allOf"].append({"anyOf": [{"propertyNames": known}, {"propertyNames": others, **has_setting}]})


def _ref(name: str) -> JsonValue:
    return {"$ref": f"#/$defs/{name}"}


# What is round the blocks in Flyte's files.
SURROUNDINGS: Final[JsonValue] = {
    "description": "A part of Flyte's configuration, with the blocks that are used here somewhere in it.",
    "properties": {
        "task_resources": {"anyOf": [_ref("TaskResources"), NULL]},
        "task_resource_defaults": {"anyOf": [_ref("TaskResourceDefaults"), NULL]},
        "namespace_mapping": {"anyOf": [_ref("NamespaceMapping"), NULL]},
        "plugins": {"anyOf": [{"not": {"type": "object"}}, _ref("Plugins")]},
        "domains": {
            "anyOf": [
                {"not": {"type": "array", "items": {"type": "object", "required": ["id"]}}},
                {"type": "array", "items": _ref("Domain")},
            ]
        },
    },
    "additionalProperties": _ref("Surroundings"),
    "items": _ref("Surroundings"),
}
NO_TASK_RESOURCE_DEFAULTS: Final[JsonValue] = {
    "properties": {"task_resource_defaults": {"anyOf": [NULL, {"maxProperties": 0}]}}
}
