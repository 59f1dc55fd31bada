"""Distributed jobs: one small adapter a kind, from the object that Flyte creates to roles and back.

An adapter is pure: it says how many Pods the kind's operator makes of which template, what the operator adds to them,
and where in the object a change of a Pod stands. Whatever decides about the roles is the same code as for Pods.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from msgspec import Raw

from webhook.jobs import jobset, kubeflow, ray
from webhook.jobs.role import Job


class Kind(NamedTuple):
    """A kind of job: its name, and its decoder, which raises msgspec.DecodeError."""

    name: str
    decode: Callable[[Raw], Job]


# By API group and resource.
KINDS: Final[Mapping[tuple[str, str], Kind]] = {
    ("ray.io", "rayjobs"): Kind("RayJob", ray.decode),
    ("kubeflow.org", "pytorchjobs"): Kind("PyTorchJob", kubeflow.pytorch),
    ("kubeflow.org", "tfjobs"): Kind("TFJob", kubeflow.tensorflow),
    ("kubeflow.org", "mpijobs"): Kind("MPIJob", kubeflow.mpi),
    ("jobset.x-k8s.io", "jobsets"): Kind("JobSet", jobset.decode),
}
