"""JSON that is nested deeper than the decoder follows, made shallow.

The API server accepts 10,000 levels, such as in `metadata.managedFields`. No rule reads anything that deep, so it must
not keep the rest from being read.
"""

import re
from typing import Final

from webhook import limits

# What comes before a bracket (neither brackets nor strings, and whole strings), and the bracket.
_NEXT: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
_OPENING: Final = frozenset(b"[{")


class TooNestedError(ValueError):
    """There are more brackets than anybody looks through."""


def shallow(body: bytes | bytearray) -> bytes:
    """Return the JSON with null in place of whatever stands deeper than `limits.NESTING` levels.

    What is not valid JSON stays so. TooNestedError for more than `limits.BRACKETS` brackets.
    """
    kept: list[bytes] = []
    depth = end = start = 0
    for number, bracket in enumerate(_NEXT.finditer(body)):
        if number >= limits.BRACKETS:
            raise TooNestedError(f"more than {limits.BRACKETS} objects and lists")
        place = bracket.start(1)
        if body[place] in _OPENING:
            if depth == limits.NESTING:
                start = place
            depth += 1
        else:
            depth -= 1
            if depth == limits.NESTING:
                kept += (bytes(body[end:start]), b"null")
                end = place + 1
    return b"".join([*kept, bytes(body[end:])])
