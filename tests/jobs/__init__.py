"""Jobs as their operators see them: models of the operators, and what they make of a job after its review."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

import jsonpatch
import msgspec
from hypothesis import strategies as st

from tests.apiserver import Amounts, Json, amount, defaulted, effective
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.admission.decision import Decision, Denied
from webhook.api.resource_quota import ResourceQuota
from webhook.cluster.ledger import Ledger
from webhook.offline import manifests
from webhook.policy.file import load
from webhook.policy.model import Policy

TODAY = "2026-11-25"
NAMESPACE = "flytesnacks-development"
LABELS = {"execution-id": "a1", "project": "flytesnacks", "domain": "development", "task-name": "fit"}
GPU = "nvidia.com/gpu"
TRACKED = (
    "pods", "requests.cpu", "limits.cpu", "requests.memory", "limits.memory", "requests.ephemeral-storage",
    "limits.ephemeral-storage", f"requests.{GPU}",
)  # fmt: skip

T = TypeVar("T")
QUANTITIES: Mapping[str, st.SearchStrategy[Any]] = {
    "cpu": st.sampled_from(["100m", "250m", "500m", "0.5", "1", "1500m", "2", "4", 8, "64"]),
    "memory": st.sampled_from(["64Mi", "500M", "1Gi", "1.5Gi", "4Gi", 2**31, "64Gi"]),
    "ephemeral-storage": st.sampled_from(["1Gi", "100Gi"]),
    GPU: st.sampled_from(["1", "2", "8"]),
}


def subsets(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True)


@st.composite
def resources(draw: st.DrawFn) -> Json:
    """Of a container: any of the amounts as limits, and requests within them."""
    limits = {name: draw(QUANTITIES[name]) for name in draw(subsets([*QUANTITIES]))}
    requested = {*draw(subsets([*limits])), GPU} if limits else set()
    requests = {name: limits[name] for name in limits if name in requested}
    return {"limits": limits or None, "requests": requests or None}


@st.composite
def templates(draw: st.DrawFn, name: str, labels: Json | None = None) -> Json:
    """A Pod template with the container `name`, perhaps a second one, and perhaps init containers."""
    containers = [{"name": name, "image": "i", "resources": draw(resources())}]
    containers += draw(st.sampled_from([[], [{"name": "log"}], [{"name": "log", "resources": {}}]]))
    inits = st.sampled_from([{"name": "fetch"}, {"name": "proxy", "restartPolicy": "Always"}])
    spec: Json = {"containers": containers, **draw(st.sampled_from([{}, {"tolerations": [{"key": "own"}]}]))}
    spec |= {"initContainers": draw(st.lists(inits, max_size=2, unique_by=lambda init: init["name"]))}
    return {"metadata": {"labels": LABELS if labels is None else labels}, "spec": spec}


def some(*values: T) -> st.SearchStrategy[T]:
    return st.sampled_from(values)


@st.composite
def contents(draw: st.DrawFn) -> str:
    """A policy under which every container gets cpu and memory, so that no quota misses them."""
    maxima = st.fixed_dictionaries(
        {}, optional={"cpu": some("250m", "2", "4"), "memory": some("512Mi", "8Gi"), "gpu": some("1", "2")}
    )
    storage = draw(some({}, {"ephemeralStorage": "1Gi"}))
    content: Json = {
        "task_resources": {"defaults": {"cpu": "500m", "memory": "500Mi", **storage}, "limits": draw(maxima)}
    }
    of_pod = draw(some({}, {"cpu": "3"}, {"cpu": "3", "memory": "2Gi"}))
    content |= draw(some({}, {"secondary_defaults": {"cpu": "100m", "memory": "64Mi"}}))
    content |= draw(some({}, {"cpu_limits": "remove"}))
    return json.dumps({**content, "pod_limits": of_pod})


@lru_cache(maxsize=64)
def policy_of(content: str) -> Policy:
    return load(content, "policy.yaml").policy


POLICIES = contents().map(policy_of)


def review_of(resource: str, data: Json) -> bytes:
    name, _, group = resource.partition(".")
    request = {
        "uid": "u", "operation": "CREATE", "resource": {"group": group, "resource": name},
        "namespace": NAMESPACE, "object": data,
    }  # fmt: skip
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def mutated(resource: str, data: Json, policy: Policy, quotas: Iterable[ResourceQuota] = ()) -> tuple[Json, Decision]:
    """The object after /mutate, patched by an independent library, and the decision."""
    request = wire.decode(review_of(resource, data))
    assert not request.problem
    decision = mutate(request, policy, Constraints(tuple(quotas)), TODAY)
    response = json.loads(encode(request, decision))["response"]
    operations = json.loads(msgspec.convert(response["patch"], bytes)) if "patch" in response else []
    patched: Json = jsonpatch.apply_patch(data, operations)
    return patched, decision


def quotas_of(hard: Json) -> list[ResourceQuota]:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": NAMESPACE}}
    read = manifests.quotas(json.dumps({**quota, "spec": {"hard": hard}}), "q.yaml")
    return [*Ledger(read).quotas(NAMESPACE, wire.Request(uid="u").meta)]


def charged(resource: str, data: Json, policy: Policy) -> Amounts:
    """What the job is charged, by the message of a quota that has room for nothing."""
    _, decision = mutated(resource, data, policy, quotas_of(dict.fromkeys(TRACKED, "0")))
    assert isinstance(decision, Denied), decision
    requested = decision.message.partition("requested: ")[2].partition(", used:")[0]
    found = re.findall(r"([\w./-]+)=(\w+)", re.sub(r"\([^)]*\)", "", requested))
    return {name: amount(value) for name, value in found}


def admitted(pod: Json, policy: Policy) -> Json:
    """The Pod of an operator as it is stored, after its own review."""
    owned = {**pod["metadata"], "ownerReferences": [{"kind": "Operated", "controller": True}]}
    stored, _ = mutated("pods", {**defaulted(pod), "metadata": owned}, policy)
    return {**defaulted(stored), "metadata": pod["metadata"]}


def usage(pods: Iterable[Json]) -> Amounts:
    """What all the Pods are charged together."""
    total: dict[str, Fraction] = {}
    for pod in pods:
        requests, limits = effective(pod, "requests"), effective(pod, "limits")
        taken = {"pods": Fraction(1)}
        taken |= {f"requests.{name}": value for name, value in requests.items()}
        taken |= {f"limits.{name}": value for name, value in limits.items()}
        for name, value in taken.items():
            total[name] = total.get(name, Fraction(0)) + value
    return {name: value for name, value in total.items() if value and name in TRACKED}


def without(pod: Json, names: Iterable[str]) -> Json:
    """The spec of the Pod without the containers of these names, which the operator adds."""
    lists = {field: pod["spec"].get(field) or [] for field in ("containers", "initContainers")}
    kept = {field: [each for each in found if each["name"] not in names] for field, found in lists.items()}
    return {**pod["spec"], **kept}
