"""The connections of one listener: how many may be open, who gets a place, and how they end.

No client can fill the memory or keep the process from ending: not by sending nothing, not by sending half a request,
not by leaving answers unread. None can keep others out: connections wait for a place in their order, and one address
gets only so much of what is free. A complete request is answered before its connection closes.
"""

import asyncio
import gc
import select
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, TypeAlias

READ_SECONDS: Final = 10.0  # for a handshake, and for a head, from its first byte or from the start of the connection
WRITE_SECONDS: Final = 10.0  # how long a client may leave an answer unread
MAX_UNREAD: Final = 16  # connections with an unread answer at the same time
MAX_WAITING: Final = 1024  # connections that wait for a place; they take next to no memory
SHARE: Final = 4  # an address may have this many times the connections that are free
IDLE_WHERE_OTHERS_WAIT: Final = 0.5  # seconds for a handshake, a head, or a body, while others wait for a place
ACCEPT_SECONDS: Final = 0.1  # at shutdown, for connections that are just being accepted; uvicorn waits as long
IDLE_SECONDS: Final = 0.3  # at shutdown, for requests that are on their way
CLOSE_SECONDS: Final = 0.25  # at shutdown, for a connection to close
COLLECT_SECONDS: Final = 1.0  # from the loss of a connection with unanswered requests to a garbage collection
TICK: Final = 0.02  # seconds between two checks at shutdown


class Connection:
    """The connection of one client: which requests have come, and which are answered."""

    def __init__(self, address: str, abort: Callable[[], object]) -> None:
        """Take the address of the client."""
        self.address = address
        self.abort = abort
        self.transport: asyncio.Transport | None = None  # once HTTP is spoken
        self.begun = self.complete = self.answered = 0  # requests: with their head, with their body, with an answer
        self.finished = False  # whether nothing more is read
        self.final_response = b""  # sent after the answers to all complete requests
        self.closed_at = 0.0
        self.since = 0.0  # when it got its place, or its last head or answer was complete
        self.go_on: Callable[[], object] = lambda: None  # called after each answer
        self._timer: asyncio.TimerHandle | None = None

    def open(self, transport: asyncio.Transport, go_on: Callable[[], object]) -> None:
        """Start HTTP on the transport."""
        self.transport, self.abort, self.go_on = transport, transport.abort, go_on

    @property
    def is_lost(self) -> bool:
        """Whether the client has closed it, so that no answer can arrive."""
        return bool(self.transport and self.transport.is_closing())

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
        if not socket:
            return False
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def answer_done(self) -> None:
        """Count an answer."""
        self.answered += 1
        self._close_if_done()
        self.go_on()

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


Start: TypeAlias = Callable[[Connection], object]


class Connections:
    """The connections of a listener: those that are open, up to a limit, and those that wait for a place."""

    def __init__(self, limit: int, draining: Callable[[], bool] = lambda: False) -> None:
        self._limit = limit
        self._draining = draining
        self._ending = False
        self._collecting = False  # whether garbage is collected soon
        self._patient_until = 0.0  # at shutdown, for requests that have arrived and are not read yet
        self._open: dict[Connection, None] = {}  # ordered by `since`
        self._open_of = Counter[str]()  # by address
        self._waiting: dict[str, deque[tuple[Connection, Start]]] = {}  # by address; the oldest first
        self._admission: asyncio.Handle | None = None
        self._unread: dict[Connection, asyncio.TimerHandle] = {}  # the oldest first

    def is_last(self, connection: Connection) -> bool:
        """Return whether the next answer of the connection is its last: so, too, where others wait for its place."""
        closing = self._ending or self._draining() or (bool(self._waiting) and not self._has_room(connection.address))
        return connection.is_last(draining=closing)

    def accept(self, address: str, start: Start, abort: Callable[[], object]) -> None:
        """Have a connection start once there is a place for it, or abort it.

        Where too many wait, the address that has most of them loses its newest.
        """
        self._waiting.setdefault(address, deque()).append((Connection(address, abort), start))
        if self._waiting_in_all() > MAX_WAITING:
            newest, _ = max(self._waiting.values(), key=len).pop()
            newest.abort()
        self._admit_soon()

    def _waiting_in_all(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _has_room(self, address: str) -> bool:
        """Return whether the address may have one more: so, none can have all of them, nor can several together."""
        return self._open_of[address] < SHARE * (self._limit - len(self._open))

    def _admit_soon(self, seconds: float = 0) -> None:
        if self._admission:
            self._admission.cancel()
        self._admission = asyncio.get_running_loop().call_later(seconds, self._admit)

    def _admit(self) -> None:
        """Start the first connection of an address that has room; if none has, have idle connections make room.

        The addresses take turns. In each iteration of the event loop only one starts, because handshakes take time.
        """
        self._admission = None
        if address := next(filter(self._has_room, self._waiting), None):
            queue = self._waiting.pop(address)
            connection, start = queue.popleft()
            if queue:
                self._waiting[address] = queue
            self._open_of[address] += 1
            self._place(connection)
            start(connection)
            self._admit_soon()
        elif self._waiting:
            self._make_room()

    def _make_room(self) -> None:
        """Of the connections whose address has no room, abort those that are idle longest, once that is too long."""
        now = asyncio.get_running_loop().time()
        wanted = self._waiting_in_all()
        full = {address for address in self._open_of if not self._has_room(address)}
        for connection in [each for each in self._open if not each.busy and each.address in full]:
            left = connection.since + IDLE_WHERE_OTHERS_WAIT - now
            if left > 0 or not wanted:
                self._admit_soon(max(left, 0.01))
                return
            if connection.begun == connection.answered and connection.has_input:
                self.progressed(connection)  # it is about to
            else:
                connection.abort()
                wanted -= 1
        self._admit_soon(IDLE_WHERE_OTHERS_WAIT)

    def progressed(self, connection: Connection) -> None:
        """Note that a head, or an answer, is complete."""
        if connection in self._open:
            del self._open[connection]
            self._place(connection)

    def _place(self, connection: Connection) -> None:
        self._open[connection] = None
        connection.since = asyncio.get_running_loop().time()

    def answered(self, connection: Connection) -> None:
        """Count an answer of the connection."""
        self.progressed(connection)
        connection.answer_done()

    def lost(self, connection: Connection) -> None:
        """Remove a closed connection."""
        connection.stop_timer()
        connection.go_on = lambda: None
        self.read_again(connection)
        if connection in self._open:
            del self._open[connection]
            self._open_of[connection.address] -= 1
            if not self._open_of[connection.address]:
                del self._open_of[connection.address]
            self._admit_soon()
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
        while loop.time() < start + (seconds if self._open or self._waiting else ACCEPT_SECONDS):
            if loop.time() >= start + IDLE_SECONDS:
                self._close_idle(loop.time())
            await asyncio.sleep(TICK)
        for connection in (*(each for queue in self._waiting.values() for each, _ in queue), *self._open):
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
