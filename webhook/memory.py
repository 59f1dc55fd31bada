"""What was worked out before, remembered: no more than so much of it, and nothing that is large."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class _LargeError(Exception):
    """A result that is not remembered, for lru_cache remembers no error."""

    def __init__(self, result: Any) -> None:
        self.result = result


def remembered(most: int, is_small: Callable[[T, *Ts], bool]) -> Callable[[Callable[[*Ts], T]], Callable[[*Ts], T]]:
    """Remember up to `most` results of a pure function by its arguments.

    `is_small` says of a result and its arguments whether they may stay in memory; what others send us often may not.
    """

    def decorated(make: Callable[[*Ts], T]) -> Callable[[*Ts], T]:
        @lru_cache(maxsize=most)
        def known(*args: *Ts) -> T:
            result = make(*args)
            if not is_small(result, *args):
                raise _LargeError(result)
            return result

        @wraps(make)
        def recalled(*args: *Ts) -> T:
            try:
                return known(*args)
            except _LargeError as error:
                large: T = error.result
                return large

        return recalled

    return decorated
