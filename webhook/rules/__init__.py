"""The rules, one file each; none imports another.

MUTATING lists those that change a Pod in their order, each by the name that exemptions have for it.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook.decision import Change, Context
from webhook.pod import Pod
from webhook.rules import pod_level, pod_limits, resize, resources
from webhook.rules.claims import refused_claims
from webhook.rules.defaulting import default
from webhook.rules.resize import unclampable
from webhook.rules.tolerations import tolerate
from webhook.settings import Skipped

Mutating: TypeAlias = Callable[[Pod, Context], tuple[Pod, list[Change]]]

__all__ = ["MUTATING", "clamp", "default", "fill", "refused_claims", "tolerate", "unclampable"]


def fill(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with the defaults of what its containers, and `spec.resources`, leave open."""
    return (pod, []) if context.old else _one_after_another(pod, context, resources.fill, pod_level.complete)


def clamp(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with nothing over a maximum; of a resize, with nothing grown over one."""
    if context.old:
        return _one_after_another(pod, context, resize.clamp_growth, pod_limits.bound)
    return _one_after_another(pod, context, resources.clamp, pod_limits.bound, pod_level.clamp)


def _one_after_another(pod: Pod, context: Context, *rules: Mutating) -> tuple[Pod, list[Change]]:
    changes: list[Change] = []
    for rule in rules:
        pod, made = rule(pod, context)
        changes += made
    return pod, changes


MUTATING: Final[tuple[tuple[Skipped, Mutating], ...]] = (("fill", fill), ("clamp", clamp), ("tolerate", tolerate))
