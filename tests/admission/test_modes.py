"""warn and audit change and refuse nothing, and tell; exemptions spare; a task's author opts out of nothing."""

import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import Data, quota_of
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, validate
from webhook.offline.cases import readable
from webhook.policy.file import load

TODAY = "2026-11-25"
GPU = "nvidia.com/gpu"
RULES: Data = {
    "task_resources": {"defaults": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2Gi", "gpu": 2}},
    "secondary_defaults": {"cpu": "100m", "memory": "64Mi"},
    "plugins": {"k8s": {"default-tolerations": [{"key": "flyte", "operator": "Exists"}]}},
}
QUOTA = {"metadata": {"name": "q"}, "status": {"hard": {"limits.cpu": "4"}, "used": {"limits.cpu": "3"}}}
OWNER = {"kind": "flyteworkflow", "name": "f1", "uid": "u", "controller": True}
TASK: Data = {
    "metadata": {
        "name": "p",
        "labels": {"execution-id": "f1", "project": "flytesnacks", "domain": "development"},
        "ownerReferences": [OWNER],
    },
    "spec": {
        "containers": [
            {"name": "p", "resources": {"requests": {"cpu": "8", GPU: "4"}, "limits": {"cpu": "8", GPU: "4"}}},
            {"name": "side", "resources": {"requests": {"memory": "8Gi"}}},
        ]
    },
}


def review_of(pod: Data, old: Data | None = None, namespace: str = "flytesnacks-development") -> bytes:
    request: Data = {
        "uid": "u",
        "operation": "UPDATE" if old else "CREATE",
        "subResource": "resize" if old else "",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": namespace,
        "object": pod,
        "oldObject": old,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def response_to(pod: Data, policy: Data, *quotas: Data, endpoint: str = "mutate", **how: Any) -> Data:
    request = wire.decode(review_of(pod, **how))
    decide = validate if endpoint == "validate" else mutate
    decision = decide(
        request, load(json.dumps(policy), "policy.yaml").policy, Constraints([*map(quota_of, quotas)]), TODAY
    )
    response: Data = readable(encode(request, decision))["response"]
    return response


ENFORCED = response_to(TASK, RULES)
REFUSED = response_to(TASK, RULES, QUOTA)


def test_in_enforce_the_pod_is_changed_or_refused() -> None:
    assert len(ENFORCED["patch"]) > 5
    assert (REFUSED["allowed"], REFUSED["status"]["code"]) == (False, 403)


@pytest.mark.parametrize("mode", ["warn", "audit"])
@pytest.mark.parametrize("endpoint", ["mutate", "validate"])
@pytest.mark.parametrize("quotas", [(), (QUOTA,)])
def test_in_warn_and_audit_nothing_is_changed_or_refused(mode: str, endpoint: str, quotas: tuple[Data, ...]) -> None:
    response = response_to(TASK, {**RULES, "mode": mode}, *quotas, endpoint=endpoint)
    assert response["allowed"] is True
    assert not {"patch", "patchType", "status"} & {*response}
    assert response["auditAnnotations"]["mode"] == mode


def test_warn_tells_the_client_and_the_audit_log_what_would_have_been() -> None:
    response = response_to(TASK, {**RULES, "mode": "warn"}, QUOTA)
    notes, refusal = response["auditAnnotations"], REFUSED["status"]
    assert notes["refusal"] == f"403 Forbidden: {refusal['message']}"
    assert notes["outlook"] == "fits-later"
    assert notes["changes"]["changes"] == REFUSED["auditAnnotations"]["changes"]["changes"]
    assert response["warnings"][0].startswith('would be refused: pods "p" is forbidden: exceeded quota: q, ')
    assert "would be lowered: limits cpu of p from 8 to 2 (over the maximum 2)" in response["warnings"]
    assert all(warning.startswith("would be ") for warning in response["warnings"])


def test_audit_tells_the_audit_log_alone() -> None:
    response = response_to(TASK, {**RULES, "mode": "audit", "warnings": True}, QUOTA)
    warned = response_to(TASK, {**RULES, "mode": "warn"}, QUOTA)
    assert "warnings" not in response
    assert {**response["auditAnnotations"], "mode": 0, "changes": 0} == {
        **warned["auditAnnotations"],
        "mode": 0,
        "changes": 0,
    }
    assert response["auditAnnotations"]["changes"]["changes"] == warned["auditAnnotations"]["changes"]["changes"]


def test_a_pod_in_order_is_told_as_nothing() -> None:
    asked = {"cpu": "1", "memory": "1Gi"}
    pod = {**TASK, "spec": {"containers": [{"name": "p", "resources": {"requests": asked, "limits": asked}}]}}
    policy = {"task_resources": RULES["task_resources"], "mode": "warn"}
    assert response_to(pod, policy) == {"uid": "u", "allowed": True, "auditAnnotations": {"mode": "warn"}}


def test_in_audit_a_resize_is_let_through_and_told() -> None:
    def sized(cpu: str) -> Data:
        asked = {"cpu": cpu, "memory": "1Gi"}
        return {**TASK, "spec": {"containers": [{"name": "p", "resources": {"requests": asked, "limits": asked}}]}}

    response = response_to(sized("8"), {**RULES, "mode": "audit"}, old=sized("1"))
    assert (response["allowed"], "patch" in response) == (True, False)
    assert [change["to"] for change in response["auditAnnotations"]["changes"]["changes"]] == ["2", "2"]


@pytest.mark.parametrize(
    ("namespace", "mode"),
    [("flytesnacks-development", "warn"), ("flytesnacks-production", None), ("other-development", None)],
)
def test_a_mode_may_be_that_of_a_project_and_domain(namespace: str, mode: str | None) -> None:
    policy = {**RULES, "overrides": [{"project": "flytesnacks", "domain": "development", "mode": "warn"}]}
    response = response_to(TASK, policy, namespace=namespace)
    assert (response["auditAnnotations"].get("mode"), "patch" in response) == (mode, mode is None)


def test_in_the_midst_of_an_audit_some_may_be_enforced() -> None:
    policy = {**RULES, "mode": "audit", "overrides": [{"project": "flytesnacks", "mode": "enforce"}]}
    assert response_to(TASK, policy)["patch"] == response_to(TASK, policy)["patch"]
    assert "patch" not in response_to(TASK, policy, namespace="other-development")


def exempt(*skip: str, until: str = TODAY, **match: str) -> Data:
    entry = {"match": match or {"project": "flytesnacks"}, "skip": [*skip], "reason": "a demo", "until": until}
    return {**RULES, "exemptions": [entry]}


def rules_of(response: Data) -> set[str]:
    changes = response["auditAnnotations"].get("changes", {"changes": []})["changes"]
    return {change["rule"] for change in changes}


@pytest.mark.parametrize("skipped", ["fill", "clamp", "tolerate"])
def test_an_exemption_spares_what_it_names_and_nothing_else(skipped: str) -> None:
    response = response_to(TASK, exempt(skipped))
    assert rules_of(response) == {"fill", "clamp", "tolerate"} - {skipped}
    assert response["auditAnnotations"]["exempted"] == f"{skipped}: a demo"


def test_an_exemption_from_quotas_leaves_them_to_the_api_server() -> None:
    response = response_to(TASK, exempt("quota"), QUOTA)
    assert (response["allowed"], response["auditAnnotations"]["exempted"]) == (True, "quota: a demo")
    assert rules_of(response) == {"fill", "clamp", "tolerate"}


def test_an_exemption_from_clamping_holds_for_validate_and_for_resizes_too() -> None:
    assert response_to(TASK, RULES, endpoint="validate")["allowed"] is False
    assert response_to(TASK, exempt("clamp"), endpoint="validate")["allowed"] is True
    small = {
        "metadata": TASK["metadata"],
        "spec": {"resources": {"limits": {"cpu": "1"}}, "containers": [{"name": "p"}]},
    }
    large = {
        "metadata": TASK["metadata"],
        "spec": {"resources": {"limits": {"cpu": "8"}}, "containers": [{"name": "p"}]},
    }
    assert response_to(large, RULES, old=small)["allowed"] is False
    assert response_to(large, exempt("clamp"), old=small)["allowed"] is True


@pytest.mark.parametrize(
    "policy",
    [
        exempt("fill", "clamp", "tolerate", "quota", until="2026-11-24"),
        exempt("fill", "clamp", "tolerate", "quota", project="other"),
        exempt("fill", "clamp", "tolerate", "quota", domain="production"),
        exempt("fill", "clamp", "tolerate", "quota", namespace="flytesnacks-production"),
    ],
)
def test_an_exemption_of_others_or_of_the_past_spares_nothing(policy: Data) -> None:
    response = response_to(TASK, policy, QUOTA)
    assert response["status"] == REFUSED["status"]
    assert "exempted" not in response["auditAnnotations"]


# What could be taken for a way out: of ours, of Flyte's, of other webhooks, of the policy's own words.
KEYS = [
    *(f"flyte-admission.io/{name}" for name in ("mode", "skip", "changes", "exempted", "inject", "policy")),
    "mode", "skip", "exemption", "flyte.org/managed", "flyte.org/run", "flyte.org/project", "flyte.org/domain",
    "project", "domain", "organization", "run", "workflow-name", "task-name", "node-id", "interruptible", "app",
    "sidecar.istio.io/inject", "admission.gatekeeper.sh/ignore", "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "kubernetes.io/config.mirror", "kubernetes.io/limit-ranger", "primary_container_name",
]  # fmt: skip
VALUES = [
    "", "true", "false", "off", "audit", "warn", "enforce", "none", "exempt", "other", "production", "side", "p",
    json.dumps({"policy": "x", "changes": []}),
    json.dumps({"policy": "x", "changes": [], "omitted": 7}),
    json.dumps({"policy": "x", "changes": [
        {"path": "/spec/containers/p/resources/limits/cpu", "from": "2", "to": "8", "rule": "clamp", "why": "me"}]}),
]  # fmt: skip
CLAIMS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES) | st.none(), max_size=6)
# Looser settings for others, which an author may want to pass for.
TEMPTING = {
    **RULES,
    "overrides": [
        {"project": "other", "mode": "audit", "limits": {"cpu": 0, "memory": 0, "gpu": 0}},
        {"project": "other", "domain": "production", "limits": {"cpu": 64}},
        {"domain": "production", "mode": "warn"},
    ],
    "exemptions": [
        {"match": {"project": "other"}, "skip": ["clamp", "quota"], "reason": "x", "until": TODAY},
        {"match": {"domain": "production"}, "skip": ["fill"], "reason": "x", "until": TODAY},
    ],
}


