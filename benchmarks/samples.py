"""The reviews, Pods and quotas that are measured with; each number gives another one."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
RECORDED: Final = (Path(__file__).resolve().parent / "review.json").read_text()
NAMESPACE: Final = "flytesnacks-benchmark"
SHAPES: Final = 7  # different amounts that Pods ask for: the Pods of a task are alike, tasks are few
MANY: Final = 10**6  # shapes, which is to say that no Pod is like another
GIBIBYTE: Final = 2**20  # in Ki
HARD: Final = {"limits.cpu": "90k", "limits.memory": "900Ti", "requests.nvidia.com/gpu": "90k", "count/pods": "90k"}
UNSEEN: Final = itertools.count(SHAPES)  # numbers of Pods that have not been reviewed yet
Json = dict[str, Any]
Reviews: TypeAlias = Callable[[], list[bytes]]  # gives those of one turn


def pod(number: int, namespace: str = NAMESPACE, shapes: int = SHAPES) -> Json:
    """A Flyte Pod with a GPU, more cpu than it may have, and a sidecar that states nothing."""
    made: Json = json.loads((EXAMPLES / "review.json").read_text())["request"]["object"]
    name = f"a{number:08x}-n0-0"
    made["metadata"] |= {"name": name, "namespace": namespace}
    amounts = {"cpu": "6", "memory": _memory(number, shapes), "nvidia.com/gpu": "1"}
    task = made["spec"]["containers"][0] | {
        "name": name,
        "env": [{"name": f"FLYTE_INTERNAL_{i}", "value": f"value-{number % 10}-{i}" * 3} for i in range(46)],
        "resources": {"requests": amounts, "limits": amounts},
    }
    sidecar = {"name": "log-sidecar", "image": "fluent/fluent-bit:4.2", "resources": {}}
    made["spec"]["containers"] = [task, sidecar]
    return made


def review(number: int, namespace: str = NAMESPACE, shapes: int = SHAPES) -> bytes:
    """An AdmissionReview of 9 KB: what kube-apiserver 1.37 sent for Pod 1, with what is another Pod's in its places."""
    return (
        RECORDED.replace("00000000-0000-0000-0000-000000000001", f"{number:08x}-0000-0000-0000-000000000001")
        .replace("a00000001-n0-0", f"a{number:08x}-n0-0")
        .replace("value-1-", f"value-{number % 10}-")
        .replace("1025Mi", _memory(number, shapes))
        .replace(NAMESPACE, namespace)
        .encode()
    )


def _memory(number: int, shapes: int) -> str:
    """Return an amount that differs by shape and stays below the maximum, so that all shapes take the same work."""
    return f"{GIBIBYTE + number % shapes}Ki"


def known(count: int) -> Reviews:
    """The same reviews in each turn, of a few shapes."""
    made = [review(number) for number in range(count)]
    return lambda: made


def new(count: int) -> Reviews:
    """Reviews of shapes that no turn before had, whichever server it was about."""
    return lambda: [review(next(UNSEEN), shapes=MANY) for _ in range(count)]


SERIES: Final = {"known shapes": known, "new shapes": new}


def quota(namespace: str = NAMESPACE, name: str = "project-quota") -> Json:
    """A ResourceQuota that counts the Pod and has room for it."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"},
        "spec": {"hard": HARD},
        "status": {"hard": HARD, "used": dict.fromkeys(HARD, "1")},
    }
