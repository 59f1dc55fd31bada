"""The decisions of the last hour: counts by outcome and reason, and the latest refusals by name."""

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

MINUTES: Final = 60
MOST_REFUSALS: Final = 20  # the latest that are kept with the name of their Pod


class Count(Struct, frozen=True):
    """How many reviews ended so."""

    outcome: str  # as in the metric: allowed, changed, denied, would_be_changed, would_be_denied
    reason: str  # the rules that changed Pods, or why they were denied
    count: int


class Refusal(Struct, frozen=True):
    """A Pod that was refused, or would have been."""

    namespace: str
    pod: str
    outcome: str
    reason: str
    message: str
    dry_run: bool
    time: str = ""  # RFC 3339, UTC


class History:
    """What was decided in the last hour, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._minutes: deque[tuple[int, Counter[tuple[str, str]]]] = deque(maxlen=MINUTES)
        self._refusals: deque[Refusal] = deque(maxlen=MOST_REFUSALS)

    def add(self, outcome: str, reason: str) -> None:
        """Count one review."""
        minute = int(self._clock() // 60)
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1][outcome, reason] += 1

    def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal with its names, as of now; `add` counts it."""
        now = datetime.fromtimestamp(self._clock(), UTC).replace(microsecond=0)
        self._refusals.append(replace(refusal, time=now.isoformat()))

    def counts(self) -> list[Count]:
        """Return the counts of the last hour, the largest first."""
        oldest = int(self._clock() // 60) - MINUTES
        total = sum((counter for minute, counter in self._minutes if minute > oldest), Counter[tuple[str, str]]())
        ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
        return [Count(outcome, reason, count) for (outcome, reason), count in ordered]

    def refusals(self) -> list[Refusal]:
        """Return the latest refusals, the newest first."""
        return list(reversed(self._refusals))
