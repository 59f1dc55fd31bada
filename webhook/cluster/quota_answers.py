"""What the API server answers about ResourceQuotas, decoded one object at a time.

An object that cannot be read is reported as such and hides no other one.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from webhook.api.nesting import prune
from webhook.api.resource_quota import QuotaMeta, ResourceQuota
from webhook.api.resources import decode_hook
from webhook.api.wire import Wire

GONE: Final = 410  # what was asked for has been compacted away
LONGEST_PAUSE: Final = 60.0  # seconds; a server that asks for more is asked again all the same
LONGEST_MESSAGE: Final = 1000  # characters of somebody else's text in ours
DEPTH: Final = 32  # of JSON; a list of ResourceQuotas is read down to level 8, only managedFields go deeper
UNREADABLE: Final = (ValueError, ArithmeticError, RecursionError)  # among them are msgspec's and those of quantities
Verb: TypeAlias = Literal["list", "watch"]
T = TypeVar("T")


class ReadError(Exception):
    """The API server did not answer as hoped; the message says how it did."""

    def __init__(self, message: str, status: int = 0, retry_after: object = None) -> None:
        """`retry_after` is how many seconds the server wants to be left alone, as it wrote it."""
        super().__init__(message)
        self.status = status
        self.retry_after = _seconds(retry_after)


class Unreadable(Struct, frozen=True, gc=False):
    """A ResourceQuota that cannot be read, and why; its metadata has what can be read of that."""

    metadata: QuotaMeta
    why: str


class Page(Struct, frozen=True):
    """A list of ResourceQuotas, or one page of it."""

    quotas: list[ResourceQuota]
    unreadable: list[Unreadable]
    version: str  # the resourceVersion that they are a picture of
    more: str = ""  # the token of the next page


class Event(Struct, frozen=True, gc=False):
    """One change; a BOOKMARK's quota has nothing but the resourceVersion to resume from."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    quota: ResourceQuota | Unreadable


class _ListMeta(Wire, frozen=True):
    resource_version: str | None = None
    next: str | None = msgspec.field(default=None, name="continue")


class _List(Wire, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[Raw] | None = None


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


_decode_list: Final = msgspec.json.Decoder(_List).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_quota: Final = msgspec.json.Decoder(ResourceQuota, dec_hook=decode_hook).decode
_decode_loose: Final = msgspec.json.Decoder(_Loose).decode
_decode_status: Final = msgspec.json.Decoder(_Status).decode


def page(body: bytes) -> Page:
    """Decode one answer to a LIST; ReadError if it is none."""
    read = _decoded(_decode_list, body)
    found = [_quota(item) for item in read.items or ()]
    return Page(
        [quota for quota in found if isinstance(quota, ResourceQuota)],
        [quota for quota in found if isinstance(quota, Unreadable)],
        read.metadata.resource_version or "",
        read.metadata.next or "",
    )


def event(line: bytes) -> Event:
    """Decode one line of a watch; ReadError if the server ends the watch with it, or if it is not an event."""
    read = _decoded(_decode_line, line)
    if read.type == "ERROR":
        status = _status(bytes(read.object))
        details = status.details if isinstance(status.details, dict) else {}
        code = status.code if isinstance(status.code, int) else 0
        told = f"{_short(status.code)} {_short(status.reason)}: {_short(status.message)}"
        raise ReadError(told, code, details.get("retryAfterSeconds"))
    if read.type in ("ADDED", "MODIFIED"):
        return Event(read.type, _quota(read.object))
    return Event(read.type, ResourceQuota(_metadata(read.object)))  # whatever else it contains is of no use any more


def refusal(verb: Verb, status: int, reason: str | None, retry_after: str | None, body: bytes) -> ReadError:
    """Return the error for an answer that is not 200."""
    hint = f"; needed is a ClusterRole with the verb {verb} on resourcequotas" if status == 403 else ""
    return ReadError(f"{status} {reason}: {_short(_status(body).message)}{hint}", status, retry_after)


def _quota(item: Raw) -> ResourceQuota | Unreadable:
    """Decode one object."""
    try:
        found = _decode_quota(item)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it hides no other
        return Unreadable(_metadata(item), _short(error))
    if found.name and found.metadata.namespace:
        return found
    return Unreadable(found.metadata, "metadata.name or metadata.namespace is missing")


def _metadata(item: Raw) -> QuotaMeta:
    """Return what an object says about itself, as far as that is text."""
    try:
        found = _decode_loose(item).metadata or _LooseMeta()
    except UNREADABLE:
        return QuotaMeta()
    name, namespace, version = (
        text if isinstance(text, str) else None for text in (found.name, found.namespace, found.resource_version)
    )
    return QuotaMeta(name or "", namespace, version)


def _decoded(decode: Callable[[bytes], T], text: bytes) -> T:
    try:
        try:
            return decode(text)
        except RecursionError:
            return decode(prune(text, DEPTH))
    except UNREADABLE as error:
        raise ReadError(f"the answer cannot be read: {_short(error)}") from error


def _status(text: bytes) -> _Status:
    """Decode a Status; anything else is its own message, such as that of a proxy."""
    try:
        return _decode_status(text)
    except UNREADABLE:
        return _Status(message=text[:200].decode(errors="replace"))


def _short(text: object) -> str:
    return str("" if text is None else text)[:LONGEST_MESSAGE]


def _seconds(told: object) -> float:
    """Return a number of seconds within what we wait; 0 for what is not a number."""
    try:
        seconds = float(told)  # type: ignore[arg-type]  # what is of another type raises TypeError
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_PAUSE)  # in this order NaN becomes 0
