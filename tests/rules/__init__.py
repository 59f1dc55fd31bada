"""What a rule is given: a Pod of Flyte's, decoded, and what holds for it under a policy."""

from typing import Any

from tests.vectors import Data, pod_of
from webhook import pod as pods
from webhook.decision import Context
from webhook.flyte import identify
from webhook.pod import NO_RESOURCES, Pod
from webhook.policy_file import load

NAMESPACE = "flytesnacks-development"
TODAY = "2026-11-25"


def task_pod(spec: Data, **metadata: object) -> Pod:
    return pod_of({"metadata": {"labels": {"execution-id": "x"}, **metadata}, "spec": spec})


def context(policy: str, pod: Pod, old: Pod | None = None) -> Context:
    loaded = load(policy or "{}", "policy.yaml").policy
    task = identify(pod, NAMESPACE, loaded.identification)
    assert task is not None
    return Context(task, loaded.settings(task, NAMESPACE, TODAY), old)


def numbers(pod: Pod) -> list[Any]:
    """What rules change, amounts by their value: a text from the wire may be read in another format."""
    blocks = [pods.pod_resources(pod), *(container.resources or NO_RESOURCES for _, container in pods.containers(pod))]
    sides = [dict(side or {}) for block in blocks for side in (block.requests, block.limits)]
    return [*sides, pod.spec.tolerations or []]
