"""Pruning of JSON that is nested deeper than the decoder follows.

The API server accepts 10,000 levels, for example in `metadata.managedFields`. The webhook reads nothing at that depth,
so it drops those levels and decodes the rest.
"""

import re
from typing import Final

from webhook.api import bounds

# The text before a bracket (whole strings, and anything but brackets), and the bracket.
_NEXT: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
_OPENING: Final = frozenset(b"[{")


class TooNestedError(ValueError):
    """JSON with more brackets than are scanned."""


def prune(text: bytes | bytearray, levels: int = bounds.NESTING) -> bytes:
    """Return the JSON with null in place of each list and object below that many levels.

    Invalid JSON stays invalid. Raise TooNestedError for more than `bounds.BRACKETS` brackets.
    """
    kept: list[bytes] = []
    depth = start = 0
    for number, bracket in enumerate(_NEXT.finditer(text)):
        if number >= bounds.BRACKETS:
            raise TooNestedError(f"more than {bounds.BRACKETS} objects and lists")
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
