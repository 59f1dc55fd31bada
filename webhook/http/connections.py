"""The connections of one listener: how many there may be, which of them makes room for a new one, and how they end.

Nothing that clients do may fill the memory or keep the process from ending, whether they send nothing, half of a
request, or read no answer. A request that has come whole is answered before its connection is closed.
"""

import asyncio
from collections.abc import Callable
from typing import Final

READ_SECONDS: Final = 10.0  # for a handshake, and for a head, from its first byte or the connection's beginning
WRITE_SECONDS: Final = 10.0  # that a client may leave an answer unread
UNREAD: Final = 16  # connections that may leave an answer unread at the same time
LAST_SECONDS: Final = 0.1  # at the end, for connections that are being taken just then; uvicorn waits as long
IDLE_SECONDS: Final = 0.3  # at the end, for requests that are on their way
CLOSE_SECONDS: Final = 0.25  # at the end, for a connection to close
TICK: Final = 0.02  # seconds between two looks at what is left


class Connection:
    """One client, from its first packet: what has come, what was answered, and what is said last."""

    abort: Callable[[], object]  # from `Connections.admit` on

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None  # once HTTP is spoken
        self.begun = self.whole = self.answered = 0  # requests: with a whole head, with a whole body, with an answer
        self.over = False  # whether nothing more is read
        self.last_words = b""  # what is sent once all that came whole is answered
        self.closed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """Begin with HTTP."""
        self.transport, self.abort = transport, transport.abort

    @property
    def busy(self) -> bool:
        """Whether a request has come whole that is not answered."""
        return self.whole > self.answered

    @property
    def last(self) -> bool:
        """Whether the next answer is the last: nothing more is read or said, or it comes before its request's end."""
        following = self.answered + 1
        return following > self.whole or (self.over and following == self.whole and not self.last_words)

    def answer_done(self) -> None:
        """Count an answer."""
        self.answered += 1
        self._close_if_over()

    def finish(self, last_words: bytes = b"") -> None:
        """Read no more; answer what has come whole, say the last words, and close."""
        if not self.over:
            self.over, self.last_words = True, last_words
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self.transport and self.over and not self.busy and not self.transport.is_closing():
            if self.last_words:
                self.transport.write(self.last_words)
            self.transport.close()

    def allow(self, seconds: float, then: Callable[[], object]) -> None:
        """Have something done unless `arrived` comes first; a time that runs already stays."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def arrived(self) -> None:
        """Stop the time that runs."""
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Connections:
    """All connections of a listener, at most so many."""

    def __init__(self, most: int, draining: Callable[[], bool] = lambda: False) -> None:
        """While it is draining, each answer is the last of its connection."""
        self._most = most
        self._draining = draining
        self._ending = False
        self._open: dict[Connection, None] = {}  # by when they began or were last answered
        self._unread: dict[Connection, asyncio.TimerHandle] = {}  # the longest unread first

    @property
    def draining(self) -> bool:
        """Whether each answer is to be the last of its connection."""
        return self._ending or self._draining()

    def admit(self, connection: Connection, abort: Callable[[], object]) -> None:
        """Take it in, in the place of another where there are too many; abort it if all of these are busy."""
        connection.abort = abort
        if len(self._open) >= self._most:
            idle = [each for each in self._open if not each.busy]
            victim = min(idle, key=lambda each: each.answered > 0, default=connection)
            self._open.pop(victim, None)
            victim.abort()
            if victim is connection:
                return
        self._open[connection] = None

    def answered(self, connection: Connection) -> None:
        """Take note of an answer."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)
        connection.answer_done()

    def lost(self, connection: Connection) -> None:
        """Forget it: it is closed."""
        connection.arrived()
        self.read_again(connection)
        self._open.pop(connection, None)

    def unread(self, connection: Connection) -> None:
        """Take note that a client does not read: it has some time, unless too many others do not read either."""
        timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, connection.abort)
        self._unread[connection] = timer
        if len(self._unread) > UNREAD:
            oldest = next(iter(self._unread))
            self.read_again(oldest)
            oldest.abort()

    def read_again(self, connection: Connection) -> None:
        """Take note that it reads."""
        if timer := self._unread.pop(connection, None):
            timer.cancel()

    async def end(self, seconds: float) -> None:
        """Close them all: those that are busy once they are answered, if that is in time, the others soon."""
        self._ending = True
        loop = asyncio.get_running_loop()
        start = loop.time()
        while loop.time() < start + (seconds if self._open else LAST_SECONDS):
            if loop.time() >= start + IDLE_SECONDS:
                self._close_what_is_idle(loop.time())
            await asyncio.sleep(TICK)
        for connection in tuple(self._open):
            connection.abort()

    def _close_what_is_idle(self, now: float) -> None:
        """Close what is idle, and abort whatever does not read, was not asked anything, or does not close."""
        for connection in [each for each in self._open if not each.busy or each in self._unread]:
            late = connection.closed_at and now >= connection.closed_at + CLOSE_SECONDS
            if late or connection in self._unread or not connection.answered:
                connection.abort()
            elif not connection.closed_at:
                connection.closed_at = now
                connection.finish()
