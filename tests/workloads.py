"""Rules as functions on Pods: each Pod becomes a Workload for the rule, and the result is applied to the Pod."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec.structs import replace

from webhook.api.pod import POD_LEVEL, Pod, with_resources
from webhook.api.resource_list import ResourceList
from webhook.api.resource_quota import ResourceQuota, ScopeRequirement
from webhook.api.version import NEWEST, Version
from webhook.flyte.task import Task
from webhook.policy.settings import Settings, SkippableRule
from webhook.rules import MutatingRule, apply_rules, defaulting, effective, quota, quota_scopes, resize
from webhook.rules.findings import Change, Verdict
from webhook.rules.workload import Workload, workload_of

BEFORE_FIX = Version(1, 36)  # of the vectors, too


class Context(NamedTuple):
    """The arguments of a rule besides the Pod: task, settings, and the Pod before a resize."""

    task: Task = Task(1)
    settings: Settings = Settings()
    old: Pod | None = None
    counted: frozenset[str] = frozenset()  # the resources whose limits a quota counts
    kubernetes: Version = NEWEST


def workload(pod: Pod, context: Context = Context()) -> Workload:  # noqa: B008 - it is immutable
    found = workload_of(pod, context.task, context.settings, context.old)
    return replace(found, counted_limits=context.counted).on(context.kubernetes)


def with_changes(pod: Pod, after: Workload) -> Pod:
    blocks = dict(after.all_blocks())
    pod = with_resources(pod, {pointer: block for pointer, block in blocks.items() if block is not None})
    found = None if after.tolerations is None else list(after.tolerations)
    return replace(pod, spec=replace(pod.spec, tolerations=found, resources=blocks[POD_LEVEL]))


def on_pods(rule: MutatingRule) -> Callable[[Pod, Context], tuple[Pod, list[Change]]]:
    def applied(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
        after, changes = rule(workload(pod, context))
        return with_changes(pod, after), changes

    return applied


def _rules_named(name: SkippableRule) -> MutatingRule:
    return lambda before: apply_rules(before, only=name)


fill, clamp, tolerate = on_pods(_rules_named("fill")), on_pods(_rules_named("clamp")), on_pods(_rules_named("tolerate"))
RULES = {"fill": fill, "clamp": clamp, "tolerate": tolerate}


def default(pod: Pod, kubernetes: Version = BEFORE_FIX) -> tuple[Pod, list[Change]]:
    return on_pods(defaulting.default)(pod, Context(kubernetes=kubernetes))


def unclampable(pod: Pod, context: Context) -> tuple[Change, ...]:
    return resize.unclampable(workload(pod, context))


def effective_requests(pod: Pod) -> ResourceList:
    return effective.effective_requests(workload(pod))


def effective_limits(pod: Pod) -> ResourceList:
    return effective.effective_limits(workload(pod))


def aggregate(pod: Pod, of: effective.Selector) -> ResourceList:
    return effective.aggregate(workload(pod), of)


def has_pod_level_resources(pod: Pod) -> bool:
    return effective.has_pod_level_resources(workload(pod))


def qos(pod: Pod, kubernetes: Version = BEFORE_FIX) -> str:
    return effective.qos(workload(pod, Context(kubernetes=kubernetes)))


def usage(pod: Pod) -> ResourceList:
    return quota.usage(workload(pod))


def check(pod: Pod, quotas: Iterable[ResourceQuota], old: Pod | None = None) -> Verdict:
    seen = workload(pod, Context(old=old))
    names = [container.name or "" for container in (*pod.spec.containers, *(pod.spec.init_containers or ()))]
    return quota.check_quotas([quota.Asked(seen, quota.cost_of(seen), names)], quotas)


def in_scope(scope: ScopeRequirement, pod: Pod) -> bool:
    return quota_scopes.in_scope(scope, workload(pod), qos(pod))
