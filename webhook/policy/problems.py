"""Turns pydantic's errors about a policy file into problems that say where, what, and what is accepted."""

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from webhook.policy.schema import fields
from webhook.policy.yaml_text import Document, Path, Problem


def to_problem(document: Document, found: ErrorDetails, root: type[BaseModel]) -> Problem:
    """Return the error as a problem at its place in the document; `root` is the model of the document."""
    path = tuple(step for step in found["loc"] if not (isinstance(step, str) and step.startswith("<")))
    at_key = found["type"] == "extra_forbidden" or path[-1:] == ("[key]",)
    return document.problem(path[:-1] if path[-1:] == ("[key]",) else path, _what(found, root), at_key=at_key)


def _what(found: ErrorDetails, root: type[BaseModel]) -> str:
    """Return what is wrong, and what would be accepted."""
    value = found["input"]
    match found["type"]:
        case "extra_forbidden":
            return f"unknown key; accepted: {', '.join(_accepted(found['loc'][:-1], root))}"
        case "value_error":
            return str(found["ctx"]["error"])
        case "literal_error":
            return f"{value!r} is not accepted; write {found['ctx']['expected']}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{_kind(value)} where a map is expected; write `key: value` lines below it"
        case "string_type":
            return f"{_kind(value)} where a text is expected; write it in quotes"
        case "int_type":
            return f"{_kind(value)} where a whole number is expected"
        case "greater_than_equal" | "less_than":
            return f"{value} is beyond 64 bits; write a whole number of seconds"
        case "less_than_equal" | "greater_than":
            return f"{value} is out of range; write a whole number of seconds, from 1 to 3600"
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


def _accepted(path: Path, root: type[BaseModel]) -> Iterable[str]:
    """Return the keys of the section at the path."""
    section = root
    for step in path:
        field = next((field for name, field in section.model_fields.items() if step in (field.alias, name)), None)
        section = next(_sections(field.annotation), section) if field else section
    return fields(section)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections in an annotation, inside lists, maps and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
