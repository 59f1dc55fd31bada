"""The Pods and jobs of Flyte's that run, among all objects of a cluster."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from webhook.admission.decide import task_of
from webhook.admission.wire import Request
from webhook.api.pod import Pod
from webhook.flyte.task import Identification, Task
from webhook.offline.manifests import Manifest
from webhook.offline.review import as_it_runs, request_of
from webhook.policy.yaml_text import ProblemsError


@dataclass(frozen=True, slots=True)
class RunningPod:
    """A Pod or job of Flyte's that runs: its creation as a request."""

    request: Request
    task: Task
    created: str  # RFC 3339
    pod: Pod | None  # as it runs, with its status; None for a job


@dataclass(slots=True)
class Running:
    """Those Pods in the order in which they were created, and how many others there are."""

    pods: list[RunningPod] = field(default_factory=list)
    ended: int = 0
    others: int = 0  # that are not Flyte's, or derived from a job
    problems: list[str] = field(default_factory=list)  # of those that cannot be read


def running(manifests: Iterable[Manifest], how: Identification) -> Running:
    """Return the Pods and jobs that run, by the namespaces and labels of `how`."""
    found = Running()
    for manifest in manifests:
        try:
            request = request_of(manifest)[0]
            pod = as_it_runs(manifest) if request.pod else None
        except ProblemsError as error:
            found.problems.append(str(error))
            continue
        task = task_of(request, how)
        if task is None:
            found.others += 1
        elif manifest.has_ended:
            found.ended += 1
        else:
            created = str(manifest.data["metadata"].get("creationTimestamp") or "")
            found.pods.append(RunningPod(request, task, created, pod))
    found.pods.sort(key=lambda each: each.created)
    return found
