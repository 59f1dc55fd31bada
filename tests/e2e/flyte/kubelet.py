"""Nodes, and what a kubelet would say of the Pods on them: nothing of a Pod is run."""

from datetime import UTC, datetime

from tests.e2e.client import Client, Json, path_of

CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}
GPUS = {**CAPACITY, "nvidia.com/gpu": "8"}
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def add_nodes(admin: Client) -> None:
    """Create the node `cpu`, for anything, and the node `gpu`, whose taint keeps off what does not tolerate it."""
    for name, capacity, taints in (("cpu", CAPACITY, []), ("gpu", GPUS, [GPU_TAINT])):
        admin.created({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]}
        admin.must("PATCH", path_of("Node", name=name) + "/status", {"status": status})
        admin.must("PATCH", path_of("Node", name=name), {"spec": {"taints": taints}})  # in place of not-ready


def run(admin: Client, pod: Json) -> None:
    """Say that its containers run."""
    _say(admin, pod, "Running", {"running": {"startedAt": _now()}})


def finish(admin: Client, pod: Json) -> None:
    """Say that its containers have ended well."""
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": _now(), "finishedAt": _now()}
    _say(admin, pod, "Succeeded", {"terminated": ended})


def take_away(admin: Client, pod: Json) -> None:
    """Delete it as a cloud does that takes back a spot node."""
    admin.must("DELETE", _path(pod), {"gracePeriodSeconds": 0})


def _say(admin: Client, pod: Json, phase: str, state: Json) -> None:
    containers = [
        {"name": it["name"], "image": it["image"], "imageID": "", "ready": "running" in state, "restartCount": 0}
        for it in pod["spec"]["containers"]
    ]
    statuses = [{**container, "state": state} for container in containers]
    status = {"phase": phase, "startTime": _now(), "containerStatuses": statuses}
    admin.must("PATCH", _path(pod) + "/status", {"status": status})


def _path(pod: Json) -> str:
    return path_of("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
