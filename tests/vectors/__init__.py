"""Test vectors as pytest parameters, and the Kubernetes objects in them, decoded."""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook.api import pod
from webhook.api.pod import Pod
from webhook.api.quantity import Quantity
from webhook.api.resource_list import ResourceList
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook

Data = dict[str, Any]


@cache
def _groups(file: str) -> Data:
    groups: Data = json.loads((Path(__file__).parent / file).read_text())["groups"]
    return groups


def cases(file: str, group: str) -> list[Data]:
    found: list[Data] = _groups(file)[group]["cases"]
    return found


def regexes(file: str) -> dict[str, str]:
    """Return the regular expressions that Flyte matches a refusal with."""
    found: dict[str, str] = _groups(file)["backoff.GetComputeResourceAndQuantity"]["regexes"]
    return found


def params(selected: Iterable[Data]) -> list[pytest.ParameterSet]:
    """Return (input, expect) of each case as a parameter with the id of the case."""
    return [pytest.param(case["input"], case["expect"], id=case["id"]) for case in selected]


def pod_of(data: Data) -> Pod:
    return pod.decode(msgspec.json.encode(data))


def quota_of(data: Data) -> ResourceQuota:
    return msgspec.convert(data, ResourceQuota, dec_hook=decode_hook)


def amounts(texts: dict[str, str]) -> ResourceList:
    """Return quantities, which compare by numeric value."""
    return msgspec.convert(texts, dict[str, Quantity], dec_hook=decode_hook)


def texts(resources: ResourceList) -> dict[str, str]:
    return {name: str(value) for name, value in resources.items()}
