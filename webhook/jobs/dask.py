"""The DaskJob of kubernetes.dask.org/v1: a runner, a scheduler, and workers, with the labels of the job.

Sources: dask-kubernetes `dask_kubernetes/operator/controller/controller.py`; for the command line of the workers,
Flyte's `plugins/k8s/dask/dask.go` (createWorkerSpec), which writes the limits into it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import field

from webhook.api.bounds import ContainerList, Replicas
from webhook.api.pod import Container, Pod, PodSpec
from webhook.api.quantity import Quantity, QuantityError, parse
from webhook.api.resource_list import EMPTY
from webhook.api.wire import Wire
from webhook.flyte.task import primary
from webhook.jobs.role import JobSpec, Role
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

CLUSTER_SPEC: Final = "/spec/cluster/spec"
# The arguments that Flyte makes of the limits of a worker; zero stands for all that the node has.
_OPTIONS: Final = {"--nthreads": "cpu", "--memory-limit": "memory"}


class _WithArguments(Container, frozen=True):
    args: list[str | None] | None = None


class _WorkerSpec(PodSpec, frozen=True):
    app_containers: ContainerList[_WithArguments] | None = field(default=None, name="containers")  # type: ignore[assignment]


class _Component(Wire, frozen=True):
    spec: PodSpec | None = None


class _Workers(Wire, frozen=True):
    replicas: Replicas | None = None
    spec: _WorkerSpec | None = None


class _ClusterSpec(Wire, frozen=True):
    scheduler: _Component | None = None
    worker: _Workers | None = None


class _Cluster(Wire, frozen=True):
    spec: _ClusterSpec | None = None


class DaskJob(JobSpec, frozen=True):
    """`spec` of a DaskJob; nothing suspends one."""

    job: _Component | None = None
    cluster: _Cluster | None = None

    def roles(self) -> Iterator[Role]:
        """Yield the runner, the scheduler, and the workers."""
        cluster = (self.cluster or _Cluster()).spec or _ClusterSpec()
        for name, component, at in (
            ("runner", self.job, "/spec/job"),
            ("scheduler", cluster.scheduler, f"{CLUSTER_SPEC}/scheduler"),
        ):
            if component and component.spec:
                yield Role(name, Pod(spec=component.spec), at)
        if cluster.worker and cluster.worker.spec:
            yield _workers(cluster.worker, cluster.worker.spec)


class _Worker(Role, frozen=True):
    """The workers, whose arguments say what their limits are."""

    container: str = ""  # the pointer in the Pod of the one that runs Dask
    options: Mapping[str, str] = {}  # by the pointer of the value in the object

    def consequences(self, after: Workload, changes: Sequence[Change]) -> Iterator[Change]:
        """Yield the arguments that allow more than a limit that has changed."""
        changed = {change.path for change in changes}
        limits = next((block.limits for block in after.blocks if block.pointer == self.container), EMPTY)
        for place, text in self.stated.items():
            name = _OPTIONS[self.options[place]]
            if f"{self.container}/resources/limits/{name}" in changed and (limit := limits.get(name)):
                most, stated = limit.round_up(0) if name == "cpu" else limit, _amount(text)
                if stated is not None and (stated > most or not stated):
                    why = f"{self.options[place]} over the limit {limit} of the container"
                    yield Change(place, text, str(most), "clamp", why)


def _workers(workers: _Workers, spec: _WorkerSpec) -> Role:
    pod, at = Pod(spec=spec), f"{CLUSTER_SPEC}/worker"
    count = 1 if workers.replicas is None else max(0, workers.replicas)
    container = primary(pod)
    args = _arguments(spec, int(container.rpartition("/")[2]))
    found = {f"{at}{container}/args/{index + 1}": (option, args[index + 1]) for index, option in _options(args)}
    unread = {option for option, text in found.values() if _amount(text) is None}
    unread |= {option for option in _OPTIONS if any(text.startswith(f"{option}=") for text in args)}
    return _Worker(
        "worker",
        pod,
        at,
        count=count,
        most=count,
        are_workers=True,
        container=container,
        options={place: option for place, (option, _) in found.items()},
        stated={place: text for place, (_, text) in found.items()},
        notes=tuple(
            f"the argument {option} stays as it is: it has not the form that Flyte writes" for option in sorted(unread)
        ),
    )


def _arguments(spec: _WorkerSpec, index: int) -> list[str]:
    """Return the arguments of the container; empty where there is no such container."""
    containers = spec.app_containers or []
    return [text or "" for text in (containers[index].args or [] if containers else [])]


def _options(args: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the index and name of each option that follows from the limits, and has a value."""
    return ((index, text) for index, text in enumerate(args[:-1]) if text in _OPTIONS)


def _amount(text: str | int) -> Quantity | None:
    try:
        return parse(str(text))
    except QuantityError:
        return None
