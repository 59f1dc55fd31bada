"""Denies jobs with more workers than `max_replicas` of the policy has for their kind.

The number of workers is never lowered, because that would change what the task computes.
"""

from collections.abc import Sequence

from webhook.api.bounds import REPLICAS
from webhook.policy.settings import Settings


def deny_replicas(kind: str, workers: Sequence[tuple[str, int]], settings: Settings) -> str:
    """Return why a job of that kind has too many workers; empty where it has not.

    `workers` has the most Pods that each role may grow to.
    """
    most, origin = settings.max_replicas.get(kind, (0, ""))
    total = sum(count for _, count in workers)
    if not most or total <= most or "clamp" in settings.skips:
        return ""
    named = ", ".join(f"{role} {_number(count)}" for role, count in workers)
    return (
        f"workers: {_number(total)} ({named}), over the maximum {most}; ask for at most {most}, the policy says "
        f"max_replicas: {{{kind}: {most}}} ({origin.rpartition('/')[2]})"
    )


def _number(count: int) -> str:
    """Return how many, for people: a range of workers may have no upper bound."""
    return "any number" if count >= REPLICAS else str(count)
