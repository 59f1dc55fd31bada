"""The JobSet of jobset.x-k8s.io/v1alpha2: Jobs, each of some Pods of one template.

Sources: jobset `api/jobset/v1alpha2/jobset_types.go`; for the Pods of a Job, kubernetes `pkg/controller/job`, which
runs no more of them at once than have to complete.
"""

from typing import Final

import msgspec
from msgspec import Raw

from webhook.api.bounds import Replicas, RoleList, Text
from webhook.api.pod import ObjectMeta, PodTemplate
from webhook.api.resources import decode_hook
from webhook.api.wire import Wire
from webhook.jobs.role import Job, Role


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


class _Spec(Wire, frozen=True):
    replicated_jobs: RoleList[_ReplicatedJob] | None = None
    suspend: bool | None = None


class _JobSet(Wire, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: _Spec = _Spec()


_decode: Final = msgspec.json.Decoder(_JobSet, dec_hook=decode_hook, float_hook=str).decode


def decode(data: Raw) -> Job:
    """Decode a JobSet; msgspec.DecodeError says what is wrong with it."""
    found = _decode(data)
    roles = tuple(_role(index, job) for index, job in enumerate(found.spec.replicated_jobs or ()))
    return Job("JobSet", found.metadata, roles, bool(found.spec.suspend))


def _role(index: int, job: _ReplicatedJob) -> Role:
    spec = (job.template or _JobTemplate()).spec or _JobSpec()
    at_once = 1 if spec.parallelism is None else max(0, spec.parallelism)
    if spec.completions is not None:
        at_once = min(at_once, max(0, spec.completions))
    count = at_once * (1 if job.replicas is None else max(0, job.replicas))
    at = f"/spec/replicatedJobs/{index}/template/spec/template"
    pod = (spec.template or PodTemplate()).pod
    return Role(job.name or f"job {index}", pod, at, count=count, most=count, are_workers=True)
