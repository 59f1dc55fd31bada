"""The RayJob of ray.io/v1, as KubeRay makes Pods of it.

Sources: ray-operator `controllers/ray/common/pod.go` and `job.go`, `controllers/ray/utils/util.go`,
`controllers/ray/rayjob_controller.go`. KubeRay derives `ray start --num-cpus --memory --num-gpus` from
the limits of the first container where `rayStartParams` does not state them. What is stated there is lowered with the
limits.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from webhook.api import bounds
from webhook.api.bounds import AmountMap, Replicas, RoleList, Text
from webhook.api.patch import escape, unescape
from webhook.api.pod import Container, Pod, PodSpec, PodTemplate
from webhook.api.quantity import NANO, Quantity, QuantityError, parse
from webhook.api.resource_list import ResourceList
from webhook.api.resources import Resources, absent
from webhook.api.wire import Wire
from webhook.jobs.role import JobSpec, Role, Stated, block_of
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

CLUSTER: Final = "/spec/rayClusterSpec"
AUTOSCALER: Final = f"{CLUSTER}/autoscalerOptions"
NAMED_AUTOSCALER: Final = "/spec/containers/autoscaler"  # in a record, which has containers by name
_GPU: Final = re.compile(r".*gpu|.*nvidia\.com/mig-\d+g\.\d+gb")  # IsGPUResourceKey


# KubeRay's own containers: BuildAutoscalerContainer, DefaultWorkerPodTemplate, GetDefaultSubmitterContainer.
_OF_AUTOSCALER: Final = block_of(*[{"cpu": "500m", "memory": "512Mi"}] * 2)
_WAITS_FOR_HEAD: Final = Container("wait-gcs-ready", block_of(*[{"cpu": "200m", "memory": "256Mi"}] * 2))
_SUBMITTER: Final = Container(
    "ray-job-submitter", block_of({"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "1Gi"})
)


class _Group(Wire, frozen=True):
    """`headGroupSpec`, or one of `workerGroupSpecs`."""

    group_name: Text | None = None
    template: PodTemplate | None = None
    ray_start_params: AmountMap[str | None] | None = None
    resources: AmountMap[str | None] | None = None
    replicas: Replicas | None = None
    min_replicas: Replicas | None = None
    max_replicas: Replicas | None = None
    num_of_hosts: Replicas | None = None
    suspend: bool | None = None


class _Autoscaler(Wire, frozen=True):
    resources: Resources | None = None


class _Cluster(Wire, frozen=True):
    head_group_spec: _Group | None = None
    worker_group_specs: RoleList[_Group] | None = None
    enable_in_tree_autoscaling: bool | None = None
    autoscaler_options: _Autoscaler | None = None


class RayJob(JobSpec, frozen=True):
    """`spec` of a RayJob."""

    ray_cluster_spec: _Cluster | None = None
    cluster_selector: dict[str, str | None] | None = None
    submission_mode: Text | None = None
    submitter_pod_template: PodTemplate | None = None

    def roles(self) -> Iterator[Role]:
        """Yield the head, each group of workers, and the submitter; of another's cluster, only the submitter."""
        if (cluster := self.ray_cluster_spec) and not self.cluster_selector:
            yield _head(cluster, self.submission_mode)
            for index, group in enumerate(cluster.worker_group_specs or ()):
                yield _workers(group, index, is_elastic=bool(cluster.enable_in_tree_autoscaling))
        if self.submission_mode in (None, "", "K8sJobMode"):
            if template := self.submitter_pod_template:
                yield Role("submitter", template.pod, "/spec/submitterPodTemplate")
            else:
                yield Role("submitter", Pod(spec=PodSpec([_SUBMITTER])), is_ours=False)


