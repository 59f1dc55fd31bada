"""Pods and ResourceQuotas made at random, from a seed: valid, or nearly, and close to each other in size."""

import copy
from random import Random
from typing import Any, Final

from tests.e2e.client import Json
from tests.e2e.pods import FLYTE_1, FLYTE_2

CPU: Final = ("0", "1m", "100m", "0.25", "500m", "1", "1500m", "2", "2e0", "4")
MEMORY: Final = ("0", "1", "64Mi", "100M", "128Mi", "256Mi", "0.5Gi", "1e9", "1Gi", "1500Mi", "2Gi")
DEVICES: Final = ("0", "1", "2", "3")
PAGES: Final = ("2Mi", "4Mi", "128Mi")
EXTENDED: Final = ("nvidia.com/gpu", "example.com/fpga")
PRIORITY_CLASSES: Final = {"low": 10, "high": 1000}
HEAVY: Final = "heavy"  # a RuntimeClass with an overhead

NEVER_COUNTED: Final = frozenset({"limits.nvidia.com/gpu"})  # a quota may have it, but nothing is charged for it
SIDES: Final = ("", "requests.", "limits.")
COMPUTE: Final = {
    "pods": ("0", "1", "2", "3", "5"),
    **{f"{side}cpu": ("0", "500m", "1", "2500m", "4", "8", "16") for side in SIDES},
    **{f"{side}memory": ("0", "128Mi", "1Gi", "1500M", "3Gi", "8Gi", "16Gi") for side in SIDES},
}
ANY: Final = {
    **COMPUTE,
    "count/pods": ("1", "3", "5"),
    **{f"{side}ephemeral-storage": ("1Gi", "3G", "8Gi") for side in SIDES},
    **{f"requests.{name}": ("0", "1", "2", "4") for name in EXTENDED},
    "hugepages-2Mi": ("2Mi", "8Mi", "1Gi"),
    "requests.hugepages-2Mi": ("4Mi", "128Mi"),
    **dict.fromkeys(NEVER_COUNTED, ("0",)),
    "services": ("0",),
}


SCARCE: Final[tuple[Json, ...]] = (
    {},
    {"requests": {}, "limits": {}},
    {"requests": {"memory": "16Gi"}},
    {"limits": {"cpu": "16"}},
    {"requests": {"cpu": "16"}},
    {"requests": {"cpu": "16"}, "limits": {"memory": "16Gi"}},
    {"requests": {"cpu": "0", "memory": "0"}, "limits": {"cpu": "0", "memory": "0"}},
    {"limits": {"cpu": "0"}},
    {"requests": {"memory": "0"}},
)


def _selector(name: str, operator: str, *values: str) -> Json:
    return {"scopeName": name, "operator": operator, **({"values": list(values)} if values else {})}


PRIORITY_SELECTORS: Final = (
    _selector("PriorityClass", "In", "high"),
    _selector("PriorityClass", "In", "high", "low"),
    _selector("PriorityClass", "NotIn", "low"),
    _selector("PriorityClass", "Exists"),
    _selector("PriorityClass", "DoesNotExist"),
)
SCOPES: Final[tuple[Json, ...]] = (
    {},
    *({"scopes": [name]} for name in ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort")),
    {"scopes": ["PriorityClass"]},
    {"scopes": ["CrossNamespacePodAffinity"]},
    {"scopes": ["Terminating", "NotBestEffort"]},
    {"scopes": ["NotTerminating", "BestEffort"]},
    *({"scopeSelector": {"matchExpressions": [term]}} for term in PRIORITY_SELECTORS),
    *(
        {"scopeSelector": {"matchExpressions": [_selector(name, "Exists")]}}
        for name in ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity")
    ),
    {"scopes": ["NotBestEffort"], "scopeSelector": {"matchExpressions": [PRIORITY_SELECTORS[2]]}},
    {"scopeSelector": {"matchExpressions": [PRIORITY_SELECTORS[0], _selector("Terminating", "Exists")]}},
)


def quota(random: Random, namespace: str, name: str, scopes: Json) -> Json:
    """A ResourceQuota of these scopes; a few names of those that are allowed with them."""
    best_effort = "'BestEffort'" in str(scopes)
    names = ("pods",) if best_effort else tuple(COMPUTE if scopes else ANY)
    chosen = random.sample(names, min(len(names), random.choice((1, 1, 2, 3, 5))))
    hard = {resource: random.choice(ANY[resource]) for resource in chosen}
    return quota_of(namespace, name, hard, **scopes)


def quota_of(namespace: str, name: str, hard: dict[str, str], **scopes: Any) -> Json:
    """A ResourceQuota."""
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard, **scopes}}


