"""The API server's answers about the objects of a Kind, decoded one object at a time.

An object that cannot be read does not hide the others.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from webhook.api.nesting import prune
from webhook.api.resource_quota import NamespacedMeta
from webhook.api.version import Version, parse
from webhook.api.wire import Wire
from webhook.cluster.kinds import Kind, T

GONE: Final = 410  # the resourceVersion is too old
LONGEST_RETRY_AFTER: Final = 60.0  # seconds; longer ones are cut to this
LONGEST_MESSAGE: Final = 1000  # characters of a foreign text in our messages
DEPTH: Final = 32  # of JSON; a list of ResourceQuotas is read down to level 8, only managedFields go deeper
DECODE_ERRORS: Final = (ValueError, ArithmeticError, RecursionError)  # with msgspec's, and those of quantities
Verb: TypeAlias = Literal["list", "watch", "get"]
R = TypeVar("R")


class ReadError(Exception):
    """A read of the API server that failed; the message says how."""

    def __init__(self, message: str, status: int = 0, retry_after: object = None) -> None:
        """Take `retry_after` as the server wrote it; what is not a number of seconds counts as 0."""
        super().__init__(message)
        self.status = status
        self.retry_after = _seconds(retry_after)


class Unreadable(Struct, frozen=True, gc=False):
    """An object that cannot be read, and why; its metadata has what can be read."""

    metadata: NamespacedMeta
    why: str


class Page(Struct, Generic[T], frozen=True):
    """A list of objects, or one page of it."""

    items: list[T]
    unreadable: list[Unreadable]
    version: str  # the resourceVersion of the list
    more: str = ""  # the token of the next page


class Objects(Struct, frozen=True):
    """A page of a list of any kind, its objects as plain data."""

    items: list[dict[str, Any]]
    more: str = ""  # the token of the next page


class Event(Struct, Generic[T], frozen=True, gc=False):
    """One event of a watch. A BOOKMARK has only the resourceVersion to resume from, and DELETED no object."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    metadata: NamespacedMeta
    object: T | Unreadable | None = None


class _ListMeta(Wire, frozen=True):
    resource_version: str | None = None
    next: str | None = msgspec.field(default=None, name="continue")


class _List(Wire, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[Raw] | None = None


class _ObjectList(Wire, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[dict[str, Any]] | None = None


class _Line(Wire, frozen=True):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Raw


class _LooseMeta(Wire, frozen=True):
    name: Any = None
    namespace: Any = None
    resource_version: Any = None


class _Loose(Wire, frozen=True):
    metadata: _LooseMeta | None = None


class _Status(Wire, frozen=True):
    code: Any = None
    reason: Any = None
    message: Any = None
    details: Any = None


class _Version(Wire, frozen=True):
    """What the API server answers to /version; one that behaves like an older version names that too."""

    major: str
    minor: str
    emulation_major: str | None = None
    emulation_minor: str | None = None


_decode_list: Final = msgspec.json.Decoder(_List).decode
_decode_objects: Final = msgspec.json.Decoder(_ObjectList).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_loose: Final = msgspec.json.Decoder(_Loose).decode
_decode_status: Final = msgspec.json.Decoder(_Status).decode
_decode_version: Final = msgspec.json.Decoder(_Version).decode


def decode_page(body: bytes, kind: Kind[T]) -> Page[T]:
    """Decode one page of a LIST; ReadError if it is not one."""
    read = _decoded(_decode_list, body)
    found = [_object(item, kind) for item in read.items or ()]
    return Page(
        [each for each in found if not isinstance(each, Unreadable)],
        [each for each in found if isinstance(each, Unreadable)],
        read.metadata.resource_version or "",
        read.metadata.next or "",
    )


def decode_objects(body: bytes) -> Objects:
    """Decode one page of a LIST of any kind; ReadError if it is not one."""
    read = _decoded(_decode_objects, body)
    return Objects(read.items or [], read.metadata.next or "")


def decode_version(body: bytes) -> Version:
    """Decode the answer to /version: what the API server behaves like; ReadError if it is not one."""
    found = _decoded(_decode_version, body)
    try:
        return parse(f"{found.emulation_major or found.major}.{found.emulation_minor or found.minor}")
    except ValueError as error:
        raise ReadError(f"the answer cannot be read: {_short(error)}") from error


def decode_event(line: bytes, kind: Kind[T]) -> Event[T]:
    """Decode one line of a watch; ReadError for an ERROR, which ends the watch, and for what is not an event."""
    read = _decoded(_decode_line, line)
    if read.type == "ERROR":
        status = _status(bytes(read.object))
        details = status.details if isinstance(status.details, dict) else {}
        code = status.code if isinstance(status.code, int) else 0
        message = f"{_short(status.code)} {_short(status.reason)}: {_short(status.message)}"
        raise ReadError(message, code, details.get("retryAfterSeconds"))
    if read.type in ("ADDED", "MODIFIED"):
        found = _object(read.object, kind)
        return Event(read.type, found.metadata, found)
    return Event(read.type, _metadata(read.object))  # nothing else of it counts


def status_error(right: str, status: int, reason: str | None, retry_after: str | None, body: bytes) -> ReadError:
    """Return the error for an answer with another status than 200."""
    hint = f"; needed is a ClusterRole with the verb {right}" if status == 403 else ""
    return ReadError(f"{status} {reason}: {_short(_status(body).message)}{hint}", status, retry_after)


def _object(item: Raw, kind: Kind[T]) -> T | Unreadable:
    try:
        found = kind.decode(item)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others are read
        return Unreadable(_metadata(item), _short(error))
    if found.name and found.metadata.namespace:
        return found
    return Unreadable(found.metadata, "metadata.name or metadata.namespace is missing")


def _metadata(item: Raw) -> NamespacedMeta:
    """Return name, namespace and resourceVersion, as far as they are texts."""
    try:
        found = _decode_loose(item).metadata or _LooseMeta()
    except DECODE_ERRORS:
        return NamespacedMeta()
    name, namespace, version = (
        text if isinstance(text, str) else None for text in (found.name, found.namespace, found.resource_version)
    )
    return NamespacedMeta(name or "", namespace, version)


def _decoded(decode: Callable[[bytes], R], text: bytes) -> R:
    try:
        try:
            return decode(text)
        except RecursionError:
            return decode(prune(text, DEPTH))
    except DECODE_ERRORS as error:
        raise ReadError(f"the answer cannot be read: {_short(error)}") from error


def _status(text: bytes) -> _Status:
    """Decode a Status; of anything else, such as a page of a proxy, return the beginning as the message."""
    try:
        return _decode_status(text)
    except DECODE_ERRORS:
        return _Status(message=text[:200].decode(errors="replace"))


def _short(text: object) -> str:
    return str("" if text is None else text)[:LONGEST_MESSAGE]


def _seconds(value: object) -> float:
    """Return a number of seconds from 0 to LONGEST_RETRY_AFTER; 0 for what is not a number."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # other types raise TypeError
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)  # in this order NaN becomes 0