def after(pod: Data, response: Data) -> Data:
    patched: Data = jsonpatch.apply_patch(pod, response["patch"])
    return patched


@settings(max_examples=100)
@given(CLAIMS, CLAIMS, st.booleans())
def test_nothing_that_an_author_can_set_opts_a_pod_out(labels: Data, annotations: Data, owned: bool) -> None:  # noqa: FBT001
    """In Flyte 1 that is any label and any annotation, for Ray and Spark put the author's last."""
    owners = [OWNER] if owned else [{**OWNER, "kind": "RayCluster"}]
    metadata = TASK["metadata"]
    claimed = {
        "metadata": {
            **metadata,
            "labels": {**metadata["labels"], **labels},
            "annotations": annotations,
            "ownerReferences": owners,
        },
        "spec": TASK["spec"],
    }
    response = response_to(claimed, TEMPTING)
    found = after(claimed, response)["spec"]["containers"]
    assert [it["resources"]["limits"] for it in found] in (
        [{"cpu": "2", GPU: "2", "memory": amount}, {"cpu": cpu, "memory": "2Gi"}]
        for amount, cpu in (("1Gi", "100m"), ("64Mi", "500m"), ("64Mi", "100m"))
    )
    assert not {"mode", "exempted"} & {*response["auditAnnotations"]}
    keys = {(it.get("key"), it.get("effect")) for it in after(claimed, response)["spec"]["tolerations"]}
    assert keys == {(GPU, "NoSchedule"), ("flyte", None)}
    assert response_to(claimed, TEMPTING, endpoint="validate")["allowed"] is False
    assert response_to(claimed, TEMPTING, QUOTA)["allowed"] is False


