"""The connections of one listener: how many may be open, which one makes room for a new one, and how they end.

No client can fill the memory or keep the process from ending: not by sending nothing, not by sending half a request,
not by leaving answers unread. A complete request is answered before its connection closes.
"""

import asyncio
import gc
import select
from collections.abc import Callable
from typing import Final

READ_SECONDS: Final = 10.0  # for a handshake, and for a head, from its first byte or from the start of the connection
WRITE_SECONDS: Final = 10.0  # how long a client may leave an answer unread
MAX_UNREAD: Final = 16  # connections with an unread answer at the same time
ACCEPT_SECONDS: Final = 0.1  # at shutdown, for connections that are just being accepted; uvicorn waits as long
IDLE_SECONDS: Final = 0.3  # at shutdown, for requests that are on their way
CLOSE_SECONDS: Final = 0.25  # at shutdown, for a connection to close
COLLECT_SECONDS: Final = 1.0  # from the loss of a connection with unanswered requests to a garbage collection
TICK: Final = 0.02  # seconds between two checks at shutdown


class Connection:
    """The connection of one client: which requests have come, and which are answered."""

    abort: Callable[[], object]  # from `Connections.admit` on

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None  # once HTTP is spoken
        self.begun = self.complete = self.answered = 0  # requests: with their head, with their body, with an answer
        self.finished = False  # whether nothing more is read
        self.final_response = b""  # sent after the answers to all complete requests
        self.closed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """Start HTTP on the transport."""
        self.transport, self.abort = transport, transport.abort

    @property
    def busy(self) -> bool:
        """Whether a complete request waits for its answer."""
        return self.complete > self.answered

    def is_last(self, *, draining: bool) -> bool:
        """Return whether the next answer is the last: no complete request follows, and none is wanted any more.

        An answer before the end of its request is the last too.
        """
        following = self.answered + 1
        closes = draining or (self.finished and not self.final_response)
        return following > self.complete or (closes and following == self.complete)

    @property
    def has_input(self) -> bool:
        """Whether bytes have arrived that are not read yet."""
        socket = self.transport and self.transport.get_extra_info("socket")
        return bool(socket and select.select([socket.fileno()], [], [], 0)[0])

    def answer_done(self) -> None:
        """Count an answer."""
        self.answered += 1
        self._close_if_done()

    def finish(self, final_response: bytes = b"") -> None:
        """Read no more; answer the complete requests, send the final response, and close."""
        if not self.finished:
            self.finished, self.final_response = True, final_response
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.transport and self.finished and not self.busy and not self.transport.is_closing():
            if self.final_response:
                self.transport.write(self.final_response)
            self.transport.close()

    def start_timer(self, seconds: float, timed_out: Callable[[], object]) -> None:
        """Call `timed_out` unless `stop_timer` comes first; a running timer goes on unchanged."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, timed_out)

    def stop_timer(self) -> None:
        """Stop the timer, if it runs."""
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Connections:
    """The open connections of a listener, with a limit on their number."""

    def __init__(self, limit: int, draining: Callable[[], bool] = lambda: False) -> None:
        self._limit = limit
        self._draining = draining
        self._ending = False
        self._collecting = False  # whether garbage is collected soon
        self._patient_until = 0.0  # at shutdown, for requests that have arrived and are not read yet
        self._open: dict[Connection, None] = {}  # ordered by their last answer, else by their start
        self._unread: dict[Connection, asyncio.TimerHandle] = {}  # the oldest first

    @property
    def draining(self) -> bool:
        """Whether each answer is the last of its connection."""
        return self._ending or self._draining()

    def admit(self, connection: Connection, abort: Callable[[], object]) -> None:
        """Add the connection. At the limit, abort an idle one to make room; if all are busy, abort the new one."""
        connection.abort = abort
        if len(self._open) >= self._limit:
            victim = next((each for each in self._open if not each.busy), connection)
            self._open.pop(victim, None)
            victim.abort()
            if victim is connection:
                return
        self._open[connection] = None

    def answered(self, connection: Connection) -> None:
        """Count an answer of the connection."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)
        connection.answer_done()

    def lost(self, connection: Connection) -> None:
        """Remove a closed connection."""
        connection.stop_timer()
        self.read_again(connection)
        self._open.pop(connection, None)
        if connection.begun > connection.answered and not self._collecting:
            self._collecting = True
            asyncio.get_running_loop().call_later(COLLECT_SECONDS, self._collect)

    def _collect(self) -> None:
        """Free the requests that lost connections have left: they are in reference cycles of uvicorn's."""
        self._collecting = False
        gc.collect()

    def unread(self, connection: Connection) -> None:
        """Give a client that does not read WRITE_SECONDS; where there are too many, abort the oldest of them."""
        timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, connection.abort)
        self._unread[connection] = timer
        if len(self._unread) > MAX_UNREAD:
            oldest = next(iter(self._unread))
            self.read_again(oldest)
            oldest.abort()

    def read_again(self, connection: Connection) -> None:
        """Stop the time of a client that reads again."""
        if timer := self._unread.pop(connection, None):
            timer.cancel()

    async def end(self, seconds: float) -> None:
        """Close all connections: idle ones soon, busy ones after their answers, and after so many seconds the rest."""
        self._ending = True
        loop = asyncio.get_running_loop()
        start = loop.time()
        self._patient_until = start + 2 * IDLE_SECONDS
        while loop.time() < start + (seconds if self._open else ACCEPT_SECONDS):
            if loop.time() >= start + IDLE_SECONDS:
                self._close_idle(loop.time())
            await asyncio.sleep(TICK)
        for connection in tuple(self._open):
            connection.abort()

    def _close_idle(self, now: float) -> None:
        """Close idle connections; abort those that do not read, had no answer yet, or do not close in time."""
        for connection in [each for each in self._open if not each.busy or each in self._unread]:
            if now < self._patient_until and connection.has_input:
                continue
            late = connection.closed_at and now >= connection.closed_at + CLOSE_SECONDS
            if late or connection in self._unread or not connection.answered:
                connection.abort()
            elif not connection.closed_at:
                connection.closed_at = now
                connection.finish()