def pod(random: Random, namespace: str, name: str) -> Json:
    """A Flyte Pod with anything that a quota may look at; some are named by the API server."""
    named = {"generateName": f"{name}-"} if random.random() < 0.1 else {"name": name}
    spec: Json = {"restartPolicy": "Never", "containers": _containers(random, "main", random.choice((1, 1, 2, 3)))}
    if init := _containers(random, "init", random.choice((0, 0, 0, 1, 2))):
        spec["initContainers"] = [
            {**each, "restartPolicy": "Always"} if random.random() < 0.5 else each for each in init
        ]
    spec |= _chosen(
        random,
        activeDeadlineSeconds=(0.3, lambda: random.choice((1, 3600))),
        priorityClassName=(0.4, lambda: random.choice(list(PRIORITY_CLASSES))),
        affinity=(0.3, lambda: _affinity(random)),
        runtimeClassName=(0.15, lambda: HEAVY),
        resources=(0.25, lambda: _pod_level(random)),
    )
    labels = random.choice((FLYTE_1, FLYTE_2))
    return {"kind": "Pod", "metadata": {**named, "namespace": namespace, "labels": labels}, "spec": spec}


def _chosen(random: Random, **fields: Any) -> Json:
    """Each field with its own likelihood."""
    return {name: value() for name, (likelihood, value) in fields.items() if random.random() < likelihood}


def _containers(random: Random, prefix: str, count: int) -> list[Json]:
    states_nothing = random.random() < 0.25
    return [
        {
            "name": f"{prefix}-{index}",
            "image": "example.com/task:1",
            **({} if states_nothing else {"resources": _resources(random)}),
        }
        for index in range(count)
    ]


def _resources(random: Random) -> Json:
    """Requests, limits or both; devices and huge pages as the API server demands them."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    native: Json = {"cpu": CPU, "memory": MEMORY, "ephemeral-storage": MEMORY}
    for name, values in native.items():
        if random.random() < (0.75 if name != "ephemeral-storage" else 0.2):
            low, high = sorted((random.randrange(len(values)), random.randrange(len(values))))
            side = random.choice(("request", "limit", "both", "both"))
            if side != "limit":
                requests[name] = values[low]
            if side != "request":
                limits[name] = values[high]
    for name, values in {**dict.fromkeys(EXTENDED, DEVICES), "hugepages-2Mi": PAGES}.items():
        if random.random() < 0.15:
            limits[name] = random.choice(values)
            if random.random() < 0.5:
                requests[name] = limits[name]
    return _chosen(random, requests=(0.97, lambda: requests), limits=(0.97, lambda: limits))


def _pod_level(random: Random) -> Json:
    """Draw `spec.resources`: enough, partial, empty, or zero; Kubernetes versions differ there."""
    if random.random() < 0.5:
        return random.choice(SCARCE)
    limits = {"cpu": random.choice(("8", "16")), "memory": random.choice(("8Gi", "16Gi"))}
    requests = {name: value for name, value in limits.items() if random.random() < 0.5}
    return {"limits": limits, **({"requests": requests} if requests else {})}


def _affinity(random: Random) -> Json:
    term: Json = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    term |= random.choice(({}, {"namespaces": ["default"]}, {"namespaceSelector": {}}, {"namespaces": []}))
    weighted = {"weight": 1, "podAffinityTerm": term}
    kind = random.choice(("podAffinity", "podAntiAffinity"))
    return random.choice(
        (
            {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
            {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}},
        )
    )


def resize(random: Random, stored: Json) -> tuple[Json, Json]:
    """The Pod with other amounts of the cpu and memory that its containers state, and the patch that asks for them."""
    resized = copy.deepcopy(stored)
    spec: dict[str, list[Json]] = {}
    for kind in ("containers", "initContainers"):
        for container in resized["spec"].get(kind, ()):
            lasts = kind == "containers" or "restartPolicy" in container
            if container["resources"] and lasts and random.random() < 0.7:
                _resize(random, container["resources"])
                spec.setdefault(kind, []).append({"name": container["name"], "resources": container["resources"]})
    return resized, {"spec": spec}


def _resize(random: Random, block: Json) -> None:
    """Other amounts; a request that is its limit stays so, since the QoS class must not change."""
    requests, limits = block.get("requests", {}), block.get("limits", {})
    native: Json = {"cpu": CPU, "memory": MEMORY}
    for name, values in native.items():
        low, high = sorted((random.randrange(1, len(values)), random.randrange(1, len(values))))
        equal = requests.get(name) == limits.get(name)
        if name in limits:
            limits[name] = values[high]
        if name in requests:
            requests[name] = values[high if equal else low]
