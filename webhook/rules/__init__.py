"""The rules, one file each; none imports another.

CHANGING lists those that change a Pod in their order, each by the name that exemptions have for it. A rule reads the
Workload that the one before has left, and nothing else.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook.policy.settings import SkippableRule
from webhook.rules import claims, clamp, fill, pod_level, pod_limits, resize
from webhook.rules import tolerate as tolerations
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

Changing: TypeAlias = Callable[[Workload], tuple[Workload, list[Change]]]

CHANGING: Final[tuple[tuple[SkippableRule, Changing], ...]] = (
    ("fill", fill.fill),
    ("fill", pod_level.complete),
    ("clamp", clamp.clamp),
    ("clamp", pod_limits.bound),
    ("clamp", pod_level.clamp),
    ("tolerate", tolerations.tolerate),
)
# What holds for a resize of a running Pod: only what grows is looked at.
CHANGING_RESIZES: Final[tuple[tuple[SkippableRule, Changing], ...]] = (
    ("clamp", resize.clamp_growth),
    ("clamp", pod_limits.bound),
)
# Each returns why the policy does not allow the Pod, whatever is free; empty if it does.
REFUSING: Final[tuple[Callable[[Workload], str], ...]] = (claims.refused_claims,)


def changed(workload: Workload, only: SkippableRule | None = None) -> tuple[Workload, list[Change]]:
    """Return what the rules make of the Workload, but for those that it is exempted from; `only` those of one name."""
    changes: list[Change] = []
    for name, rule in CHANGING if workload.old is None else CHANGING_RESIZES:
        if name not in workload.settings.skips and only in (None, name):
            workload, made = rule(workload)
            changes += made
    return workload, changes


def refused(workload: Workload) -> str:
    """Return the first reason for which the policy does not allow the Workload; empty where there is none."""
    return next(filter(None, (rule(workload) for rule in REFUSING)), "")