class _Node(Role, frozen=True):
    """The head, or a group of workers; its first container runs Ray."""

    autoscaler: str = ""  # the pointer of its container in the Pod
    options: _Autoscaler | None = None

    @property
    def fixed(self) -> frozenset[str]:
        """All that is added but the autoscaler, which has options."""
        return self.added - {self.autoscaler}

    def absent(self, before: Workload) -> Collection[str]:
        """Return the parents in the template, and in the options of the autoscaler."""
        found = set(super().absent(before))
        if self.autoscaler:
            found.update(absent(AUTOSCALER, self.options.resources if self.options else None))
        if self.autoscaler and self.options is None:
            found.add(AUTOSCALER)
        return found

    def in_object(self, path: str) -> str:
        """Return the place in the options of the autoscaler, or in the template."""
        for container in (self.autoscaler, NAMED_AUTOSCALER) if self.autoscaler else ():
            if path.startswith(f"{container}/resources/"):
                return path.replace(container, AUTOSCALER, 1)
        return super().in_object(path)

    def in_pod(self, path: str) -> str:
        """Return the place in the Pod, of which the autoscaler is a container."""
        if self.autoscaler and path.startswith(f"{AUTOSCALER}/resources/"):
            return path.replace(AUTOSCALER, NAMED_AUTOSCALER, 1)
        return super().in_pod(path)

    def beside(self, after: Workload, written: Sequence[Change]) -> Iterator[Change]:
        """Yield what else the options of the autoscaler have to state: once they do, all of KubeRay's own is gone."""
        paths = {change.path for change in written}
        is_stated = self.options and self.options.resources
        if is_stated or not any(path.startswith(f"{AUTOSCALER}/resources/") for path in paths):
            return
        (block,) = (block for block in after.blocks if block.pointer == self.autoscaler)
        for side, amounts in (("requests", block.requests), ("limits", block.limits)):
            for name, value in amounts.items():
                path = f"{AUTOSCALER}/resources/{side}/{escape(name)}"
                if path not in paths:
                    yield Change(path, str(value), str(value), "fill", "KubeRay's own")

    def consequences(self, after: Workload, changes: Sequence[Change]) -> Iterator[Change]:
        """Yield the resources that Ray gets as parameters, where they are above a limit that has changed."""
        first = "/spec/containers/0"
        changed = {change.path for change in changes}
        limits = next((block.limits for block in after.blocks if block.pointer == first), {})
        known = {name: limit for name, limit in limits.items() if f"{first}/resources/limits/{escape(name)}" in changed}
        params = dict(_parameters(known))
        for path, text in self.stated.items():
            parent, _, name = path.rpartition("/")
            is_param = parent.endswith("/rayStartParams")
            limit = params.get(name) if is_param else _limit_of(unescape(name).lower(), known, params)
            if limit is not None and _is_over(str(text), limit):
                value = str(-(-limit.nano // NANO)) if is_param else str(limit)
                yield Change(path, text, value, "clamp", f"over the limit {limit} of the container")


def _stated(group: _Group, at: str) -> Stated:
    """Return what the group states of the resources of Ray: `resources` override `rayStartParams`."""
    sides = {"rayStartParams": group.ray_start_params, "resources": group.resources}
    return {
        f"{at}/{side}/{escape(name)}": text
        for side, texts in sides.items()
        for name, text in (texts or {}).items()
        if text
    }


def _parameters(limits: ResourceList) -> Iterator[tuple[str, Quantity]]:
    """Yield the parameters of `ray start` that follow from the limits (generateRayStartCommand)."""
    gpus = [name for name in sorted(limits) if _GPU.fullmatch(name) and limits[name]]
    for param, name in (("num-cpus", "cpu"), ("memory", "memory"), *(("num-gpus", gpu) for gpu in gpus[:1])):
        if limits.get(name):
            yield param, limits[name]


def _limit_of(name: str, limits: ResourceList, params: Mapping[str, Quantity]) -> Quantity | None:
    """Return the limit of what a name in `resources` stands for (updateRayStartParamsResources); None for no limit.

    Any name of a GPU stands for the first kind of GPU, but where it has a limit of its own.
    """
    return limits.get(name) or params.get("num-gpus" if _GPU.fullmatch(name) else name)


def _is_over(text: str, limit: Quantity) -> bool:
    try:
        return parse(text) > limit.round_up(0)
    except QuantityError:
        return False


def _head(cluster: _Cluster, submission_mode: str | None) -> Role:
    group, options = cluster.head_group_spec or _Group(), cluster.autoscaler_options
    pod, autoscaler = (group.template or PodTemplate()).pod, ""
    added = [_SUBMITTER] if submission_mode == "SidecarMode" else []
    if cluster.enable_in_tree_autoscaling:
        autoscaler = f"/spec/containers/{len(pod.spec.containers) + len(added)}"
        added.append(Container("autoscaler", (options and options.resources) or _OF_AUTOSCALER))
    return _Node(
        "head",
        replace(pod, spec=replace(pod.spec, app_containers=[*pod.spec.containers, *added])),
        f"{CLUSTER}/headGroupSpec/template",
        added=_pointers("containers", len(pod.spec.containers), len(added)),
        stated=_stated(group, f"{CLUSTER}/headGroupSpec"),
        autoscaler=autoscaler,
        options=options,
    )


def _workers(group: _Group, index: int, *, is_elastic: bool) -> Role:
    pod, hosts = (group.template or PodTemplate()).pod, 1 if group.num_of_hosts is None else group.num_of_hosts
    inits = pod.spec.init_containers or []
    count, least, most = (max(0, replicas * hosts) for replicas in _replicas(group))
    at = f"{CLUSTER}/workerGroupSpecs/{index}"
    return _Node(
        group.group_name or f"workers {index}",
        replace(pod, spec=replace(pod.spec, init_containers=[*inits, _WAITS_FOR_HEAD])),
        f"{at}/template",
        count=least if is_elastic else count,
        most=most if is_elastic else count,
        are_workers=True,
        added=_pointers("initContainers", len(inits), 1),
        stated=_stated(group, at),
    )


def _replicas(group: _Group) -> tuple[int, int, int]:
    """Return the replicas at the start, the least, and the most (GetWorkerGroupDesiredReplicas)."""
    if group.suspend:
        return 0, 0, 0
    most = bounds.REPLICAS if group.max_replicas is None else group.max_replicas
    least = min(group.min_replicas or 0, most)
    return min(max(group.replicas or 0, least), most), least, most


def _pointers(field: str, start: int, count: int) -> frozenset[str]:
    return frozenset(f"/spec/{field}/{start + index}" for index in range(count))
