"""How long to wait before the API server is asked again."""

from collections.abc import Callable
from typing import Final

# Seconds, as client-go's reflector has them.
FIRST: Final = 0.8
LONGEST: Final = 30.0
HEALTHY: Final = 120.0


class Backoff:
    """Pauses that double from 0.8 to 30 seconds, and begin again after two minutes in which none was needed.

    Each is drawn out by up to its own length, so that replicas which failed together do not come back together.
    """

    def __init__(self, clock: Callable[[], float], random: Callable[[], float]) -> None:
        """`clock` gives seconds, `random` a number from 0 up to 1."""
        self._clock = clock
        self._random = random
        self._next = FIRST
        self._last = clock()

    def pause(self) -> float:
        """The seconds to wait after one more failure."""
        now = self._clock()
        if now - self._last > HEALTHY:
            self._next = FIRST
        self._last = now
        base, self._next = self._next, min(self._next * 2, LONGEST)
        return base * (1 + self._random())
