"""docs/semantics.md by its examples: what Pods are charged, and the words they are refused with."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.workloads import check, default, usage
from webhook.api import quantity
from webhook.api.pod import Pod, decode
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "semantics.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [yaml.safe_load(text) for text in BLOCK.findall(DOCUMENT.read_text())]


def pod(example: dict[str, Any]) -> Pod:
    return default(decode(json.dumps({"spec": example["spec"]}).encode()))[0]


def quotas(example: dict[str, Any]) -> list[ResourceQuota]:
    return [
        msgspec.convert({"metadata": {"name": name}, "status": status}, ResourceQuota, dec_hook=decode_hook)
        for name, status in example["quotas"].items()
    ]


@pytest.mark.parametrize("example", [example for example in EXAMPLES if "charged" in example])
def test_a_pod_is_charged_what_the_page_says(example: dict[str, Any]) -> None:
    assert usage(pod(example)) == {name: quantity.from_json(value) for name, value in example["charged"].items()}


@pytest.mark.parametrize("example", [example for example in EXAMPLES if "refused" in example])
def test_a_pod_is_refused_with_the_words_of_the_page(example: dict[str, Any]) -> None:
    violations = check(pod(example), quotas(example)).violations
    assert "; ".join(map(str, violations)) == example["refused"]


def test_every_example_of_the_page_is_run() -> None:
    assert [("charged" in example) + ("refused" in example) for example in EXAMPLES] == [1] * 5
