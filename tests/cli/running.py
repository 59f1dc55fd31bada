"""Pods as they run in a cluster, quotas that count them, and the command line over both."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from webhook.cli.main import main

Json = dict[str, Any]
NAMESPACE = "flytesnacks-development"


def run(*arguments: str | Path, stdin: str | Json | list[Json] = "", **environment: str) -> Result:
    text = stdin if isinstance(stdin, str) else json.dumps(stdin if isinstance(stdin, dict) else dump(*stdin))
    result = CliRunner().invoke(main, [*map(str, arguments)], input=text, env=environment, catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def dump(*items: Json) -> Json:
    """What kubectl prints for several kinds."""
    return {"apiVersion": "v1", "kind": "List", "items": [*items]}


def pod(name: str, cpu: str = "1", namespace: str = NAMESPACE, minute: int = 0, **spec: Any) -> Json:
    """A Pod of Flyte 1 that runs, with equal requests and limits."""
    amounts = {"cpu": cpu, "memory": "1Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "resourceVersion": "7",
            "labels": {"execution-id": "a", "task-name": "train", "workflow-name": "fit"},
            "creationTimestamp": f"2026-11-30T10:{minute:02}:00Z",
        },
        "spec": {"containers": [container("main", requests=amounts, limits=dict(amounts))], **spec},
        "status": {"phase": "Running"},
    }  # fmt: skip


def container(name: str, **resources: Any) -> Json:
    return {"name": name, "image": "i", "resources": resources}


def quota(used: Json | None, namespace: str = NAMESPACE, name: str = "project-quota", **hard: str) -> Json:
    """A quota as the API server has it, or without `used` as somebody writes it; `limits_cpu` is limits.cpu."""
    amounts = {key.replace("_", "."): value for key, value in hard.items()}
    made: Json = {
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hard": amounts},
    }
    return made if used is None else made | {"status": {"hard": amounts, "used": used}}
