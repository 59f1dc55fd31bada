"""The body of a request: JSON, with a limit on its size and on its time.

Bodies stay in memory until they are answered. A budget limits how much they take together. Where it is used up, a body
waits, and is rejected after a second with 503.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from starlette.types import Receive, Scope

# The API server takes objects of 3 MiB. Go's JSON has six bytes for some characters, such as "<", and the review of a
# resize holds two objects.
MAX_BODY: Final = 40 * 1024 * 1024
BODY_SECONDS: Final = 10.0
FREE: Final = 64 * 1024  # bytes of each body that do not count towards the budget; nearly all bodies are smaller
BUDGET: Final = MAX_BODY  # bytes of all bodies together, beyond those that are free
BUDGET_SECONDS: Final = 1.0  # how long a body waits for others to be answered
FRESH_SECONDS: Final = 0.25  # for the rest of a body where others wait; one of the API server comes at once
MOST_RESERVED: Final = 1024 * 1024  # bytes that a body gets by its content length, before they have come
MAX_SLOW: Final = 64  # bodies that take longer than SLOW_SECONDS
SLOW_SECONDS: Final = 0.5
LARGEST_IGNORED: Final = 256 * 1024 * 1024  # bytes of a body over MAX_BODY that are read to be answered after it


class RejectedError(Exception):
    """A request that cannot be answered with a review; it has the HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class OversizedError(Exception):
    """The body is over MAX_BODY, and all of it was read; `head` is how it begins."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        super().__init__(f"a body of more than {MAX_BODY} bytes")


class NoRoomError(Exception):
    """The budget had no room for a body in time, or others took its share."""


class Budget:
    """The bytes that all bodies under way may take together, and which of them are slow.

    Where bytes are short, or too many bodies are slow, the one that has been awaited longest loses its share: one that
    somebody holds back, not one of the API server's.
    """

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size
        self._released = asyncio.Event()
        self._awaited: dict[BodyShare, float] = {}  # since when the rest of the body is expected, the oldest first

    def expect(self, share: "BodyShare") -> None:
        """Note that a client is to send the rest of its body; where too many are slow, evict the oldest."""
        now = asyncio.get_running_loop().time()
        self._awaited.pop(share, None)
        self._awaited[share] = now
        if len(self._awaited) > MAX_SLOW:
            oldest, since = next(iter(self._awaited.items()))
            if now - since > SLOW_SECONDS:
                self._evict(oldest)

    def expect_no_more(self, share: "BodyShare") -> None:
        """Note that nothing is expected of the client any more."""
        self._awaited.pop(share, None)

    async def acquire(self, size: int, share: "BodyShare") -> None:
        """Wait until so many bytes are left, and take them."""
        while size > self._left:
            self._released.clear()
            wait = self._until_the_oldest_is_stale(share)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._released.wait()
        self._left -= size

    def _until_the_oldest_is_stale(self, asking: "BodyShare") -> float | None:
        """Return the seconds until then; where it is stale already, it loses its share."""
        holders = ((share, since) for share, since in self._awaited.items() if share.taken and share is not asking)
        oldest, since = next(holders, (None, 0.0))
        if oldest is None:
            return None
        left = since + FRESH_SECONDS - asyncio.get_running_loop().time()
        if left <= 0:
            self._evict(oldest)
        return max(left, 0.01)

    def _evict(self, share: "BodyShare") -> None:
        del self._awaited[share]
        share.evict()

    def release(self, size: int) -> None:
        """Give so many bytes back."""
        self._left += size
        self._released.set()


class BodyShare:
    """The part of a budget that one body takes, until the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self.taken = 0
        self.is_evicted = False
        self.is_whole = False  # whether all of the body has come
        self.limit = asyncio.timeout(BODY_SECONDS)  # for the body
        self._budget = budget

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Expect the body from the client."""
        self._budget.expect(self)
        try:
            yield
        finally:
            self._budget.expect_no_more(self)

    def complete(self) -> None:
        """Note that all of the body has come."""
        self.is_whole = True
        self._budget.expect_no_more(self)

    def release(self) -> None:
        """Give back what was taken."""
        if self.taken:
            self._budget.release(self.taken)
            self.taken = 0

    def evict(self) -> None:
        """Have the body end that it is for."""
        self.is_evicted = True
        if not self.limit.expired():
            self.limit.reschedule(0)

    async def grow(self, size: int) -> None:
        """Take what a body of this size needs in all; NoRoomError if the budget has too little for too long."""
        missing = size - FREE - self.taken
        if missing <= 0:
            return
        if not self.taken:  # until it holds something, nobody waits for its client
            self._budget.expect_no_more(self)
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                await self._budget.acquire(missing, self)
        except TimeoutError:
            raise NoRoomError from None
        if not (self.taken or self.is_whole):
            self._budget.expect(self)
        self.taken += missing


async def read(scope: Scope, receive: Receive, share: BodyShare) -> bytes | bytearray:
    """Return the body; RejectedError if it is not JSON by its content type, too large, or too slow."""
    kind = _field(scope, b"content-type")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        found = kind.decode("latin-1")[:100] or "none"
        raise RejectedError(415, f"content type {found!r}; application/json is expected")
    length = _field(scope, b"content-length")
    if length.isdigit() and int(length) > LARGEST_IGNORED:
        raise RejectedError(413, f"a body of {int(length)} bytes; at most {MAX_BODY} are accepted")
    try:
        with share.awaited():
            async with share.limit:
                return await _collect(receive, share, int(length) if length.isdigit() else 0)
    except TimeoutError:
        if not share.is_evicted:
            raise RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds") from None
    except NoRoomError:
        pass
    share.release()
    if not share.is_whole:  # a client that is still sending might not see the answer
        with suppress(TimeoutError):
            async with asyncio.timeout(BODY_SECONDS):
                await _ignore(receive, 0, more=True)
    raise RejectedError(503, "too many large bodies are under way; try again in a second")


def _field(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _collect(receive: Receive, share: BodyShare, length: int) -> bytes | bytearray:
    body, more = await _piece(receive)
    if not more and len(body) <= FREE:
        return body
    whole = bytearray()
    expected = min(length, MOST_RESERVED)  # so that none waits for the rest of its share amid others that do
    while True:
        size = len(whole) + len(body)
        if size > MAX_BODY or (length > MAX_BODY and size > FREE):
            head = bytes(whole[:FREE] or body[:FREE])
            whole.clear()
            share.release()
            await _ignore(receive, size, more=more)
            raise OversizedError(head)
        if not more:
            share.complete()
        await share.grow(max(size, expected))
        whole += body
        if not more:
            return whole
        body, more = await _piece(receive)


async def _ignore(receive: Receive, size: int, *, more: bool) -> None:
    """Read the rest of a body of which so much has come; RejectedError if there is no end to it."""
    while more:
        body, more = await _piece(receive)
        size += len(body)
        if size > LARGEST_IGNORED:
            raise RejectedError(413, f"a body of more than {LARGEST_IGNORED} bytes; no more are read")


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """Return the next piece, and whether more follow."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RejectedError(400, "the connection closed before the body was complete")
    return message.get("body", b""), message.get("more_body", False)
