"""JSON text keeps what is read of it, and loses what is nested deeper."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.api.nesting import TooManyError, prune, weigh

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def cut(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [cut(item, depth - 1) for item in value] if depth else None
    if isinstance(value, dict):
        return {key: cut(item, depth - 1) for key, item in value.items()} if depth else None
    return value


@given(JSON, st.integers(0, 4), st.booleans())
def test_null_is_in_place_of_what_is_deeper(value: Any, depth: int, ascii_only: bool) -> None:  # noqa: FBT001
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert json.loads(prune(text, depth)) == cut(value, depth)


@pytest.mark.parametrize("text", [b"", b"x", b'"', b"[", b"]", b"[[", b"]]]", b'{"a": [[', b"[[[1]]"])
def test_what_is_not_json_does_not_become_json(text: bytes) -> None:
    with pytest.raises(ValueError, match="char"):
        json.loads(prune(text, 1))


def test_ninety_nine_thousand_levels_are_no_problem() -> None:
    assert prune(b'{"a": 1, "b": ' + b"[" * 99_000 + b"]" * 99_000 + b"}", 1) == b'{"a": 1, "b": null}'


def test_more_brackets_than_anybody_looks_through_are_an_error() -> None:
    with pytest.raises(TooManyError, match="more than 100000 objects, lists, and values"):
        prune(b"[" + b"[]," * 100_000 + b"1]", 1)


UNENDING = {
    "quotes": b'"' * 1_000_000,
    "a string without an end": b"x" * 1_000_000 + b'"' + b"y" * 1_000_000,
    "a backslash at the end": b"x" * 1_000_000 + b'"' + b"\\" * 1_000_001,
    "escaped quotes": b"x" * 1_000_000 + b'"' + b'\\"' * 1_000_000 + b'"',
    "nothing that is looked for": b"x" * 1_000_000,
}


@pytest.mark.parametrize("text", UNENDING.values(), ids=UNENDING.keys())
def test_what_has_no_end_is_looked_through_once(text: bytes) -> None:
    """In milliseconds, where a search that starts again at each character would take hours."""
    assert prune(b"[" + text) == b"[" + text
    weigh(text)
