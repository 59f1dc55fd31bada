"""The memory of a container of Spark: the heap, an overhead that Spark derives from it, and what else Spark adds.

Sources: spark `JavaUtils.java` (byteStringAs), `ResourceProfile.scala` (calculateOverHeadMemory), and
`BasicDriverFeatureStep.scala`. Spark counts in whole MiB, and multiplies by its factor as a double.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

MEBI: Final = 2**20
DEFAULT_MEMORY: Final = 1024  # MiB
LEAST_OVERHEAD: Final = 384  # MiB
OF_JVM: Final = 0.1  # of the heap, for an application of Java or Scala
OF_OTHERS: Final = 0.4
MOST_FACTOR: Final = 1000.0
_AMOUNT: Final = re.compile(r"\s*0*([0-9]{1,18})\s*(b|[kmgtp]b?)?\s*", re.IGNORECASE)


class Memory(Struct, frozen=True):
    """The memory of a container, in MiB."""

    heap: int = DEFAULT_MEMORY
    overhead: int | None = None  # None where Spark derives it
    others: Mapping[str, int] = {}
    factor: float = OF_JVM
    least: int = LEAST_OVERHEAD

    @property
    def total(self) -> int:
        """What the container has in all."""
        overhead = self._derived(self.heap) if self.overhead is None else self.overhead
        return self.heap + overhead + sum(self.others.values())

    def within(self, most: int) -> "Memory":
        """Return the memory with no more than `most` in all.

        What is stated is lowered in proportion. The derived overhead follows the heap; it is stated only where no heap
        would be left beside the least overhead.
        """
        total = self.total
        if total <= most:
            return self
        others = {name: amount * most // total for name, amount in self.others.items()}
        room = most - sum(others.values())
        stated = self.overhead
        if stated is None and room <= self.least:
            stated = self._derived(self.heap)
        if stated is not None:
            overhead = stated * most // total
            return replace(self, heap=room - overhead, overhead=overhead, others=others)
        heap = min(room - self.least, int(room / (1 + self.factor)) + 1)
        while heap + self._derived(heap) > room:
            heap -= 1
        return replace(self, heap=heap, others=others)

    def _derived(self, heap: int) -> int:
        return max(int(self.factor * heap), self.least)


def mebibytes(text: str, unit: str = "m") -> int | None:
    """Return the whole MiB of a text such as `4g`, in `unit` where it names none; None for what Spark cannot read."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    power = "bkmgtp".index((match[2] or unit)[0].lower())
    return (int(match[1]) << 10 * power) // MEBI


def factor_of(text: str) -> float | None:
    """Return the factor of the heap that the text stands for; None for one that Spark cannot use."""
    try:
        factor = float(text)
    except ValueError:
        return None
    return factor if 0 < factor <= MOST_FACTOR else None
