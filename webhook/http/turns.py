"""Turns of work that takes time, so that no client has the event loop for itself.

Large bodies wait for ordinary ones. Those come in their order, so that a flood of tiny ones keeps nobody waiting.
"""

import asyncio
from heapq import heappop, heappush
from itertools import count
from typing import Final

ORDINARY: Final = 64 * 1024  # bytes; bodies up to this size have equal turns


class Turns:
    """One turn in each iteration of the event loop, large work last; between two, all other clients are served."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._taken = False

    async def wait(self, size: int) -> None:
        """Wait for a turn for work of that size; it lasts until the next `await`."""
        if not self._taken:
            self._taken = True
            asyncio.get_running_loop().call_soon(self._pass_on)
            return
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (max(size, ORDINARY), next(self._numbers), turn))
        await turn

    def _pass_on(self) -> None:
        """Give the turn to the next one that still waits."""
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.done():  # cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._pass_on)
                return
        self._taken = False
