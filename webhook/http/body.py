"""The body of a request: JSON, with a limit on its size and on its time.

Bodies stay in memory until they are answered. A budget limits how much they take together. Where it is used up, a body
waits, and is rejected after a second with 503.
"""

import asyncio
from typing import Final, Self

from starlette.types import Receive, Scope

# The API server takes objects of 3 MiB. Go's JSON has six bytes for some characters, such as "<", and the review of a
# resize holds two objects.
MAX_BODY: Final = 40 * 1024 * 1024
BODY_SECONDS: Final = 10.0
FREE: Final = 64 * 1024  # bytes of each body that do not count towards the budget; nearly all bodies are smaller
BUDGET: Final = MAX_BODY  # bytes of all bodies together, beyond those that are free
BUDGET_SECONDS: Final = 1.0  # how long a body waits for others to be answered


class RejectedError(Exception):
    """A request that cannot be answered with a review; it has the HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Budget:
    """The bytes that all bodies under way may take together."""

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size
        self._released = asyncio.Event()

    async def acquire(self, size: int) -> None:
        """Wait until so many bytes are left, and take them."""
        while size > self._left:
            self._released.clear()
            await self._released.wait()
        self._left -= size

    def release(self, size: int) -> None:
        """Give so many bytes back."""
        self._left += size
        self._released.set()


class Share:
    """The part of a budget that one body takes, until the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken:
            self._budget.release(self._taken)

    async def grow(self, size: int) -> None:
        """Take what a body of this size needs in all; RejectedError if the budget has too little for too long."""
        missing = size - FREE - self._taken
        if missing <= 0:
            return
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                await self._budget.acquire(missing)
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
    if length.isdigit() and int(length) > MAX_BODY:
        raise RejectedError(413, f"a body of {int(length)} bytes; at most {MAX_BODY} are accepted")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _collect(receive, share)
    except TimeoutError:
        raise RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds") from None


def _field(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _collect(receive: Receive, share: Share) -> bytes | bytearray:
    body, more = await _piece(receive)
    if not more and len(body) <= FREE:
        return body
    whole = bytearray()
    while True:
        if len(whole) + len(body) > MAX_BODY:
            raise RejectedError(413, f"a body of more than {MAX_BODY} bytes; no more are accepted")
        await share.grow(len(whole) + len(body))
        whole += body
        if not more:
            return whole
        body, more = await _piece(receive)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """Return the next piece, and whether more follow."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RejectedError(400, "the connection closed before the body was complete")
    return message.get("body", b""), message.get("more_body", False)
