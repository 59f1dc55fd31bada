"""Turns pydantic's errors about a policy file into problems that say where, what, and what is accepted."""

from typing import Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from webhook.policy.schema import fields, sections
from webhook.policy.spelling import shown, unknown_key
from webhook.policy.yaml_errors import UNRENDERED
from webhook.policy.yaml_text import Document, Path, Problem

_A_MAP: Final = "where a map is expected; write `key: value` lines below it"
# What is wrong with a value, by the type of pydantic's error.
_UNEXPECTED: Final = {
    "dict_type": _A_MAP,
    "model_type": _A_MAP,
    "model_attributes_type": _A_MAP,
    "list_type": "where a list is expected; write lines below it that begin with -",
    "string_type": "where a text is expected; write it in quotes",
    "string_unicode": "where a text is expected; write it in quotes, without half of a surrogate pair",
    "int_type": "where a whole number is expected; write one such as 30",
    "bool_type": "where true or false is expected; write one of them",
    "greater_than_equal": "is beyond 64 bits; write a whole number of seconds",
    "less_than": "is beyond 64 bits; write a whole number of seconds",
    "less_than_equal": "is out of range; write a whole number of seconds, from 1 to 3600",
    "greater_than": "is out of range; write a whole number of seconds, from 1 to 3600",
}


def to_problem(document: Document, found: ErrorDetails, root: type[BaseModel]) -> Problem:
    """Return the error as a problem at its place in the document; `root` is the model of the document."""
    steps = tuple(step for step in found["loc"] if not (isinstance(step, str) and step.startswith("<")))
    path = steps[:-1] if steps[-1:] == ("[key]",) else steps
    at_key = found["type"] == "extra_forbidden" or path != steps
    text = path[-1] if at_key else document.get(path)
    is_template = isinstance(text, str) and "{{" in text and path[:1] != ("namespace_mapping",)
    return document.problem(path, UNRENDERED if is_template else _what(found, root), at_key=at_key)


def _what(found: ErrorDetails, root: type[BaseModel]) -> str:
    """Return what is wrong, and what would be accepted."""
    kind, path = found["type"], found["loc"]
    match kind:
        case "extra_forbidden":
            return unknown_key(str(path[-1]), fields(_section(path[:-1], root)))
        case "missing":
            field = _section(path[:-1], root).model_fields[str(path[-1])]
            return f"missing; write one such as `{path[-1]}: {(field.examples or [''])[0]}`"
        case "value_error":
            return str(found["ctx"]["error"])
        case "policy":
            return found["msg"]
        case "literal_error":
            accepted = found["ctx"]["expected"].replace("''", "nothing")
            return f"{shown(found['input'])} is not accepted; write {accepted}"
    if _UNEXPECTED[kind] == _A_MAP and (keys := _keys(path, root)):
        return f"{shown(found['input'])} where a map is expected, with the keys {', '.join(keys)}"
    if kind == "string_type" and path and (of := _field(path[-1], _section(path[:-1], root))) and of.examples:
        return f"{shown(found['input'])} where a text is expected; write one such as `{path[-1]}: {of.examples[0]}`"
    return f"{shown(found['input'])} {_UNEXPECTED[kind]}"


def _keys(path: Path, root: type[BaseModel]) -> list[str]:
    """Return the keys of the map that is expected at the path; none at the top, and where any name is a key."""
    below = 0  # steps that are names, below the last key of a section
    for index in reversed(range(len(path))):
        if field := _field(path[index], _section(path[:index], root)):
            section = next(sections(field.annotation), None)
            return fields(section) if section and (below or not _has_names(field.annotation)) else []
        step = path[index]
        below += isinstance(step, str) and not step.startswith("<")
    return []


def _has_names(annotation: object) -> bool:
    """Return whether an annotation is a map by names, or has one."""
    return get_origin(annotation) is dict or any(map(_has_names, get_args(annotation)))


def _section(path: Path, root: type[BaseModel]) -> type[BaseModel]:
    """Return the section at the path."""
    section = root
    for step in path:
        if field := _field(step, section):
            section = next(sections(field.annotation), section)
    return section


def _field(step: str | int, section: type[BaseModel]) -> FieldInfo | None:
    return next((field for name, field in section.model_fields.items() if step in (field.alias, name)), None)
