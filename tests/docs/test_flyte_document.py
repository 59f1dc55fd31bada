"""docs/flyte.md by its examples: what Flyte makes of a task, what the webhook makes of it, what Flyte is answered."""

import json
import re
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from tests import flyte_model
from tests.vectors import Data, cases, params
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.cluster.ledger import Ledger
from webhook.offline import manifests
from webhook.offline.cases import readable
from webhook.policy.file import load

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "flyte.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
POLICY, *EXAMPLES = [yaml.safe_load(text) for text in BLOCK.findall(DOCUMENT.read_text())]
KEYS = {"policy", "resources", "pod", "labels", "namespace", "quota"} | {
    "registration", "flyte", "becomes", "tolerations", "warnings", "refused", "check"
}  # fmt: skip
MADE_BY: dict[str, Data] = {
    "flyte1": {"labels": {"execution-id": "a1"}},
    "flyte2": {"labels": {"flyte.org/managed": "true"}},
    "operator": {"labels": {"execution-id": "a1"}, "ownerReferences": [{"kind": "RayCluster", "controller": True}]},
}


READERS = {"flyte1": flyte_model.flyte_1, "flyte2": flyte_model.flyte_2}


def has(key: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "example", [pytest.param(it, id=str(n)) for n, it in enumerate(EXAMPLES) if key in it]
    )


def answer(example: Data, made_by: str = "flyte1") -> tuple[Data, Data]:
    """The response to the creation of the example's Pod, as Kubernetes sends it, and the Pod that comes of it."""
    metadata = {"name": "a1-n0-0"} | MADE_BY[made_by]
    if "labels" in example:
        metadata["labels"] = example["labels"]
    spec = example.get("pod") or {"containers": [{"name": "main", "resources": example["resources"]}]}
    namespace = example.get("namespace", "flytesnacks-development")
    pod = {"metadata": metadata, "spec": spec}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    sent = {"uid": "u", "operation": "CREATE", "resource": resource, "namespace": namespace, "object": pod}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": sent}
    request = wire.decode(json.dumps(review).encode())
    policy = load(json.dumps(example.get("policy", POLICY)), "policy.yaml").policy
    decision = mutate(request, policy, Constraints(quotas(example, namespace)), "2026-11-25")
    response: Data = readable(encode(request, decision))["response"]
    return response, jsonpatch.apply_patch(pod, response.get("patch", []))


def quotas(example: Data, namespace: str) -> Any:
    if "quota" not in example:
        return ()
    metadata = {"name": "project-quota", "namespace": namespace}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "status": example["quota"]}
    ledger = Ledger(manifests.quotas(json.dumps(quota), "quotas.yaml"))
    return ledger.quotas(namespace, wire.Request(uid="u").meta)


def flytes_names(example: Data, part: str) -> Data:
    names = {"gpu": "nvidia.com/gpu", "ephemeralStorage": "ephemeral-storage"}
    block = example.get("policy", POLICY)["task_resources"].get(part, {})
    return {names.get(key, key): value for key, value in block.items()}


def sides(resources: Data) -> dict[str, flyte_model.Amounts]:
    return {side: flyte_model.amounts(resources.get(side)) for side in ("requests", "limits")}


@has("becomes")
def test_the_webhook_makes_of_the_pod_what_the_page_says(example: Data) -> None:
    _, pod = answer(example)
    found = {container["name"]: sides(container["resources"]) for container in pod["spec"]["containers"]}
    assert {name: within(found[name], wanted) for name, wanted in example["becomes"].items()} == {
        name: sides(wanted) for name, wanted in example["becomes"].items()
    }


def within(found: Data, wanted: Data) -> Data:
    """Of what was found, what the page speaks of."""
    return {side: {name: v for name, v in found[side].items() if name in wanted.get(side, {})} for side in found}


