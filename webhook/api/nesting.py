"""JSON that is nested deeper than the decoder follows, or holds more than it should decode.

The API server accepts 10,000 levels, for example in `metadata.managedFields`. The webhook reads nothing at that depth,
so it drops those levels and decodes the rest.
"""

import re
from itertools import islice
from typing import Final

from webhook.api import bounds

# What is skipped (whole strings, and anything else but the characters that are looked for), and one of these, or the
# end: a search that finds nothing would be tried again from each place.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_BRACKETS: Final = re.compile(rb'(?:[^"\[\]{}]++|%b)*+(?:([\[\]{}])|\Z)' % _STRING, re.DOTALL)
_SEPARATORS: Final = re.compile(rb'(?:[^"\[{,]++|%b)*+(?:[\[{,]|\Z)' % _STRING, re.DOTALL)
_OPENING: Final = frozenset(b"[{")
_SEPARATOR: Final = (b"[", b"{", b",")
TOO_MANY: Final = f"more than {bounds.VALUES} objects, lists, and values"


class TooManyError(ValueError):
    """There are more values than anybody looks through."""


def prune(text: bytes | bytearray, levels: int = bounds.NESTING) -> bytes:
    """Return the JSON with null in place of each list and object below that many levels.

    What is not valid JSON does not become so. TooManyError for more than `bounds.VALUES` lists and objects.
    """
    kept: list[bytes] = []
    depth = start = 0
    for number, bracket in enumerate(_BRACKETS.finditer(text)):
        if number >= 2 * bounds.VALUES:
            raise TooManyError(TOO_MANY)
        place = bracket.start(1)
        if place < 0:  # the end
            continue
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
    if len(text) <= bounds.WEIGHED or sum(map(text.count, _SEPARATOR)) <= bounds.VALUES:  # those in strings too
        return
    if next(islice(_SEPARATORS.finditer(text), bounds.VALUES, None), None):
        raise TooManyError(TOO_MANY)
