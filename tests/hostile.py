"""Pods that somebody makes to get past the webhook, or to stop it: each as kube-apiserver would send it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.vectors import Data

ANNOTATION = "flyte-admission.io/changes"
DEEP = "(deep)"  # stands for LEVELS levels, which json does not write
LEVELS = 1100  # more than the decoder follows
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def pod(spec: Data, **metadata: Any) -> Data:
    labels = {"execution-id": "f1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels, **metadata}, "spec": spec}


def greedy(**fields: Any) -> Data:
    """A container that asks for more than anybody may have."""
    return {"name": "p", "image": "i", "resources": {"limits": {"cpu": "64", "nvidia.com/gpu": "16"}}, **fields}


def with_limit(name: str, amount: str) -> Data:
    return pod({"containers": [{"name": "p", "image": "i", "resources": {"limits": {name: amount}}}]})


def containers(count: int) -> Data:
    return pod({"containers": [{"name": f"c{n}"} for n in range(count)]})


def many_limits(names: int, amount: str = "1") -> Data:
    return {f"example.com/{n}": amount for n in range(names)}


def limits(names: int, amount: str, of: int = 40) -> Data:
    block = {"limits": many_limits(names, amount)}
    return pod({"containers": [{"name": f"c{n}", "image": "i", "resources": block} for n in range(of)]})


def tolerations(count: int) -> Data:
    """Which an annotation of the author's claims to be ours."""
    found = [{"key": f"k{n}", "operator": "Exists"} for n in range(count)]
    path = "/spec/tolerations/-"
    changes = [{"path": path, "from": None, "to": each, "rule": "tolerate", "why": "me"} for each in found]
    note = json.dumps({"policy": "x", "changes": changes})
    return pod({"containers": [greedy()], "tolerations": found}, annotations={ANNOTATION: note})


def many(name: str, count: int) -> Data:
    return {f"{name}{n}": "" for n in range(count)}


def affinity_terms(count: int, **fields: Any) -> Data:
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["a"], **fields}] * count}
    return pod({"containers": [greedy()], "affinity": {"podAffinity": terms}})


# Refused: larger than a Pod can be. What the message names.
OVERSIZED: Mapping[str, tuple[Callable[[], Data], str]] = {
    "30,000 containers": (lambda: containers(30_000), "spec.containers: more than 100 items"),
    "101 containers": (lambda: containers(101), "spec.containers: more than 100 items"),
    "40 containers of 1,000 limits": (lambda: limits(1000, "1e3990"), "containers[0].resources.limits: more than 32"),
    "33 names in the limits": (lambda: limits(33, "1"), "spec.containers[0].resources.limits: more than 32 names"),
    "4,000 tolerations that an annotation names": (lambda: tolerations(4000), "spec.tolerations: more than 256 items"),
    "10,000 affinity terms": (
        lambda: affinity_terms(10_000),
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution: more than 256 items",
    ),
    "a number of 1 MB": (lambda: with_limit("cpu", "9" * 2**20), "is too long; at most 4096 characters are accepted"),
    "a name of 1 MB": (lambda: with_limit("n" * 2**20, "1"), "spec.containers[0].resources"),
    "a container's name of 1 MB": (
        lambda: pod({"containers": [greedy(name="n" * 2**20)]}),
        "spec.containers[0].name: more than 512 characters",
    ),
    "a Pod's name of 1 MB": (lambda: pod({"containers": [greedy()]}, name="n" * 2**20), "metadata.name: more than 512"),
    "1,000 owners": (
        lambda: pod({"containers": [greedy()]}, ownerReferences=[{"kind": "k"}] * 1000),
        "metadata.ownerReferences: more than 256 items",
    ),
    "300,000 lists beside a deep one": (
        lambda: pod({"containers": [greedy()], "x": [[]] * 300_000}, managedFields=DEEP),
        "more than 100000 objects, lists, and values",
    ),
    "1,000,000 claims": (
        lambda: pod({"containers": [greedy(resources={"claims": [{}] * 10**6})]}),
        "more than 100000 objects, lists, and values",
    ),
    "a selector of 1,000,000 expressions": (
        lambda: affinity_terms(1, namespaceSelector={"matchExpressions": [{}] * 10**6}),
        "more than 100000 objects, lists, and values",
    ),
    "100,000 labels": (
        lambda: pod({"containers": [greedy()]}, labels={"execution-id": "a"} | many("l", 10**5)),
        "more than 100000 objects, lists, and values",
    ),
    "900,000 containers": (lambda: containers(900_000), "more than 100000 objects, lists, and values"),
    "100 containers of 28 limits": (
        lambda: limits(28, "1", of=100),
        "requests and limits: more than 1024 in all containers",
    ),
}  # fmt: skip


# Decided like any other: the rules lower what is over a maximum.
ORDINARY: Mapping[str, Callable[[], Data]] = {
    "a number beyond all digits": lambda: with_limit("cpu", "1e5000"),
    "a device beyond all digits": lambda: with_limit("nvidia.com/gpu", "1e5000"),
    "1.4 MB of a character that Go escapes": lambda: pod({"containers": [greedy(args=["<" * 1_400_000])]}),
    "managedFields nested deeper than the decoder follows": lambda: pod(
        {"containers": [greedy()]}, managedFields=[{"fieldsV1": DEEP}]
    ),
    "a deep field of the spec": lambda: pod({"containers": [greedy(x=DEEP)], "y": [DEEP] * 3}),
    "containers of null and a sidecar": lambda: pod({"containers": None, "initContainers": [greedy()]}),
    "200 tolerations that an annotation names": lambda: tolerations(200),
    "100 containers": lambda: pod({"containers": [greedy(name=f"c{n}") for n in range(100)]}),
    "an annotation of 3 MB": lambda: pod({"containers": [greedy()]}, annotations={ANNOTATION: "[" * 3_000_000}),
    "10,000 labels": lambda: pod({"containers": [greedy()]}, labels={"execution-id": "a"} | many("l", 10**4)),
    "a status that the API server resets": lambda: pod({"containers": [greedy()]}) | {"status": {"phase": "p" * 600}},
}  # fmt: skip


def text(data: Data) -> str:
    """The object as JSON, with its deeply nested parts."""
    return json.dumps(data, separators=(",", ":")).replace(json.dumps(DEEP), '{"f:a":' * LEVELS + "{}" + "}" * LEVELS)


def review(subject: Data, **request: Any) -> bytes:
    """The AdmissionReview as Go writes it: in its order, with `<`, `>` and `&` as six bytes each."""
    body = {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": subject["metadata"]["name"],
            "namespace": "flytesnacks-development",
            "operation": "CREATE",
            "object": subject,
            "oldObject": None,
            "dryRun": False,
            **request,
        },
    }
    found = text(body)
    for sign in "<>&":
        found = found.replace(sign, f"\\u{ord(sign):04x}")
    return found.encode()
