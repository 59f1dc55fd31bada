"""The body of a request: JSON, with a limit on its size and on its time.

Bodies stay in memory until they are answered. A budget limits how much they take together. Where it is used up, a body
waits, and is rejected after a second with 503.
"""

import asyncio
from contextlib import suppress
from typing import Final, Self

from starlette.types import Receive, Scope

# The API server takes objects of 3 MiB. Go's JSON has six bytes for some characters, such as "<", and the review of a
# resize holds two objects.
MAX_BODY: Final = 40 * 1024 * 1024
BODY_SECONDS: Final = 10.0
FREE: Final = 64 * 1024  # bytes of each body that do not count towards the budget; nearly all bodies are smaller
BUDGET: Final = MAX_BODY  # bytes of all bodies together, beyond those that are free
BUDGET_SECONDS: Final = 1.0  # how long a body waits for others to be answered
FRESH_SECONDS: Final = 0.25  # that a body may take where others wait; one of the API server comes at once
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


class Budget:
    """The bytes that all bodies under way may take together.

    Where there are not enough, the body that began first loses its share: one that somebody holds back, not one of the
    API server's.
    """

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size
        self._released = asyncio.Event()
        self._holders: dict[Share, None] = {}  # in the order in which they began to hold some

    async def acquire(self, size: int, share: "Share") -> None:
        """Wait until so many bytes are left, and take them."""
        while size > self._left:
            self._released.clear()
            wait = self._until_the_oldest_is_stale(share)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._released.wait()
        self._left -= size
        self._holders.setdefault(share)

    def _until_the_oldest_is_stale(self, asking: "Share") -> float | None:
        """Return the seconds until then; where it is stale already, it loses its share."""
        oldest = next((share for share in self._holders if share is not asking and not share.whole), None)
        if oldest is None:
            return None
        left = oldest.began + FRESH_SECONDS - asyncio.get_running_loop().time()
        if left <= 0:
            del self._holders[oldest]
            oldest.evict()
        return max(left, 0.01)

    def release(self, size: int, share: "Share") -> None:
        """Give so many bytes back."""
        self._left += size
        self._holders.pop(share, None)
        self._released.set()


class Share:
    """The part of a budget that one body takes, until the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self.is_evicted = False
        self.whole = False  # whether all of the body has come
        self.began = asyncio.get_running_loop().time()
        self.limit = asyncio.timeout(BODY_SECONDS)  # for the body
        self._budget = budget
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give back what was taken."""
        if self._taken:
            self._budget.release(self._taken, self)
            self._taken = 0

    def evict(self) -> None:
        """Have the body end that it is for."""
        self.is_evicted = True
        self.limit.reschedule(0)

    async def grow(self, size: int) -> None:
        """Take what a body of this size needs in all; RejectedError if the budget has too little for too long."""
        missing = size - FREE - self._taken
        if missing <= 0:
            return
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                await self._budget.acquire(missing, self)
        except TimeoutError:
            raise RejectedError(503, "too many large bodies are under way; try again in a second") from None
        self._taken += missing


async def read(scope: Scope, receive: Receive, share: Share) -> bytes | bytearray:
    """Return the body; RejectedError if it is not JSON by its content type, too large, or too slow."""
    kind = _field(scope, b"content-type")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        found = kind.decode("latin-1")[:100] or "none"
        raise RejectedError(415, f"content type {found!r}; application/json is expected")
    length = _field(scope, b"content-length")
    if length.isdigit() and int(length) > LARGEST_IGNORED:
        raise RejectedError(413, f"a body of {int(length)} bytes; at most {MAX_BODY} are accepted")
    try:
        async with share.limit:
            return await _collect(receive, share, int(length) if length.isdigit() else 0)
    except TimeoutError:
        if share.is_evicted:
            raise RejectedError(503, "the body was slow, and others waited; try again in a second") from None
        raise RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds") from None


def _field(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _collect(receive: Receive, share: Share, length: int) -> bytes | bytearray:
    body, more = await _piece(receive)
    if not more and len(body) <= FREE:
        return body
    whole = bytearray()
    while True:
        size = len(whole) + len(body)
        if size > MAX_BODY or (length > MAX_BODY and size > FREE):
            head = bytes(whole[:FREE] or body[:FREE])
            whole.clear()
            share.release()
            await _ignore(receive, size, more=more)
            raise OversizedError(head)
        await share.grow(size)
        whole += body
        if not more:
            share.whole = True
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
