"""JSON that is nested deeper than the decoder follows, made shallow.

The API server accepts 10,000 levels, such as in `metadata.managedFields`. Nothing that deep is read here, so it must
not keep the rest from being read.
"""

import re
from typing import Final

from webhook.api import bounds as limits

# What comes before a bracket (neither brackets nor strings, and whole strings), and the bracket.
_NEXT: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
_OPENING: Final = frozenset(b"[{")


class TooNestedError(ValueError):
    """There are more brackets than anybody looks through."""


def shallow(text: bytes | bytearray, levels: int = limits.NESTING) -> bytes:
    """Return the JSON with null in place of each list and object below that many levels.

    What is not valid JSON does not become so. TooNestedError for more than `limits.BRACKETS` brackets.
    """
    kept: list[bytes] = []
    depth = start = 0
    for number, bracket in enumerate(_NEXT.finditer(text)):
        if number >= limits.BRACKETS:
            raise TooNestedError(f"more than {limits.BRACKETS} objects and lists")
        place = bracket.start(1)
        if text[place] in _OPENING:
            if depth == levels:
                kept += (bytes(text[start:place]), b"null")
            depth += 1
        else:
            depth -= 1
            if depth == levels:
                start = place + 1
    return b"".join(kept if depth > levels else [*kept, bytes(text[start:])])
