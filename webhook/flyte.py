"""Whose Pod it is: which Flyte made it, for which task, and which of its containers runs that task.

Labels as Flyte writes them: v1 flytepropeller `pkg/compiler/transformers/k8s/workflow.go` and
`pkg/controller/nodes/node_exec_context.go`; v2 `executor/pkg/plugin/task_exec_metadata.go`.
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from webhook.pod import ObjectMeta, Pod

Generation: TypeAlias = Literal[1, 2]

PRIMARY_CONTAINER_NAME: Final = "primary_container_name"  # annotation of pod tasks, flytek8s/pod_helper.go


class Task(Struct, frozen=True, gc=False):
    """What is known of the task from the Pod's metadata; an empty text where Flyte has not said."""

    generation: Generation
    project: str
    domain: str
    name: str
    primary: str  # JSON Pointer of the container that runs the task


def identify(pod: Pod) -> Task | None:
    """The Flyte task that the Pod belongs to; None for any other Pod."""
    labels = pod.metadata.labels or {}
    generation = _generation(labels)
    if generation is None:
        return None
    return Task(
        generation=generation,
        project=labels.get("project") or labels.get("flyte.org/project") or "",
        domain=labels.get("domain") or labels.get("flyte.org/domain") or "",
        name=labels.get("task-name") or "",
        primary=_primary(pod.metadata, pod),
    )


def _generation(labels: dict[str, str | None]) -> Generation | None:
    if "flyte.org/run" in labels or labels.get("flyte.org/managed") == "true":
        return 2
    return 1 if "execution-id" in labels else None


def _primary(metadata: ObjectMeta, pod: Pod) -> str:
    """By the annotation of pod tasks, else named like the Pod (container tasks) or `primary`, else the first."""
    names = [container.name for container in pod.spec.containers]
    for name in ((metadata.annotations or {}).get(PRIMARY_CONTAINER_NAME), metadata.name, "primary"):
        if name and name in names:
            return f"/spec/containers/{names.index(name)}"
    return "/spec/containers/0"