@has("flyte")
def test_flyte_makes_of_the_container_what_the_page_says(example: Data) -> None:
    defaults, limits = (flyte_model.amounts(flytes_names(example, part)) for part in ("defaults", "limits"))
    found = flyte_model.assigned(example["resources"], defaults, limits)
    wanted = sides(example["flyte"])
    assert (within(found, example["flyte"]) if any(wanted.values()) else found) == wanted


@has("registration")
def test_flyteadmin_says_of_the_task_what_the_page_says(example: Data) -> None:
    said = flyte_model.registration(example["resources"], flytes_names(example, "limits"))
    assert (said or "accepted") == example["registration"]


@has("tolerations")
def test_the_pod_tolerates_what_the_page_says(example: Data) -> None:
    assert answer(example)[1]["spec"].get("tolerations", []) == example["tolerations"]


@has("warnings")
def test_the_client_is_told_what_the_page_says(example: Data) -> None:
    assert [line for line in answer(example)[0]["warnings"] if line in example["warnings"]] == example["warnings"]


@has("check")
def test_policy_check_says_what_the_page_says(example: Data) -> None:
    warnings = load(json.dumps(example["policy"]), "policy.yaml").warnings
    assert [warning for warning in warnings if warning.endswith(f": {example['check']}")]


@has("refused")
def test_the_pod_is_refused_as_the_page_says(example: Data) -> None:
    for made_by, wanted in example["refused"].items():
        status = answer(example, made_by)[0]["status"]
        assert {key: status[key] for key in ("code", "reason")} == {key: wanted[key] for key in ("code", "reason")}
        seconds = status.get("details", {}).get("retryAfterSeconds")
        error = flyte_model.Refusal(status["code"], status["reason"], status["message"], seconds)
        if made_by in READERS:
            assert READERS[made_by](error)[0] == wanted["then"]


ROW = re.compile(r"^\| (\d+) \| (\d+)s \| (\d+) \| (\d+) s \| (the reason|context deadline exceeded) \|$", re.MULTILINE)


def test_flyte_2_is_as_patient_as_the_page_says() -> None:
    rows = ROW.findall(DOCUMENT.read_text())
    assert len(rows) >= 4
    for retry_after, timeout, tries, seconds, seen in rows:
        said = flyte_model.Patience(int(tries), int(seconds), reason=seen == "the reason")
        assert flyte_model.patience(int(retry_after), int(timeout)) == said


def test_the_page_names_every_scenario_with_a_real_flyte() -> None:
    scenarios = Path(__file__).parent.parent / "e2e" / "flyte"
    found = {name for file in scenarios.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    _, table = DOCUMENT.read_text().split("## What is run against the real Flyte\n")
    assert set(re.findall(r"`(test_\w+)`", table)) == found


def test_every_example_says_something_and_nothing_unknown() -> None:
    assert len(EXAMPLES) >= 20
    for example in EXAMPLES:
        assert set(example) <= KEYS
        assert set(example) & {"registration", "flyte", "becomes", "tolerations", "warnings", "refused", "check"}


@pytest.mark.parametrize(
    ("given", "expect"),
    params(
        case for case in cases("flyte_v1.json", "flyteadmin.validateTaskResources") if case["id"] != "c5a1e0d73c"
    ),  # that one is a quantity that does not parse
)
def test_the_model_of_registration_is_flytes(given: Data, expect: Data) -> None:
    assert flyte_model.registration(given, given["platform_limits"]) == expect["error"]


@pytest.mark.parametrize(
    ("given", "expect"),
    params(c for name in ("flyte_v1.json", "flyte_v2.json") for c in cases(name, "AdjustOrDefaultResource")),
)
def test_the_model_of_a_container_is_flytes(given: Data, expect: Data) -> None:
    parts = (
        flyte_model.amounts({"x": given[key]})["x"]
        for key in ("request", "limit", "platform_default", "platform_limit")
    )
    assert flyte_model.adjusted(*parts) == tuple(flyte_model.amounts(expect["exact"]).values())
