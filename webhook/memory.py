"""What was worked out before, remembered: no more than so much of it, and nothing for what is large."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class _TooLargeError(Exception):
    """These arguments are none to remember."""


def remembered(most: int, is_small: Callable[[*Ts], bool]) -> Callable[[Callable[[*Ts], T]], Callable[[*Ts], T]]:
    """Remember up to `most` results of a pure function by its arguments, as far as they are small.

    Whether they are is asked only where they are not found: the question may cost more than the look.
    """

    def decorated(make: Callable[[*Ts], T]) -> Callable[[*Ts], T]:
        @lru_cache(maxsize=most)
        def known(*args: *Ts) -> T:
            if not is_small(*args):
                raise _TooLargeError  # and an error is not remembered
            return make(*args)

        @wraps(make)
        def recalled(*args: *Ts) -> T:
            try:
                return known(*args)
            except _TooLargeError:
                pass
            return make(*args)

        return recalled

    return decorated
