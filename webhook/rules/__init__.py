"""The rules, one file each; none imports another.

MUTATING_RULES lists the rules that change a Pod, in order, each with the name that exemptions use. A rule reads only
the Workload that the rule before it returned.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook.api.limit_range import NO_RANGES
from webhook.policy.settings import SkippableRule
from webhook.rules import claims, clamp, cpu_limits, fill, limit_ranges, pod_level, pod_limits, resize
from webhook.rules import tolerate as tolerations
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

MutatingRule: TypeAlias = Callable[[Workload], tuple[Workload, list[Change]]]

MUTATING_RULES: Final[tuple[tuple[SkippableRule, MutatingRule], ...]] = (
    ("fill", pod_level.set_sums_aside),
    ("fill", fill.fill),
    ("fill", pod_level.fill_pod_level),
    ("fill", cpu_limits.loosen),
    ("clamp", clamp.clamp),
    ("clamp", pod_limits.clamp_pod),
    ("clamp", pod_level.clamp_pod_level),
    ("fill", pod_level.sum_up),
    ("tolerate", tolerations.tolerate),
)
# The rules for a resize of a running Pod: they bound growth only, and say that cpu limits stay.
RESIZE_RULES: Final[tuple[tuple[SkippableRule, MutatingRule], ...]] = (
    ("fill", cpu_limits.loosen),
    ("clamp", resize.clamp_growth),
    ("clamp", pod_limits.clamp_pod),
)
# Each returns why the policy denies the Pod, whatever the quotas have left; empty if it allows the Pod.
DENYING_RULES: Final[tuple[Callable[[Workload], str], ...]] = (claims.deny_claims,)


def apply_rules(workload: Workload, only: SkippableRule | None = None) -> tuple[Workload, list[Change]]:
    """Return the Workload after all rules that no exemption skips, or after those named `only`, with their changes."""
    before, changes = workload, list[Change]()
    for name, rule in MUTATING_RULES if workload.old is None else RESIZE_RULES:
        if name not in workload.settings.skips and only in (None, name):
            workload, made = rule(workload)
            changes += made
    if only is None and before.old is None and before.ranges != NO_RANGES:
        workload, made = limit_ranges.keep(before, workload)
        changes += made
    return workload, changes


def denial_reason(workload: Workload) -> str:
    """Return the first reason why the policy denies the Workload; empty where it allows it."""
    return next(filter(None, (rule(workload) for rule in DENYING_RULES)), "")
