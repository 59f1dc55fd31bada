"""The base of all Kubernetes objects in JSON, and what is wrong with one in the words of its author."""

import re
from typing import Final

from msgspec import Struct


class Wire(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A Kubernetes object in JSON: camelCase names, absent fields omitted."""


_KINDS: Final = {
    "array": "a list", "object": "a map", "str": "a text", "int": "a whole number", "float": "a number",
    "bool": "true or false", "null": "nothing",
}  # fmt: skip
_UNITS: Final = {"array": "items", "object": "names", "str": "characters"}
_UNEXPECTED: Final = re.compile(r"Expected `(?P<expected>\w+)(?: \| null)?`, got `(?P<found>\w+)`")
_TOO_LONG: Final = re.compile(
    r"(?:(?P<part>\w+): )?Expected `(?P<kind>\w+)` of length <= (?P<most>\d+) - at `\$\.(?P<at>.*)`"
)


def plainly(problem: str) -> str:
    """Return what msgspec says of an object in plain words: the place first, `spec.containers: …`."""
    if match := _TOO_LONG.fullmatch(problem):
        where = f"{match['at']}.{match['part']}" if match["part"] else match["at"]
        return f"{where}: more than {match['most']} {_UNITS[match['kind']]}"
    what, _, where = problem.partition(" - at `$")
    what = _UNEXPECTED.sub(_kinds, what).replace("Object missing required field", "there is no")
    return f"{where.replace('`$', '').replace('`', '').lstrip('.') or 'the object'}: {what}"


def _kinds(match: re.Match[str]) -> str:
    return f"{_KINDS[match['found']]} where {_KINDS[match['expected']]} is expected"
