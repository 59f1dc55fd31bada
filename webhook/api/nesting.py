"""JSON that is nested deeper than the decoder follows, or holds more than it should decode.

The API server accepts 10,000 levels, for example in `metadata.managedFields`. The webhook reads nothing at that depth,
so it drops those levels and decodes the rest.
"""

import re
from typing import Final

from webhook.api import bounds

# The text before a bracket (whole strings, and anything but brackets), and the bracket.
_NEXT: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
_OPENING: Final = frozenset(b"[{")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
TOO_MANY: Final = f"more than {bounds.VALUES} objects, lists, and values"


class TooManyError(ValueError):
    """There are more values than anybody looks through."""


def prune(text: bytes | bytearray, levels: int = bounds.NESTING) -> bytes:
    """Return the JSON with null in place of each list and object below that many levels.

    What is not valid JSON does not become so. TooManyError for more than `bounds.VALUES` lists and objects.
    """
    kept: list[bytes] = []
    depth = start = 0
    for number, bracket in enumerate(_NEXT.finditer(text)):
        if number >= 2 * bounds.VALUES:
            raise TooManyError(TOO_MANY)
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


def weigh(text: bytes | bytearray) -> None:
    """Raise TooManyError for more than `bounds.VALUES` objects, lists, and values, before they take memory."""
    if len(text) <= bounds.WEIGHED:
        return
    if text.count(b'"') > 8 * bounds.VALUES:
        raise TooManyError(TOO_MANY)
    bare = _STRING.sub(b"", text)
    if sum(map(bare.count, (b",", b"[", b"{"))) > bounds.VALUES:
        raise TooManyError(TOO_MANY)
