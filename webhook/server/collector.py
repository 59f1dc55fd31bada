"""The garbage collector, which halts everybody while it looks at all that there is: what stays is not looked at."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def settle() -> None:
    """Collect once, and look at nothing again that is there now; it is still freed once nobody refers to it."""
    gc.collect()
    gc.freeze()


@contextmanager
def halted() -> Iterator[None]:
    """Collect nothing during the block, and look at nothing that it leaves behind: much that stays, and no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