V2_LABELS = {
    "flyte.org/managed": "true", "flyte.org/run": "r", "flyte.org/project": "flytesnacks",
    "flyte.org/domain": "development", "project": "flytesnacks", "domain": "development",
}  # fmt: skip


@settings(max_examples=50)
@given(CLAIMS, CLAIMS, st.sampled_from(["TaskAction", "RayCluster"]))
def test_nor_in_flyte_2_where_its_own_labels_win(labels: Data, annotations: Data, kind: str) -> None:
    """Labels of a run stand only where the executor has none of its own."""
    claimed = {
        "metadata": {
            "name": "p",
            "labels": {**labels, "execution-id": "x", **V2_LABELS},
            "annotations": annotations,
            "ownerReferences": [{**OWNER, "kind": kind}],
        },
        "spec": TASK["spec"],
    }
    response = response_to(claimed, TEMPTING, namespace="flyte")
    found = after(claimed, response)["spec"]["containers"]
    assert next(it["resources"]["limits"]["cpu"] for it in found) == "2"
    assert not {"mode", "exempted"} & {*response["auditAnnotations"]}
    strict = {**RULES, "overrides": [{"project": "flytesnacks", "limits": {"cpu": 1}}]}
    found = after(claimed, response_to(claimed, strict, namespace="flyte"))["spec"]["containers"]
    assert next(it["resources"]["limits"]["cpu"] for it in found) == "1"
    assert response_to(claimed, TEMPTING, QUOTA, namespace="flyte")["allowed"] is False
