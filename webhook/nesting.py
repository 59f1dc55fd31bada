"""JSON text that is nested deeper than a decoder goes, cut to what is read of it."""

import re
from typing import Final

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def pruned(text: bytes, depth: int) -> bytes:
    """Return the text with null in place of each list and object below that depth.

    Only brackets are looked at: what was no JSON before is none afterwards.
    """
    kept: list[bytes] = []
    level = start = 0
    for token in _TOKEN.finditer(text):
        bracket = token[0]
        if bracket in (b"[", b"{"):
            if level == depth:
                kept += (text[start : token.start()], b"null")
            level += 1
        elif bracket in (b"]", b"}"):
            level -= 1
            if level == depth:
                start = token.end()
    return b"".join(kept) if level > depth else b"".join((*kept, text[start:]))
