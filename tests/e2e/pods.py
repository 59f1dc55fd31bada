"""Pods as Flyte makes them, as far as the webhook and the API server care."""

from typing import Any

from tests.e2e.client import Json

FLYTE_1 = {"execution-id": "a4k7h2", "project": "flytesnacks", "domain": "development", "task-name": "train"}
FLYTE_2 = {
    "flyte.org/run": "r4k7h2",
    "flyte.org/managed": "true",
    "flyte.org/project": "flytesnacks",
    "flyte.org/domain": "development",
}


def pod(namespace: str, name: str, labels: dict[str, str], resources: Json | None = None, **spec: Any) -> Json:
    """A Pod of one container, named like it; a name that ends in `-` is a generateName."""
    named = {"generateName" if name.endswith("-") else "name": name}
    container: Json = {"name": "main", "image": "example.com/task:1"}
    if resources is not None:
        container["resources"] = resources
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**named, "namespace": namespace, "labels": labels},
        "spec": {"containers": [container], "restartPolicy": "Never", **spec},
    }


def resources(stored: Json) -> Json:
    """What the first container has."""
    found: Json = stored["spec"]["containers"][0].get("resources", {})
    return found
