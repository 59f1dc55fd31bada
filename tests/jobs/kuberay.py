"""A model of KubeRay, written from its source: the Pods that it makes of a RayJob, and what `ray start` is told.

Source: ray-operator v1.5.1 `controllers/ray`: `rayjob_controller.go` (constructRayClusterForRayJob), `common/pod.go`
(DefaultHeadPodTemplate, DefaultWorkerPodTemplate, generateRayStartCommand), `common/job.go` (GetSubmitterTemplate),
`utils/util.go` (GetWorkerGroupDesiredReplicas).
"""

import copy
import math

from tests.apiserver import Amounts, Json, amount

SUBMITTER = {
    "name": "ray-job-submitter",
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "200Mi"}},
}
AUTOSCALER = {
    "limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "500m", "memory": "512Mi"},
}  # fmt: skip
WAIT = {
    "name": "wait-gcs-ready",
    "resources": {"limits": {"cpu": "200m", "memory": "256Mi"}, "requests": {"cpu": "200m", "memory": "256Mi"}},
}
OWN = ("ray-job-submitter", "wait-gcs-ready")  # not the autoscaler: the RayJob can say what it gets


def pods(job: Json) -> list[Json]:
    """The Pods of the job at its start; those of an autoscaled group are its fewest."""
    spec, made = job["spec"], []
    mode = spec.get("submissionMode", "K8sJobMode")
    cluster = spec["rayClusterSpec"]
    head = pod_of(cluster["headGroupSpec"]["template"])
    if mode == "SidecarMode":
        head["spec"]["containers"].append(copy.deepcopy(SUBMITTER))
    if cluster.get("enableInTreeAutoscaling"):
        options = cluster.get("autoscalerOptions") or {}
        own = options["resources"] if options.get("resources") is not None else copy.deepcopy(AUTOSCALER)
        head["spec"]["containers"].append({"name": "autoscaler", "resources": own})
    made.append(head)
    for group in cluster["workerGroupSpecs"]:
        for _ in range(replicas(group, fewest=bool(cluster.get("enableInTreeAutoscaling")))):
            worker = pod_of(group["template"])
            worker["spec"].setdefault("initContainers", []).append(copy.deepcopy(WAIT))
            made.append(worker)
    if mode == "K8sJobMode":
        template = spec.get("submitterPodTemplate")
        made.append(pod_of(template if template is not None else {"spec": {"containers": [SUBMITTER]}}))
    return made


def pod_of(template: Json) -> Json:
    return copy.deepcopy(
        {"metadata": {"labels": template.get("metadata", {}).get("labels", {})}, "spec": template["spec"]}
    )


def replicas(group: Json, *, fewest: bool) -> int:
    if group.get("suspend"):
        return 0
    least, most, wanted = group["minReplicas"], group["maxReplicas"], group["replicas"]
    if least > most:
        count = most
    elif wanted < least or fewest:
        count = least
    else:
        count = min(wanted, most)
    hosts: int = group["numOfHosts"]
    return int(count * hosts)


def told(group: Json) -> dict[str, int]:
    """What `ray start` is told of cpus, memory, and GPUs."""
    params = dict(group["rayStartParams"])
    for name, text in (group.get("resources") or {}).items():
        param = {"cpu": "num-cpus", "memory": "memory"}.get(name.lower(), "num-gpus")
        params[param] = str(math.ceil(amount(text)))
    limits = limits_of(group)
    for param, limit in limits.items():
        params.setdefault(param, str(math.ceil(limit)))
    return {param: int(params[param]) for param in ("num-cpus", "memory", "num-gpus") if param in params}


def limits_of(group: Json) -> Amounts:
    """The limits of the container that runs Ray, by the parameters that KubeRay makes of them."""
    limits = (group["template"]["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    params = {"cpu": "num-cpus", "memory": "memory", "nvidia.com/gpu": "num-gpus"}
    return {param: amount(limits[name]) for name, param in params.items() if amount(limits.get(name, 0))}
