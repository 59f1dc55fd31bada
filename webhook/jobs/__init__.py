"""Distributed jobs: one small adapter a kind, from the object that Flyte creates to roles and back.

An adapter is pure: it says how many Pods the kind's operator makes of which template, what the operator adds to them,
and where in the object a change of a Pod stands. Whatever decides about the roles is the same code as for Pods.
"""

from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from webhook.api.pod import ObjectMeta
from webhook.api.resources import decode_hook
from webhook.api.wire import Wire
from webhook.jobs import dask, jobset, kubeflow, ray, spark
from webhook.jobs.role import Job, JobSpec

S = TypeVar("S", bound=JobSpec)


class Kind(NamedTuple):
    """A kind of job: its name, the version of its API, and its decoder, which raises msgspec.DecodeError."""

    name: str
    version: str
    decode: Callable[[Raw], Job]


class _Object(Wire, Generic[S], frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: S | None = None


def _kind(name: str, version: str, spec: type[JobSpec]) -> Kind:
    decode = msgspec.json.Decoder(_Object[spec], dec_hook=decode_hook, float_hook=str).decode  # type: ignore[valid-type]

    def decoded(data: Raw) -> Job:
        found = decode(data)
        of_kind = found.spec or spec()
        return Job(found.metadata, tuple(of_kind.roles()), of_kind.is_suspended)

    return Kind(name, version, decoded)


# By API group and resource.
KINDS: Final[Mapping[tuple[str, str], Kind]] = {
    ("ray.io", "rayjobs"): _kind("RayJob", "v1", ray.RayJob),
    ("sparkoperator.k8s.io", "sparkapplications"): _kind("SparkApplication", "v1beta2", spark.SparkApplication),
    ("kubernetes.dask.org", "daskjobs"): _kind("DaskJob", "v1", dask.DaskJob),
    ("kubeflow.org", "pytorchjobs"): _kind("PyTorchJob", "v1", kubeflow.PyTorchJob),
    ("kubeflow.org", "tfjobs"): _kind("TFJob", "v1", kubeflow.TFJob),
    ("kubeflow.org", "mpijobs"): _kind("MPIJob", "v1", kubeflow.MPIJob),
    ("jobset.x-k8s.io", "jobsets"): _kind("JobSet", "v1alpha2", jobset.JobSet),
}
