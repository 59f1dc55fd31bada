"""PyTorchJob, TFJob, and MPIJob of kubeflow.org/v1, as the training operator makes Pods of them.

Sources: training-operator `pkg/controller.v1/common/pod.go`, `pytorch/initcontainer.go`, `mpi/mpijob_controller.go`,
and the defaults in `pkg/apis/kubeflow.org/v1`. Each kind has a map of replica types, such as Master and Worker.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, TypeAlias

from msgspec import Meta
from msgspec.structs import replace

from webhook.api import bounds
from webhook.api.bounds import Replicas, Text
from webhook.api.patch import escape
from webhook.api.pod import Container, PodTemplate
from webhook.api.wire import Wire
from webhook.jobs.role import JobSpec, Role, block_of

# The operator's own init containers: of a PyTorchJob's workers that have a master, and of an MPIJob's launcher.
_WAITS_FOR_MASTER: Final = Container(
    "init-pytorch", block_of({"cpu": "50m", "memory": "10Mi"}, {"cpu": "100m", "memory": "20Mi"})
)
_BRINGS_KUBECTL: Final = Container(
    "kubectl-delivery", block_of(*[{"cpu": "100m", "memory": "512Mi", "ephemeral-storage": "5Gi"}] * 2)
)
# The replica types of which a job has one; the operator takes their names in any case, but those of an MPIJob.
SINGLE: Final = frozenset({"master", "launcher", "chief"})


class _Replica(Wire, frozen=True):
    replicas: Replicas | None = None
    template: PodTemplate | None = None


ReplicaSpecs: TypeAlias = Annotated[dict[Text, _Replica | None], Meta(max_length=bounds.ROLES)]


class _Elastic(Wire, frozen=True):
    min_replicas: Replicas | None = None
    max_replicas: Replicas | None = None


class _RunPolicy(Wire, frozen=True):
    suspend: bool | None = None


class _KubeflowJob(JobSpec, frozen=True):
    run_policy: _RunPolicy | None = None

    @property
    def is_suspended(self) -> bool:
        """Whether the job waits until somebody lets it start."""
        return bool(self.run_policy and self.run_policy.suspend)


class PyTorchJob(_KubeflowJob, frozen=True):
    """`spec` of a PyTorchJob."""

    pytorch_replica_specs: ReplicaSpecs | None = None
    elastic_policy: _Elastic | None = None

    def roles(self) -> Iterator[Role]:
        """Yield the replica types."""
        specs, elastic = self.pytorch_replica_specs or {}, self.elastic_policy
        roles = [*_roles("/spec/pytorchReplicaSpecs", specs)]
        has_master = any(role.name == "master" for role in roles)
        for role in roles:
            if role.name == "worker":
                found = _with_init(role, _WAITS_FOR_MASTER) if has_master else role
                yield _in_range(found, elastic) if elastic else found
            else:
                yield role


class TFJob(_KubeflowJob, frozen=True):
    """`spec` of a TFJob."""

    tf_replica_specs: ReplicaSpecs | None = None

    def roles(self) -> Iterator[Role]:
        """Yield the replica types."""
        return _roles("/spec/tfReplicaSpecs", self.tf_replica_specs or {})


class MPIJob(_KubeflowJob, frozen=True):
    """`spec` of an MPIJob."""

    mpi_replica_specs: ReplicaSpecs | None = None

    def roles(self) -> Iterator[Role]:
        """Yield the launcher and the workers; the operator makes Pods of no other replica type."""
        specs = self.mpi_replica_specs or {}
        known = {name: spec for name, spec in specs.items() if name in ("Launcher", "Worker")}
        for role in _roles("/spec/mpiReplicaSpecs", known, {"Worker": 0}):
            yield _as_launcher(role) if role.name == "launcher" else role


def _roles(at: str, specs: Mapping[str, _Replica | None], defaults: Mapping[str, int] | None = None) -> Iterator[Role]:
    """Yield the replica types, each with its replicas: by default one."""
    for name, spec in specs.items():
        if spec is not None:
            count = (defaults or {}).get(name, 1) if spec.replicas is None else max(0, spec.replicas)
            pod, place = (spec.template or PodTemplate()).pod, f"{at}/{escape(name)}/template"
            role = name.lower() or "unnamed"
            yield Role(role, pod, place, count=count, most=count, are_workers=role not in SINGLE)


def _with_init(role: Role, init: Container) -> Role:
    """Return the role with an init container that the operator adds behind those of the template."""
    spec = role.pod.spec
    inits = spec.init_containers or []
    pod = replace(role.pod, spec=replace(spec, init_containers=[*inits, init]))
    return replace(role, pod=pod, added=frozenset({f"/spec/initContainers/{len(inits)}"}))


def _as_launcher(role: Role) -> Role:
    return _with_init(replace(role, count=1, most=1), _BRINGS_KUBECTL)


def _in_range(role: Role, elastic: _Elastic) -> Role:
    """Return the workers with the fewest that the job runs with, and the most."""
    least, most = (role.count if it is None else max(0, it) for it in (elastic.min_replicas, elastic.max_replicas))
    return replace(role, count=min(role.count, least), most=max(role.count, most))
