"""The JobSet of jobset.x-k8s.io/v1alpha2: Jobs, each of some Pods of one template.

Sources: jobset `api/jobset/v1alpha2/jobset_types.go`; for the Pods of a Job, kubernetes `pkg/controller/job`, which
runs no more of them at once than have to complete.
"""

from collections.abc import Iterator

from webhook.api.bounds import Replicas, RoleList, Text
from webhook.api.pod import PodTemplate
from webhook.api.wire import Wire
from webhook.jobs.role import JobSpec, Role


class _JobSpec(Wire, frozen=True):
    parallelism: Replicas | None = None
    completions: Replicas | None = None
    template: PodTemplate | None = None


class _JobTemplate(Wire, frozen=True):
    spec: _JobSpec | None = None


class _ReplicatedJob(Wire, frozen=True):
    name: Text | None = None
    replicas: Replicas | None = None
    template: _JobTemplate | None = None


class JobSet(JobSpec, frozen=True):
    """`spec` of a JobSet."""

    replicated_jobs: RoleList[_ReplicatedJob] | None = None

    def roles(self) -> Iterator[Role]:
        """Yield each of `replicatedJobs`."""
        return (_role(index, job) for index, job in enumerate(self.replicated_jobs or ()))


def _role(index: int, job: _ReplicatedJob) -> Role:
    spec = (job.template or _JobTemplate()).spec or _JobSpec()
    at_once = 1 if spec.parallelism is None else max(0, spec.parallelism)
    if spec.completions is not None:
        at_once = min(at_once, max(0, spec.completions))
    count = at_once * (1 if job.replicas is None else max(0, job.replicas))
    at = f"/spec/replicatedJobs/{index}/template/spec/template"
    pod = (spec.template or PodTemplate()).pod
    return Role(job.name or f"job {index}", pod, at, count=count, most=count, are_workers=True)
