"""Arguments for rules: decoded Pods of Flyte tasks, and their settings under a policy."""

from typing import Any

from tests.vectors import Data, pod_of
from tests.workloads import Context, clamp, fill
from webhook.api import pod as pods
from webhook.api.pod import Pod
from webhook.api.resources import NO_RESOURCES
from webhook.flyte.task import identify
from webhook.policy.file import load
from webhook.rules.findings import Change

NAMESPACE = "flytesnacks-development"
TODAY = "2026-11-25"
PLATFORM = """
task_resources:
  defaults: {cpu: 500m, memory: 500Mi, ephemeralStorage: 1Gi, gpu: 0}
  limits: {cpu: 4, memory: 8Gi, gpu: 2}
"""


def task_pod(spec: Data, **metadata: object) -> Pod:
    return pod_of({"metadata": {"labels": {"execution-id": "x"}, **metadata}, "spec": spec})


def context(policy: str, pod: Pod, old: Pod | None = None) -> Context:
    loaded = load(policy or "{}", "policy.yaml").policy
    task = identify(pod, NAMESPACE, loaded.identification)
    assert task is not None
    return Context(task, loaded.settings(task, NAMESPACE, TODAY), old)


def numbers(pod: Pod) -> list[Any]:
    """Return what rules change, with quantities that compare by value, not by format."""
    blocks = [
        (pod.spec.resources or NO_RESOURCES),
        *(container.resources or NO_RESOURCES for _, container in pods.containers(pod)),
    ]
    sides = [dict(side or {}) for block in blocks for side in (block.requests, block.limits)]
    return [*sides, pod.spec.tolerations or []]


def container(requests: Data | None = None, limits: Data | None = None, **fields: Any) -> Data:
    return {"resources": {"requests": requests, "limits": limits}, **fields}


def spec(*containers: Data, **fields: Any) -> Data:
    return {"containers": list(containers), **fields}


def text(change: Change) -> str:
    before = "unset" if change.before is None else change.before
    return f"{change.path}: {before} -> {change.after} ({change.why})"


def filled(pod: Pod, policy: str) -> list[str]:
    return [text(change) for change in fill(pod, context(policy, pod))[1]]


def clamped(pod: Pod, policy: str) -> list[str]:
    return [text(change) for change in clamp(pod, context(policy, pod))[1]]
