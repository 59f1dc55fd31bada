"""JSON Patch (RFC 6902) and JSON Pointer (RFC 6901): turns changes into operations that always apply.

A patch that fails to apply is an error 500 for the user, and no failurePolicy covers it. So a parent that the object
lacks (absent or null) is added first, in one operation with everything that goes into it.
"""

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from msgspec import UNSET, Struct


class Assignment(Protocol):
    """The part of a Change that a patch needs."""

    @property
    def path(self) -> str:
        """JSON Pointer; "/-" at its end appends to a list."""

    @property
    def after(self) -> Any:
        """The JSON value to put there; None to remove what is there."""


class Operation(Struct, frozen=True, gc=False):
    """One operation of a JSON Patch; `add` also replaces an existing value, but not in a list: there it inserts."""

    op: str
    path: str
    value: Any = UNSET


def escape(name: str) -> str:
    """Return `name` as one step of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1") if "/" in name or "~" in name else name


def unescape(step: str) -> str:
    """Return the name that one step of a JSON Pointer stands for."""
    return step.replace("~1", "/").replace("~0", "~")


def build(changes: Iterable[Assignment], missing: Collection[str]) -> list[Operation]:
    """Return the operations that make the changes; `missing` has the pointers of parents that the object lacks."""
    operations: list[Operation] = []
    added: dict[str, Any] = {}  # pointer -> the value of an `add` above, still being filled

    def add(path: str, value: Any) -> None:
        parent, _, step = path.rpartition("/")
        target: Any = added.get(parent)
        if target is None:
            if parent not in missing:
                operations.append(Operation("replace" if parent.endswith("/args") else "add", path, value))
                return
            target = [] if step == "-" else {}
            added[parent] = target
            add(parent, target)
        if step == "-":
            target.append(value)
        else:
            target[unescape(step)] = value

    for change in changes:
        if change.after is None:
            operations.append(Operation("remove", change.path))
        else:
            add(change.path, change.after)
    return operations
