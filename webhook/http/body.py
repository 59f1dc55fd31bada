"""The body of a request, as far as it is one that a review could come in: JSON, of a bounded size, in bounded time.

Bodies are in memory until they are answered. What they take together is bounded by a budget, and who finds none left
is not read for a while, and then told to come again.
"""

import asyncio
from typing import Final, Self

from starlette.types import Receive, Scope

# The API server takes objects of 3 MiB. JSON as Go writes it has six bytes for some characters, such as "<", and the
# review of a resize holds two objects.
MAX_BODY: Final = 40 * 1024 * 1024
BODY_SECONDS: Final = 10.0
FREE: Final = 64 * 1024  # bytes of each body that are taken from no budget; nearly all bodies are smaller
BUDGET: Final = MAX_BODY  # bytes that all bodies may take beyond that
BUDGET_SECONDS: Final = 1.0  # that a body waits for others to be answered


class RejectedError(Exception):
    """The request is not one that could be answered with a review."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Budget:
    """Bytes that the bodies under way have in common."""

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size
        self._given_back = asyncio.Event()

    async def take(self, size: int) -> None:
        """Take so many, once there are as many."""
        while size > self._left:
            self._given_back.clear()
            await self._given_back.wait()
        self._left -= size

    def give_back(self, size: int) -> None:
        """Put back so many that were taken."""
        self._left += size
        self._given_back.set()


class Share:
    """What one body takes of a budget, until the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken:
            self._budget.give_back(self._taken)

    async def cover(self, size: int) -> None:
        """Take as much as is missing for a body of this size; RejectedError if there is none for too long."""
        missing = size - FREE - self._taken
        if missing <= 0:
            return
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                await self._budget.take(missing)
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
        await share.cover(len(whole) + len(body))
        whole += body
        if not more:
            return whole
        body, more = await _piece(receive)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """What has come, and whether there is more to come."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RejectedError(400, "the connection closed before the body was complete")
    return message.get("body", b""), message.get("more_body", False)
