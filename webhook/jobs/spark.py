"""The SparkApplication of sparkoperator.k8s.io/v1beta2, as the Spark operator and Spark itself make Pods of it.

Sources: spark-operator `internal/controller/sparkapplication/submission.go`, `internal/webhook/sparkpod_defaulter.go`,
`api/v1beta2/defaults.go`; spark `BasicDriverFeatureStep.scala`, `BasicExecutorFeatureStep.scala`,
`KubernetesUtils.scala`. A field of the driver or executor is stronger than its key in `sparkConf`; Flyte writes both.
Flyte 2 may write a template too: then the Pods are made of that, and of what Spark itself reads.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from webhook.api import bounds
from webhook.api.bounds import ContainerList, Replicas, Text, TolerationList
from webhook.api.patch import escape, unescape
from webhook.api.pod import Affinity, Container, ObjectMeta, Pod, PodSpec, PodTemplate, Toleration, with_resources
from webhook.api.quantity import NANO, Quantity, QuantityError, parse
from webhook.api.resources import Resources, absent
from webhook.api.wire import Wire
from webhook.jobs import heap
from webhook.jobs.heap import Memory, mebibytes
from webhook.jobs.role import JobSpec, Role, undone
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload

CONF: Final = "/spec/sparkConf/"
DRIVER_AND_EXECUTOR: Final = ("driver", "executor")
_PYTHON: Final = f"{CONF}spark.executor.pyspark.memory"  # of executors of Python
_OFF_HEAP: Final = f"{CONF}spark.memory.offHeap.size"  # of executors, where it is enabled
_DEVICE: Final = re.compile(r"(?P<name>[^.]+)\.amount")  # behind spark.driver.resource.
_OF_JVM: Final = re.compile(r"(.*)([kmgtp])b?")  # ConvertJavaMemoryStringToK8sMemoryString
_MEMORY: Final = ("heap", "overhead", "python", "off-heap")


def _places(side: str) -> Mapping[str, tuple[str, ...]]:
    """Return where each amount of the driver or executor stands, the strongest place first."""
    at, own, kubernetes = f"/spec/{side}", f"{CONF}spark.{side}", f"{CONF}spark.kubernetes.{side}"
    return {
        "cores": (f"{at}/cores", f"{own}.cores"),
        "request": (f"{at}/coreRequest", f"{kubernetes}.request.cores"),
        "limit": (f"{at}/coreLimit", f"{kubernetes}.limit.cores"),
        "heap": (f"{at}/memory", f"{own}.memory"),
        "most": (f"{at}/memoryLimit",),
        "overhead": (f"{at}/memoryOverhead", f"{own}.memoryOverhead"),
        "python": (_PYTHON,),
        "off-heap": (_OFF_HEAP,),
    }


def _fields(side: str) -> tuple[tuple[str, str], ...]:
    """Return where parts of a Pod without a template stand in the object."""
    parts = (("containers/", "sidecars/"), ("initContainers/", "initContainers/"), ("tolerations", "tolerations"))
    return tuple((f"/spec/{part}", f"/spec/{side}/{field}") for part, field in parts)


_PLACES: Final = {side: _places(side) for side in DRIVER_AND_EXECUTOR}
# The places of keys, with the keys, that count for any application.
_KEYS: Final = {
    side: [
        (place, place.removeprefix(CONF))
        for places in _PLACES[side].values()
        for place in places
        if place.startswith(CONF) and place not in (_PYTHON, _OFF_HEAP)
    ]
    for side in DRIVER_AND_EXECUTOR
}
_FIELDS: Final = {side: _fields(side) for side in DRIVER_AND_EXECUTOR}
_TEMPLATES: Final = {side: (("/spec/", f"/spec/{side}/template/spec/"),) for side in DRIVER_AND_EXECUTOR}


class _Gpu(Wire, frozen=True):
    name: Text | None = None
    quantity: Replicas | None = None


class _Side(Wire, frozen=True):
    """`driver` or `executor`."""

    cores: Replicas | None = None
    core_request: Text | None = None
    core_limit: Text | None = None
    memory: Text | None = None
    memory_overhead: Text | None = None
    memory_limit: Text | None = None
    gpu: _Gpu | None = None
    instances: Replicas | None = None
    annotations: dict[str, str | None] | None = None
    sidecars: ContainerList[Container] | None = None
    init_containers: ContainerList[Container] | None = None
    tolerations: TolerationList[Toleration] | None = None
    priority_class_name: Text | None = None
    affinity: Affinity | None = None
    template: PodTemplate | None = None


class _DynamicAllocation(Wire, frozen=True):
    enabled: bool | None = None
    min_executors: Replicas | None = None
    max_executors: Replicas | None = None


class SparkApplication(JobSpec, frozen=True):
    """`spec` of a SparkApplication."""

    main_application_file: str | None = None
    memory_overhead_factor: Text | None = None
    spark_conf: dict[str, str | None] | None = None
    dynamic_allocation: _DynamicAllocation | None = None
    driver: _Side | None = None
    executor: _Side | None = None

    def roles(self) -> Iterator[Role]:
        """Yield the driver and the executors."""
        if self.driver:
            yield _role(self, "driver", self.driver)
        if self.executor:
            least, most = _executors(self, self.executor)
            yield replace(_role(self, "executor", self.executor), count=least, most=most, are_workers=True)

    def conf(self, name: str) -> str:
        """Return a value of `sparkConf`; empty where there is none."""
        return (self.spark_conf or {}).get(name) or ""

    def is_of(self, *suffixes: str) -> bool:
        """Return whether the main file is of that language, as spark-submit finds out."""
        return (self.main_application_file or "").endswith(suffixes)


class _SparkPod(Role, frozen=True):
    """The driver, or the executors; the container `main` runs Spark."""

    main: str = ""  # its pointer in the Pod
    is_in_template: bool = False  # whether `main` is in a template
    own: Container = Container()  # the same as the template has it
    factor: float | None = None  # of the heap, for the overhead; None where it cannot be read
    least: int = heap.LEAST_OVERHEAD
    memory: Memory | None = None  # None where Spark cannot read it
    memory_limit: Quantity | None = None  # what the operator's own webhook makes the limit; None for the memory
    devices: Mapping[str, str] = {}  # the name of each resource, by the place of its amount
    moved: tuple[tuple[str, str], ...] = ()  # the beginnings of paths in the Pod, and in the object

    def in_object(self, path: str) -> str:
        """Return the place in the template, or in the fields that stand for one; empty for what has other places."""
        if path.startswith(self.main):
            container, _, rest = path.partition("/resources/")
            if container == self.main and not self._is_of_template(unescape(rest.partition("/")[2])):
                return ""
        for pod, place in self.moved:
            if path.startswith(pod):
                return place + path[len(pod) :]
        return ""

    def _is_of_template(self, name: str) -> bool:
        """Return whether the template states this resource of the container of Spark, or could."""
        return self.is_in_template and name not in ("cpu", "memory", *self.devices.values())

    def absent(self, before: Workload) -> Collection[str]:
        """Return the parents as the template has them: Spark adds to what it has of its container."""
        found = set(super().absent(before))
        return found.union(map(self.in_object, absent(self.main, self.own.resources))) if self.is_in_template else found

    def in_pod(self, path: str) -> str:
        """Return the place in the Pod; empty for what Spark makes its container of."""
        return next((path.replace(place, pod, 1) for pod, place in self.moved if path.startswith(place)), "")

    def before(self, pod: Pod, claimed: Sequence[Change]) -> Role:
        """Return the role as it was before the claimed changes; what was stated makes its Pod."""
        return _made(replace(self, pod=pod, stated=undone(self.stated, claimed)))

    def consequences(self, after: Workload, changes: Sequence[Change]) -> Iterator[Change]:
        """Yield the changes of the fields and keys that Spark makes its container of."""
        own, block = f"{self.main}/resources/", self._main_of(after)
        changed = {change.path.removeprefix(own): change for change in changes if change.path.startswith(own)}
        yield from self._changed_cpu(block, changed)
        if (most := self._changed_limit(block)) is not None:
            yield from self._put(_PLACES[self.name]["most"], f"{most}m", changed["limits/memory"])
        if lowered := self._lowered(block):
            change = changed["limits/memory" if "limits/memory" in changed else "requests/memory"]
            of_memory = replace(change, why=f"{change.why}, with its overhead")
            for name, mib in _amounts(lowered).items():
                yield from self._put(_PLACES[self.name][name], f"{mib}m", of_memory)
        for place, name in self.devices.items():
            if of_device := changed.get(f"limits/{escape(name)}"):
                yield from self._put((place,), str(block.limits[name]), of_device)

    def settled(self, after: Workload) -> Workload:
        """Return the Workload with the memory that follows from what has changed: Spark counts in whole MiB."""
        block = self._main_of(after)
        lowered, most = self._lowered(block), self._changed_limit(block)
        requests = {"memory": _quantity_of(lowered.total)} if lowered else {}
        limits = requests if self.memory_limit is None else {} if most is None else {"memory": _quantity_of(most)}
        if not (requests or limits):
            return after
        return after.with_resources({self.main: Resources({**block.requests, **requests}, {**block.limits, **limits})})

    def first(self, amount: str) -> str | int | None:
        """Return what is stated of an amount, at the strongest place."""
        for place in _PLACES[self.name][amount]:
            if place in self.stated:
                return self.stated[place]
        return None

    def _main_of(self, workload: Workload) -> Block:
        return next(block for block in workload.blocks if block.pointer == self.main)

    def _changed_cpu(self, block: Block, changed: Mapping[str, Change]) -> Iterator[Change]:
        request, limit, places = changed.get("requests/cpu"), changed.get("limits/cpu"), _PLACES[self.name]
        if limit:
            yield from self._put(places["limit"], str(block.limits["cpu"]), limit)
        if not (change := limit or request):
            return
        cores = _quantity(self.first("cores") or 1)
        bound = (block.limits if limit else block.requests)["cpu"]
        if cores and cores > bound.round_up(0):
            cores = bound.round_up(0)
            if change.before is None:
                why = f"over the {'limit' if limit else 'request'} {bound} of the container"
                change = replace(change, rule="clamp", why=why)
            yield from self._put(places["cores"], str(cores.nano // NANO), change)
        if request and (self.first("request") is not None or cores != block.requests["cpu"]):
            yield from self._put(places["request"], str(block.requests["cpu"]), request)

    def _lowered(self, block: Block) -> Memory | None:
        """Return the memory where the rules have lowered that of the container; None where they have not."""
        if self.memory is None:
            return None
        request, limit = block.requests["memory"], block.limits["memory"]
        lowered = self.memory.within(_mebibytes(min(request, limit) if self.memory_limit is None else request))
        return None if lowered is self.memory else lowered

    def _changed_limit(self, block: Block) -> int | None:
        """Return the MiB of `memoryLimit` where the rules have changed it; None where they have not."""
        if self.memory_limit is None or block.limits["memory"] == self.memory_limit:
            return None
        return _mebibytes(block.limits["memory"])

    def _put(self, places: Sequence[str], value: str, change: Change) -> Iterator[Change]:
        """Yield the changes to this value wherever the amount is stated, else at its strongest place."""
        for place in [place for place in places if place in self.stated] or places[:1]:
            before = self.stated.get(place)
            after = int(value) if isinstance(before, int) else value
            if before != after:
                yield Change(place, before, after, change.rule, change.why)


def _role(spec: SparkApplication, side: str, stated: _Side) -> _SparkPod:
    found = stated.template.pod.spec.containers if stated.template else []
    pod, index = _of_template(side, stated.template) if stated.template else _of_fields(side, stated)
    devices = _devices(spec, side, stated)
    amounts = _stated(spec, side, stated) | {place: amount for place, (_, amount) in devices.items()}
    role = _SparkPod(
        side,
        replace(pod, metadata=ObjectMeta(annotations=stated.annotations)),
        f"/spec/{side}",
        stated={place: amount for place, amount in amounts.items() if amount not in (None, "")},
        main=f"/spec/containers/{index}",
        is_in_template=bool(found),
        own=pod.spec.containers[index],
        factor=_factor(spec, side),
        least=mebibytes(spec.conf(f"spark.{side}.minMemoryOverhead")) or heap.LEAST_OVERHEAD,
        devices={place: name for place, (name, _) in devices.items()},
        moved=_TEMPLATES[side] if stated.template else _FIELDS[side],
    )
    made = _made(role)
    return replace(made, notes=tuple(_unread(made)))


def _of_template(side: str, template: PodTemplate) -> tuple[Pod, int]:
    """Return the Pod of the template, and the index of the container of Spark: by its name, else the first."""
    spec, name = template.pod.spec, f"spark-kubernetes-{side}"
    names = [container.name for container in spec.containers]
    if not names:
        spec = replace(spec, app_containers=[Container(name)])
    return Pod(spec=spec), names.index(name) if name in names else 0


def _of_fields(side: str, stated: _Side) -> tuple[Pod, int]:
    """Return the Pod that the operator completes from the fields: the container of Spark stands behind the sidecars."""
    sidecars = stated.sidecars or []
    spec = PodSpec(
        app_containers=[*sidecars, Container(f"spark-kubernetes-{side}")],
        init_containers=stated.init_containers,
        tolerations=stated.tolerations,
        priority_class_name=stated.priority_class_name,
        affinity=stated.affinity,
    )
    return Pod(spec=spec), len(sidecars)


def _stated(spec: SparkApplication, side: str, stated: _Side) -> dict[str, str | int | None]:
    """Return the amounts that count, by their places."""
    of_fields = {
        "cores": stated.cores, "coreRequest": stated.core_request, "coreLimit": stated.core_limit,
        "memory": stated.memory, "memoryOverhead": stated.memory_overhead,
        "memoryLimit": None if stated.template else stated.memory_limit,
    }  # fmt: skip
    found: dict[str, str | int | None] = {f"/spec/{side}/{field}": amount for field, amount in of_fields.items()}
    conf = spec.spark_conf or {}
    found |= {place: conf.get(key) for place, key in _KEYS[side]}
    if side == "executor" and spec.is_of(".py"):
        found[_PYTHON] = conf.get(_PYTHON.removeprefix(CONF))
    if side == "executor" and spec.conf("spark.memory.offHeap.enabled").lower() == "true":
        found[_OFF_HEAP] = conf.get(_OFF_HEAP.removeprefix(CONF))
    return found


def _devices(spec: SparkApplication, side: str, stated: _Side) -> dict[str, tuple[str, str | int]]:
    """Return the name and amount of each device, by its place; a field is stronger than a key, and stands behind it."""
    found: dict[str, tuple[str, str | int]] = {}
    prefix = f"spark.{side}.resource."
    for key, amount in (spec.spark_conf or {}).items():
        match = _DEVICE.fullmatch(key, len(prefix)) if key.startswith(prefix) else None
        if match and amount and (vendor := spec.conf(f"{prefix}{match['name']}.vendor")):
            found[f"{CONF}{escape(key)}"] = f"{vendor}/{match['name']}", amount
    gpu = stated.gpu or _Gpu()
    if gpu.name and (gpu.quantity or 0) > 0 and not stated.template:
        found[f"/spec/{side}/gpu/quantity"] = gpu.name, gpu.quantity or 0
    return found


def _executors(spec: SparkApplication, stated: _Side) -> tuple[int, int]:
    """Return the fewest executors that run, and the most."""
    dynamic = spec.dynamic_allocation or _DynamicAllocation()
    if not dynamic.enabled:
        if spec.conf("spark.dynamicAllocation.enabled").lower() != "true":
            count = _count(stated.instances, spec.conf("spark.executor.instances"), 1)
            return count, count
        dynamic = _DynamicAllocation()
    least = _count(dynamic.min_executors, spec.conf("spark.dynamicAllocation.minExecutors"), 0)
    most = _count(dynamic.max_executors, spec.conf("spark.dynamicAllocation.maxExecutors"), bounds.REPLICAS)
    return least, max(least, most)


def _count(stated: int | None, text: str, default: int) -> int:
    found = int(text) if text.isdecimal() and len(text) <= len(str(bounds.REPLICAS)) else default
    return min(max(0, found if stated is None else stated), bounds.REPLICAS)


def _factor(spec: SparkApplication, side: str) -> float | None:
    """Return the factor of the heap that makes the overhead; None for one that cannot be read."""
    keys = (f"spark.{side}.memoryOverheadFactor", "spark.kubernetes.memoryOverheadFactor")
    text = next(filter(None, map(spec.conf, keys)), spec.memory_overhead_factor)
    if text:
        return heap.factor_of(text)
    return heap.OF_OTHERS if spec.is_of(".py", ".R", ".r") else heap.OF_JVM


def _made(role: _SparkPod) -> _SparkPod:
    """Return the role with the Pod that Spark makes of what is stated."""
    container, memory = role.pod.spec.containers[int(role.main.rpartition("/")[2])], _memory(role)
    of_memory, most = _quantity_of(memory.total) if memory else None, _memory_limit(role.first("most"))
    request, limit = role.first("request") or role.first("cores") or 1, _quantity(role.first("limit"))
    devices = {name: _quantity(role.stated.get(place)) for place, name in role.devices.items()}
    requests = {**container.requests, "cpu": _quantity(request), "memory": of_memory}
    limits = {
        **container.limits,
        "cpu": limit or role.own.limits.get("cpu"),
        "memory": of_memory if most is None else most,
        **devices,
    }
    block = Resources(*({name: it for name, it in side.items() if it is not None} for side in (requests, limits)))
    return replace(role, pod=with_resources(role.pod, {role.main: block}), memory=memory, memory_limit=most)


def _memory(role: _SparkPod) -> Memory | None:
    """Return the memory that is stated; None where Spark cannot read it."""
    stated = {name: text for name in _MEMORY if (text := role.first(name)) is not None}
    read = {name: mebibytes(str(text), "b" if name == "off-heap" else "m") for name, text in stated.items()}
    found = {name: mib for name, mib in read.items() if mib is not None}
    if role.factor is None or len(found) < len(read):
        return None
    main, overhead = found.pop("heap", heap.DEFAULT_MEMORY), found.pop("overhead", None)
    return Memory(main, overhead, found, role.factor, role.least)


def _amounts(memory: Memory) -> Mapping[str, int]:
    """Return the MiB that are stated, by the names of their places."""
    overhead = {} if memory.overhead is None else {"overhead": memory.overhead}
    return {"heap": memory.heap, **overhead, **memory.others}


def _memory_limit(text: str | int | None) -> Quantity | None:
    """Return what the operator reads there, a quantity or a text such as `4g`; None for what it cannot read."""
    match = _OF_JVM.fullmatch(str(text))
    return _quantity(f"{match[1]}{match[2].upper()}i" if match else text)


def _mebibytes(quantity: Quantity) -> int:
    return quantity.nano // NANO // heap.MEBI


def _quantity_of(mebibytes: int) -> Quantity:
    return parse(f"{mebibytes}Mi")


def _quantity(text: str | int | None) -> Quantity | None:
    try:
        return None if text is None else parse(str(text))
    except QuantityError:
        return None


def _unread(role: _SparkPod) -> Iterator[str]:
    """Yield what cannot be read, for the record."""
    for amount in ("cores", "request", "limit"):
        if (text := role.first(amount)) is not None and _quantity(text) is None:
            yield f"{_PLACES[role.name][amount][0].removeprefix('/')} stays as it is: Spark cannot read it"
    if role.first("most") is not None and role.memory_limit is None:
        yield f"spec/{role.name}/memoryLimit stays as it is: the Spark operator cannot read it"
    if role.memory is None:
        yield f"the memory of spec/{role.name} stays as it is: Spark cannot read it"
