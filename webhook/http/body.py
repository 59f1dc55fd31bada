"""The body of a request, as far as it is one that a review could come in: JSON, of a bounded size, in bounded time.

Bodies are in memory until they are answered. What they take together is bounded by a budget, and who finds none left
is not read for a while, and then told to come again.
"""

import asyncio
from contextlib import suppress
from typing import Final, Self

from starlette.types import Receive, Scope

# The API server takes objects of 3 MiB. JSON as Go writes it has six bytes for some characters, such as "<", and the
# review of a resize holds two objects.
MAX_BODY: Final = 40 * 1024 * 1024
BODY_SECONDS: Final = 10.0
FREE: Final = 64 * 1024  # bytes of each body that are taken from no budget; nearly all bodies are smaller
BUDGET: Final = MAX_BODY  # bytes that all bodies may take beyond that
BUDGET_SECONDS: Final = 1.0  # that a body waits for others to be answered
FRESH_SECONDS: Final = 0.25  # that a body may take where others wait; one of the API server comes at once
LARGEST_IGNORED: Final = 256 * 1024 * 1024  # bytes of a body over MAX_BODY that are read to be answered after it


class RejectedError(Exception):
    """The request is not one that could be answered with a review."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class OversizedError(Exception):
    """The body is over MAX_BODY, and all of it was read; `head` is how it begins."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        super().__init__(f"a body of more than {MAX_BODY} bytes")


class Budget:
    """Bytes that the bodies under way have in common.

    Where there are not enough, the body that began first loses its share: one that somebody holds back, not one of the
    API server's.
    """

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size
        self._changed = asyncio.Event()
        self._holders: dict[Share, None] = {}  # in the order in which they began to hold some

    async def take(self, size: int, share: "Share") -> None:
        """Take so many, once there are as many."""
        while size > self._left:
            self._changed.clear()
            wait = self._until_the_oldest_is_stale(share)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
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

    def give_back(self, size: int, share: "Share") -> None:
        """Put back so many that were taken."""
        self._left += size
        self._holders.pop(share, None)
        self._changed.set()


class Share:
    """What one body takes of a budget, until the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self.whole = False  # whether all of the body has come
        self.began = asyncio.get_running_loop().time()
        self.limit: asyncio.Timeout | None = None  # on the time for the body
        self._budget = budget
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give back what was taken."""
        if self._taken:
            self._budget.give_back(self._taken, self)
            self._taken = 0

    def evict(self) -> None:
        """Have the body end that it is for."""
        if self.limit:
            self.limit.reschedule(0)

    async def cover(self, size: int) -> None:
        """Take as much as is missing for a body of this size; RejectedError if there is none for too long."""
        missing = size - FREE - self._taken
        if missing <= 0:
            return
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                await self._budget.take(missing, self)
        except TimeoutError:
            raise RejectedError(503, "too many large bodies are under way; try again in a second") from None
        self._taken += missing


async def read(scope: Scope, receive: Receive, share: Share) -> bytes | bytearray:
    """The body; RejectedError if it is none for a review."""
    kind = _field(scope, b"content-type")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        found = kind.decode("latin-1")[:100] or "none"
        raise RejectedError(415, f"content type {found!r}; application/json is expected")
    length = _field(scope, b"content-length")
    if length.isdigit() and int(length) > LARGEST_IGNORED:
        raise RejectedError(413, f"a body of {int(length)} bytes; at most {MAX_BODY} are accepted")
    try:
        async with asyncio.timeout(BODY_SECONDS) as share.limit:
            return await _collect(receive, share, int(length) if length.isdigit() else 0)
    except TimeoutError:
        raise RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds, or others waited") from None


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
        await share.cover(size)
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
    """What has come, and whether there is more to come."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RejectedError(400, "the connection closed before the body was complete")
    return message.get("body", b""), message.get("more_body", False)
