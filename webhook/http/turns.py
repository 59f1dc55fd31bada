"""Turns of work that takes time, so that no client, and no tenant of a client, has the event loop for itself."""

import asyncio
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final, TypeAlias

from starlette.types import Message, Receive

LEAST: Final = 512  # bytes; the smallest work takes as long as the decoding of some
Flow: TypeAlias = tuple[str, bytes]  # the address of a client, and for which of its tenants the work is
_Part: TypeAlias = tuple[str, bytes, int]  # what of a flow is of one order of magnitude


class Turns:
    """One turn in each iteration of the event loop; between two, all other clients are served.

    This is self-clocked fair queueing (S. J. Golestani, 1994). Work is due after the work of its flow that waits
    already, and what is due first comes first. So the addresses get equal parts of the bytes, and so do the flows of an
    address. A flow that sends little overtakes one that sends much, and none starves. Small work also overtakes large
    work of its own flow, because each order of magnitude counts as a flow of its own.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, _Part, asyncio.Future[None]]] = []  # by when it is due
        self._numbers = count()
        self._latest: dict[_Part, int] = {}  # of each flow that waits: when the last of its work is due
        self._flows_of = Counter[str]()  # by address: the number of its flows that wait
        self._clock = 0  # when the work of the last turn was due
        self._taken = False

    async def wait(self, size: int, flow: Flow) -> None:
        """Wait for a turn for work of that size; it lasts until the next `await`."""
        if not self._taken:
            self._taken = True
            asyncio.get_running_loop().call_soon(self._pass_on)
            return
        address, tenant = flow
        part = (address, tenant, size.bit_length())
        self._flows_of[address] += part not in self._latest
        due = max(self._clock, self._latest.get(part, 0)) + (LEAST + size) * self._flows_of[address]
        self._latest[part] = due
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (due, next(self._numbers), part, turn))
        await turn

    def by_piece(self, receive: Receive, address: str, tenant_of: Callable[[bytes], bytes]) -> Receive:
        """Return a `receive` that waits for a turn after each piece of a body but the last.

        Otherwise, one iteration would read, and decrypt, something of all large bodies on their way. `tenant_of` reads
        the tenant from the first piece.
        """
        tenant: bytes | None = None

        async def receive_in_turn() -> Message:
            nonlocal tenant
            message = await receive()
            if message.get("more_body"):
                piece = message.get("body", b"")
                tenant = tenant_of(piece) if tenant is None else tenant
                await self.wait(len(piece), (address, tenant))
            return message

        return receive_in_turn

    def _pass_on(self) -> None:
        """Give the turn to the next one that still waits."""
        while self._waiting:
            due, _, part, turn = heappop(self._waiting)
            if due == self._latest[part]:
                self._forget(part)
            if not turn.done():  # cancelled
                self._clock = due
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._pass_on)
                return
        self._taken = False

    def _forget(self, part: _Part) -> None:
        """Remove a flow of which nothing waits any more."""
        address = part[0]
        del self._latest[part]
        self._flows_of[address] -= 1
        if not self._flows_of[address]:
            del self._flows_of[address]
