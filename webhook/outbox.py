"""Replies that leave together.

A client that is woken by the first finds the others as well, and the log is written once for all of them: under load
this is what most of the system calls are for. With one review at a time it is as if it were not there.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from webhook import logs

MOST: Final = 16  # replies that wait for each other, of some 0.1 ms each


class Letter(NamedTuple):
    """One reply: how it is sent, and what is to be done once it is on its way."""

    send: Callable[[], object]
    then: Callable[[], object]


class Outbox:
    """The replies of one turn of the event loop."""

    def __init__(self) -> None:
        """Empty."""
        self._letters: list[Letter] = []

    def put(self, letter: Letter) -> None:
        """Send it at the end of this turn, or before, together with others."""
        self._letters.append(letter)
        if len(self._letters) == 1:
            asyncio.get_running_loop().call_soon(self.empty)
        elif len(self._letters) == MOST:
            self.empty()

    def empty(self) -> None:
        """Send all that there is."""
        letters, self._letters = self._letters, []
        for letter in letters:
            letter.send()
        with logs.together():
            for letter in letters:
                letter.then()
