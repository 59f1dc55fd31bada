"""Python's garbage collector, kept from long pauses: it does not examine objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def freeze() -> None:
    """Collect once, and exclude all present objects from later collections; reference counts still free them."""
    gc.collect()
    gc.freeze()


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing during the block, and exclude what it leaves: many objects that stay, and no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
