"""How long to wait before the API server is asked again: exponential backoff with jitter."""

from collections.abc import Callable
from typing import Final

# Seconds, as client-go's reflector has them.
INITIAL_PAUSE: Final = 0.8
LONGEST_PAUSE: Final = 30.0
RESET_AFTER: Final = 120.0


class Backoff:
    """Pauses that double from 0.8 to 30 seconds, and start over after two minutes without a failure.

    Each pause gets up to its own length of jitter, so that replicas that fail together do not retry together.
    """

    def __init__(self, clock: Callable[[], float], random: Callable[[], float]) -> None:
        """Take a `clock` that gives seconds, and a `random` that gives a number from 0 up to 1."""
        self._clock = clock
        self._random = random
        self._next = INITIAL_PAUSE
        self._last = clock()

    def pause(self) -> float:
        """Return the seconds to wait after one more failure."""
        now = self._clock()
        if now - self._last > RESET_AFTER:
            self._next = INITIAL_PAUSE
        self._last = now
        base, self._next = self._next, min(self._next * 2, LONGEST_PAUSE)
        return base * (1 + self._random())
