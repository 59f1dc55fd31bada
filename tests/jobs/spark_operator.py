"""A model of the Spark operator and of Spark itself, written from their sources: the Pods of a SparkApplication.

Sources: spark-operator v2.5.2 `api/v1beta2/defaults.go`, `internal/controller/sparkapplication/submission.go`
(buildSparkSubmitArgs), `internal/webhook/sparkpod_defaulter.go`; spark 3.5 `BasicDriverFeatureStep.scala`,
`BasicExecutorFeatureStep.scala`, `ResourceProfile.scala` (getResourcesForClusterManager), `KubernetesUtils.scala`
(selectSparkContainer).
"""

import copy

from tests.apiserver import Json
from tests.jobs.kuberay import pod_of

SIZES = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def conf_of(job: Json) -> dict[str, str]:
    """The configuration that spark-submit gets: of two `--conf` with the same key, the later one counts."""
    spec = job["spec"]
    conf = {}
    if "memoryOverheadFactor" in spec:
        conf["spark.kubernetes.memoryOverheadFactor"] = spec["memoryOverheadFactor"]
    conf |= spec["sparkConf"]
    for side in ("driver", "executor"):
        for field, default in (("cores", 1), ("memory", "1g")):
            if f"spark.{side}.{field}" not in spec["sparkConf"]:
                conf[f"spark.{side}.{field}"] = str(default)
        keys = {
            "cores": f"spark.{side}.cores",
            "coreRequest": f"spark.kubernetes.{side}.request.cores",
            "coreLimit": f"spark.kubernetes.{side}.limit.cores",
            "memory": f"spark.{side}.memory",
            "memoryOverhead": f"spark.{side}.memoryOverhead",
            "instances": f"spark.{side}.instances",
        }
        conf |= {key: str(spec[side][field]) for field, key in keys.items() if field in spec[side]}
    allocation = spec.get("dynamicAllocation", {})
    if allocation.get("enabled"):
        conf["spark.dynamicAllocation.enabled"] = "true"
        for bound in ("minExecutors", "maxExecutors"):
            if bound in allocation:
                conf[f"spark.dynamicAllocation.{bound}"] = str(allocation[bound])
    return conf


def mebibytes(text: str, unit: str = "m") -> int:
    digits = text.rstrip("bkmgt")
    suffix = text[len(digits) :] or unit
    return int(digits) * SIZES[suffix[0]] // 2**20


def heap_and_total(job: Json, side: str) -> tuple[int, int]:
    """The MiB of the heap, and of the container."""
    conf, file = conf_of(job), job["spec"].get("mainApplicationFile", "")
    heap = mebibytes(conf[f"spark.{side}.memory"])
    factor = 0.4 if file.endswith((".py", ".R")) else 0.1
    factor = float(conf.get("spark.kubernetes.memoryOverheadFactor", factor))
    factor = float(conf.get(f"spark.{side}.memoryOverheadFactor", factor))
    overhead = max(int(factor * heap), 384)
    if f"spark.{side}.memoryOverhead" in conf:
        overhead = mebibytes(conf[f"spark.{side}.memoryOverhead"])
    total = heap + overhead
    if side == "executor":
        if file.endswith(".py"):
            total += mebibytes(conf.get("spark.executor.pyspark.memory", "0"))
        if conf.get("spark.memory.offHeap.enabled") == "true":
            total += mebibytes(conf["spark.memory.offHeap.size"], "b")
    return heap, total


def pod(job: Json, side: str) -> Json:
    """The Pod of the driver, or of an executor."""
    conf, own = conf_of(job), job["spec"][side]
    name = f"spark-kubernetes-{side}"
    template = copy.deepcopy(own.get("template") or {"spec": {"containers": [{"name": name}]}})
    containers = template["spec"].setdefault("containers", [])
    named = [each for each in containers if each["name"] == name]
    main = named[0] if named else containers[0]
    resources = {each: dict((main.get("resources") or {}).get(each) or {}) for each in ("requests", "limits")}
    memory = f"{heap_and_total(job, side)[1]}Mi"
    resources["requests"] |= {
        "cpu": conf.get(f"spark.kubernetes.{side}.request.cores", conf[f"spark.{side}.cores"]),
        "memory": memory,
    }
    resources["limits"] |= {"memory": memory}
    if f"spark.kubernetes.{side}.limit.cores" in conf:
        resources["limits"]["cpu"] = conf[f"spark.kubernetes.{side}.limit.cores"]
    if f"spark.{side}.resource.gpu.amount" in conf:
        vendor = conf[f"spark.{side}.resource.gpu.vendor"]
        resources["limits"][f"{vendor}/gpu"] = conf[f"spark.{side}.resource.gpu.amount"]
    main["resources"] = resources
    template["spec"]["containers"] = [*(each for each in containers if each is not main), main]
    if "template" not in own:
        mutate(template["spec"], main, own)
    return pod_of({"metadata": {"labels": job["metadata"]["labels"] | own.get("labels", {})}, "spec": template["spec"]})


def mutate(spec: Json, main: Json, own: Json) -> None:
    """What the operator's own webhook does to a Pod without a template."""
    spec["containers"] += copy.deepcopy(own.get("sidecars", []))
    spec["initContainers"] = copy.deepcopy(own.get("initContainers", []))
    spec["tolerations"] = copy.deepcopy(own.get("tolerations", []))
    if "memoryLimit" in own:  # addMemoryLimit
        text = own["memoryLimit"]
        main["resources"]["limits"]["memory"] = f"{mebibytes(text)}Mi" if text[-1] in "bkmgt" else text
    if "gpu" in own:
        main["resources"]["limits"][own["gpu"]["name"]] = str(own["gpu"]["quantity"])


def pods(job: Json) -> list[Json]:
    """The driver, and the executors: of a range, the fewest."""
    conf = conf_of(job)
    count = int(conf.get("spark.executor.instances", 1))
    if conf.get("spark.dynamicAllocation.enabled") == "true":
        count = int(conf.get("spark.dynamicAllocation.minExecutors", 0))
    return [pod(job, "driver"), *(pod(job, "executor") for _ in range(count))]
