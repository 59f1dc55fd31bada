"""The Flyte task that a Pod belongs to: its generation of Flyte, project, domain, and primary container.

Sources for the labels: v1 flytepropeller `pkg/compiler/transformers/k8s/workflow.go` and
`pkg/controller/nodes/node_exec_context.go`; v2 `executor/pkg/plugin/task_exec_metadata.go`.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from webhook.api.pod import ObjectMeta, Pod
from webhook.flyte.namespace import NamespacePattern

Generation: TypeAlias = Literal[1, 2]
Labels: TypeAlias = Mapping[str, str | None]
# Which labels are trusted where the namespace does not contain project or domain: in Flyte 1 anyone who launches a
# workflow can set them, in Flyte 2 those of the executor win.
LabelTrust: TypeAlias = Literal["flyte2", "always", "never"]

PRIMARY_CONTAINER_NAME: Final = "primary_container_name"  # annotation of pod tasks, flytek8s/pod_helper.go
# Kinds of the owners that Flyte itself gives its Pods, in lower case; any other controlling owner is an operator's.
OWNERS: Final[Mapping[str, Generation]] = {"flyteworkflow": 1, "taskaction": 2}
# The containers that run the task in Pods of Spark, Ray, Kubeflow, MPI and Dask; others may stand before them.
OPERATOR_CONTAINERS: Final = (
    "spark-kubernetes-driver", "spark-kubernetes-executor", "ray-head", "ray-worker", "pytorch", "tensorflow", "mpi",
    "dask-worker", "scheduler", "job-runner", "worker",
)  # fmt: skip

MAX_LABEL_LENGTH: Final = 63  # characters
MAX_MAP_BEGINNING: Final = MAX_LABEL_LENGTH - len("-") - 8  # so that eight digits of a map task's hash are left
# The label of an element of a map task, in full or cut within the hash; before `-arraynode` there was nothing there.
_MAP_ELEMENT: Final = re.compile(r"(.+)-[0-9a-f]{32}(?:-[a-z]*)?|(?=.{63}$)(.+)-[0-9a-f]{8,31}")


class Task(Struct, frozen=True, gc=False):
    """The task as the Pod's metadata and namespace describe it; a text is empty where unknown."""

    generation: Generation
    project: str = ""
    domain: str = ""
    workflow: str = ""  # Flyte 1 only, as in the label: sanitised
    name: str = ""  # of the task, as in the label: sanitised
    primary: str = "/spec/containers/0"  # JSON Pointer of the container that runs the task
    operated: bool = False  # whether an operator made the Pod on behalf of Flyte
    interruptible: bool = False


class Identification(Struct, frozen=True):
    """The sources of project and domain: the namespace, and labels where they are trusted."""

    namespaces: NamespacePattern = NamespacePattern()
    labels: LabelTrust = "flyte2"


def identify(pod: Pod, namespace: str, how: Identification) -> Task | None:
    """Return the Flyte task that the Pod belongs to; None for any other Pod."""
    labels: Labels = pod.metadata.labels or {}
    by_labels = _generation(labels)
    if by_labels is None:
        return None
    owner = _owner(pod.metadata)
    made_by = OWNERS.get(owner, by_labels)  # Flyte's own owner reference decides
    project, domain = _project_and_domain(labels, namespace, how, made_by)
    return Task(
        generation=made_by,
        project=project,
        domain=domain,
        workflow=labels.get("workflow-name") or "",
        name=labels.get("task-name") or "",
        primary=primary(pod),
        operated=bool(owner) and owner not in OWNERS,
        interruptible=labels.get("interruptible") == "true",
    )


def task_of_namespace(namespace: str, how: Identification) -> Task:
    """Return the task as far as the namespace alone describes it: project and domain."""
    project, domain = how.namespaces.read(namespace)
    return Task(generation=1, project=project, domain=domain)


def is_flytes(metadata: ObjectMeta) -> bool:
    """Return whether Flyte made the object, or an operator on its behalf, by its labels."""
    return _generation(metadata.labels or {}) is not None


def _generation(labels: Labels) -> Generation | None:
    if "flyte.org/run" in labels or labels.get("flyte.org/managed") == "true":
        return 2
    return 1 if "execution-id" in labels else None


def _owner(metadata: ObjectMeta) -> str:
    """Return the kind of the controlling owner in lower case; empty without one."""
    for owner in metadata.owner_references or ():
        if owner.controller and owner.kind:
            return owner.kind.lower()
    return ""


def _project_and_domain(labels: Labels, namespace: str, how: Identification, made_by: Generation) -> tuple[str, str]:
    project, domain = how.namespaces.read(namespace)
    # A namespace that contains one of them belongs to Flyte 1, even if an operator's Pod in it has labels of Flyte 2.
    trusted = how.labels == "flyte2" and made_by == 2 and not (project or domain)
    if trusted or how.labels == "always":
        # No run label can replace those under flyte.org/; the executor sets the others only since 2.0.14.
        project = project or labels.get("flyte.org/project") or labels.get("project") or ""
        domain = domain or labels.get("flyte.org/domain") or labels.get("domain") or ""
    return project, domain


def primary(pod: Pod) -> str:
    """Return the pointer of the container that runs the task.

    Find it by the annotation of pod tasks, else by name (Pod, `primary`, operator's), else take the first.
    """
    containers, metadata = pod.spec.containers, pod.metadata
    if len(containers) > 1:
        names = [container.name for container in containers]
        annotated = (metadata.annotations or {}).get(PRIMARY_CONTAINER_NAME)
        for name in (annotated, metadata.name, "primary", *OPERATOR_CONTAINERS):
            if name and name in names:
                return f"/spec/containers/{names.index(name)}"
    return "/spec/containers/0"


def label_value(name: str, made_by: Generation) -> str:
    """Return the label value that this generation of Flyte makes of the name of a workflow or task.

    Sources: v1 flytepropeller `pkg/utils/k8s.go`, v2 flyteplugins `utils/labels.go`.
    """
    if made_by == 1:
        return re.sub("[^-a-z0-9]+", "-", name.lower())[:MAX_LABEL_LENGTH].strip("-")
    value = re.sub("[^A-Za-z0-9._-]", "-", name)[:MAX_LABEL_LENGTH]
    return re.sub("^[^A-Za-z0-9]|[^A-Za-z0-9]$", "x", value)


def map_elements_label(name: str) -> str:
    """Return the label of the elements of map tasks of this task in Flyte 1, with `*` for what differs among them.

    flytekit names a map task of `module.function` `module.map_function_HASH-arraynode`, with 32 digits for HASH
    (`core/array_node_map_task.py`), and the label is cut after 63 characters. Empty where that leaves too little of the
    hash to tell the task from others.
    """
    module, _, function = name.rpartition(".")
    beginning = label_value(f"{module}.map_{function}", 1)
    return f"{beginning}-*" if len(beginning) <= MAX_MAP_BEGINNING else ""


def without_hash(label: str) -> str:
    """Return the label of an element of a map task as `map_elements_label` has it; any other label as it is."""
    element = _MAP_ELEMENT.fullmatch(label) if len(label) <= MAX_LABEL_LENGTH else None
    return f"{element[1] or element[2]}-*" if element else label
