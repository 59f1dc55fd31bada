"""The defaults of LimitRanges in new Pods of a file; tests/e2e compares them with the plugin of the real API server."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.apiserver import Json
from tests.cli.running import run
from webhook.api.limit_range import LimitRange, defaulted
from webhook.api.resources import decode_hook
from webhook.offline.limit_ranger import with_defaults


def limit_range(**item: Any) -> LimitRange:
    made = {"metadata": {"name": "r", "namespace": "a-development"}, "spec": {"limits": [item]}}
    return msgspec.convert(made, LimitRange, dec_hook=decode_hook)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}),
        ({"default": {"cpu": "2"}}, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}),
        ({"max": {"cpu": "4"}}, {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}),
        ({"min": {"cpu": "1"}}, {"requests": {"cpu": "1"}}),
        ({"min": {"cpu": "1"}, "max": {"cpu": "4"}}, {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}),
        ({"maxLimitRequestRatio": {"cpu": "4"}}, {}),
    ],
    ids=json.dumps,
)
def test_a_container_that_states_nothing_gets_the_defaults(item: Json, expected: Json) -> None:
    pod = {"spec": {"containers": [{"name": "main"}]}}
    found = with_defaults(pod, [limit_range(type="Container", **item)])
    assert found["spec"]["containers"][0].get("resources", {}) == expected
    assert with_defaults(pod, [limit_range(type="Pod", max={"cpu": "1"})]) == pod


def test_what_a_limit_range_has_set_is_in_an_annotation_that_can_be_read_again() -> None:
    spec = {
        "containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}],
        "initContainers": [{"name": "init", "resources": None}],
    }
    item = {"default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1", "memory": "1Gi"}}
    found = with_defaults({"metadata": None, "spec": spec}, [limit_range(type="Container", **item)])
    (annotation,) = found["metadata"]["annotations"].values()
    assert defaulted(annotation) == {
        ("request", "", "main"): {"memory"},
        ("limit", "", "main"): {"cpu", "memory"},
        ("request", "init ", "init"): {"cpu", "memory"},
        ("limit", "init ", "init"): {"cpu", "memory"},
    }
    assert defaulted("what somebody else has written") == {}


def test_review_gives_new_pods_the_defaults_of_limit_ranges_first(tmp_path: Path) -> None:
    policy, ranges, file = (tmp_path / name for name in ("policy.yaml", "ranges.json", "pod.json"))
    policy.write_text("task_resources: {limits: {cpu: 4}}\n")
    item = {"type": "Container", "default": {"cpu": "8"}, "defaultRequest": {"cpu": "1"}}
    metadata = {"name": "r", "namespace": "a-development"}
    ranges.write_text(json.dumps({"kind": "LimitRange", "metadata": metadata, "spec": {"limits": [item]}}))
    labels = {"execution-id": "x"}
    pod = {"metadata": {**metadata, "labels": labels}, "spec": {"containers": [{"name": "main"}]}}
    file.write_text(json.dumps({"kind": "Pod", **pod}))
    result = run("review", "--policy", policy, "--limit-ranges", ranges, "-f", file, "-o", "json")
    (found,) = json.loads(result.stdout)
    assert found["result"]["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}
