"""Whose Pod it is: which Flyte made it, for which task of which project, and which of its containers runs that task.

Labels as Flyte writes them: v1 flytepropeller `pkg/compiler/transformers/k8s/workflow.go` and
`pkg/controller/nodes/node_exec_context.go`; v2 `executor/pkg/plugin/task_exec_metadata.go`.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from webhook.api.pod import ObjectMeta, Pod
from webhook.flyte.namespace import NamespaceMapping

Generation: TypeAlias = Literal[1, 2]
Labels: TypeAlias = Mapping[str, str | None]
# Whose labels are believed where the namespace does not tell project or domain: in Flyte 1 whoever launches a
# workflow can set them, in Flyte 2 the executor's own win.
Trust: TypeAlias = Literal["flyte2", "always", "never"]

PRIMARY_CONTAINER_NAME: Final = "primary_container_name"  # annotation of pod tasks, flytek8s/pod_helper.go
# Kinds of the owners that Flyte itself gives its Pods, in lower case; any other controlling owner is an operator's.
OWNERS: Final[Mapping[str, Generation]] = {"flyteworkflow": 1, "taskaction": 2}
# What runs the task in the Pods of Spark, Ray, Kubeflow, MPI and Dask, whatever containers are put before it.
OPERATORS_CONTAINERS: Final = (
    "spark-kubernetes-driver", "spark-kubernetes-executor", "ray-head", "ray-worker", "pytorch", "tensorflow", "mpi",
    "scheduler", "worker",
)  # fmt: skip


class Task(Struct, frozen=True, gc=False):
    """What is known of the task from the Pod's metadata and namespace; an empty text where nobody has said."""

    generation: Generation
    project: str = ""
    domain: str = ""
    workflow: str = ""  # Flyte 1 only, as in the label: sanitised
    name: str = ""  # of the task, as in the label: sanitised
    primary: str = "/spec/containers/0"  # JSON Pointer of the container that runs the task
    operated: bool = False  # whether an operator made the Pod, on Flyte's behalf
    interruptible: bool = False


class Identification(Struct, frozen=True):
    """How project and domain are told: by the namespace, and by labels as far as they are trusted."""

    namespaces: NamespaceMapping = NamespaceMapping()
    labels: Trust = "flyte2"


def identify(pod: Pod, namespace: str, how: Identification) -> Task | None:
    """The Flyte task that the Pod belongs to; None for any other Pod."""
    labels: Labels = pod.metadata.labels or {}
    by_labels = _generation(labels)
    if by_labels is None:
        return None
    owner = _owner(pod.metadata)
    made_by = OWNERS.get(owner, by_labels)  # an owner of Flyte's own settles it
    project, domain = _whose(labels, namespace, how, made_by)
    return Task(
        generation=made_by,
        project=project,
        domain=domain,
        workflow=labels.get("workflow-name") or "",
        name=labels.get("task-name") or "",
        primary=_primary(pod),
        operated=bool(owner) and owner not in OWNERS,
        interruptible=labels.get("interruptible") == "true",
    )


def of_namespace(namespace: str, how: Identification) -> Task:
    """Return what the namespace alone says of a task: its project and domain."""
    project, domain = how.namespaces.read(namespace)
    return Task(generation=1, project=project, domain=domain)


def is_flytes(pod: Pod) -> bool:
    """Whether the Pod is one that we decide about."""
    return _generation(pod.metadata.labels or {}) is not None


def _generation(labels: Labels) -> Generation | None:
    """Which Flyte made a Pod with these labels, None for neither."""
    if "flyte.org/run" in labels or labels.get("flyte.org/managed") == "true":
        return 2
    return 1 if "execution-id" in labels else None


def _owner(metadata: ObjectMeta) -> str:
    """The kind of the controlling owner in lower case; empty without one."""
    for owner in metadata.owner_references or ():
        if owner.controller and owner.kind:
            return owner.kind.lower()
    return ""


def _whose(labels: Labels, namespace: str, how: Identification, made_by: Generation) -> tuple[str, str]:
    """Project and domain."""
    project, domain = how.namespaces.read(namespace)
    # A namespace that tells one of them is Flyte 1's, and so may be a Pod of an operator's with labels of Flyte 2.
    trusted = how.labels == "flyte2" and made_by == 2 and not (project or domain)
    if trusted or how.labels == "always":
        # Those under flyte.org/ no run label can replace; the executor has had the others since 2.0.14 only.
        project = project or labels.get("flyte.org/project") or labels.get("project") or ""
        domain = domain or labels.get("flyte.org/domain") or labels.get("domain") or ""
    return project, domain


def _primary(pod: Pod) -> str:
    """By the annotation of pod tasks, else by its name: that of the Pod, `primary`, an operator's; else the first."""
    containers, metadata = pod.spec.containers, pod.metadata
    if len(containers) > 1:
        names = [container.name for container in containers]
        asked = (metadata.annotations or {}).get(PRIMARY_CONTAINER_NAME)
        for name in (asked, metadata.name, "primary", *OPERATORS_CONTAINERS):
            if name and name in names:
                return f"/spec/containers/{names.index(name)}"
    return "/spec/containers/0"


def label_value(name: str, made_by: Generation) -> str:
    """What each Flyte makes of the name of a workflow or task to use it as the value of a label.

    v1 flytepropeller `pkg/utils/k8s.go`, v2 flyteplugins `utils/labels.go`.
    """
    if made_by == 1:
        return re.sub("[^-a-z0-9]+", "-", name.lower())[:63].strip("-")
    value = re.sub("[^A-Za-z0-9._-]", "-", name)[:63]
    return re.sub("^[^A-Za-z0-9]|[^A-Za-z0-9]$", "x", value)
