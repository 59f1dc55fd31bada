"""Pods that claim devices are refused where the policy says so, whatever else they have in common with others."""

import json

import pytest

from tests.rules import NAMESPACE, TODAY
from tests.vectors import Data
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, validate
from webhook.offline.cases import readable
from webhook.policy.file import load

FLYTE_1 = {"labels": {"execution-id": "x"}}
FLYTE_2 = {"labels": {"flyte.org/managed": "true"}, "ownerReferences": [{"kind": "TaskAction", "controller": True}]}
OPERATED = {**FLYTE_2, "ownerReferences": [{"kind": "RayCluster", "controller": True}]}
CLAIMS = [{"name": "gpus", "resourceClaimTemplateName": "eight"}]


def response_to(claims: object, policy: str, metadata: Data, endpoint: str = "mutate", old: Data | None = None) -> Data:
    """To Pods of one shape but for their claims, in which no request and no limit is missing."""
    amounts = {"cpu": "1", "memory": "1Gi"}
    block = {"requests": amounts, "limits": amounts, "claims": [{"name": "gpus"}]}
    spec = {"containers": [{"name": "a", "resources": block}], "resourceClaims": claims}
    request = {
        "uid": "u",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "UPDATE" if old else "CREATE",
        "subResource": "resize" if old else "",
        "namespace": NAMESPACE,
        "object": {"metadata": metadata, "spec": spec},
        "oldObject": old,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    decoded = wire.decode(json.dumps(review).encode())
    decide = validate if endpoint == "validate" else mutate
    decision = decide(decoded, load(policy, "policy.yaml").policy, Constraints(), TODAY)
    response: Data = readable(encode(decoded, decision))["response"]
    return response


@pytest.mark.parametrize("endpoint", ["mutate", "validate"])
@pytest.mark.parametrize(("metadata", "code"), [(FLYTE_1, 403), (FLYTE_2, 422), (OPERATED, 403)])
def test_a_pod_with_claims_is_refused_for_good_and_told_which_line_says_so(
    endpoint: str, metadata: Data, code: int
) -> None:
    policy = "task_resources: {}\nresource_claims: refuse"
    response = response_to(CLAIMS, policy, metadata, endpoint)
    assert (response["allowed"], response["status"]["code"]) == (False, code)
    assert "spec.resourceClaims is not allowed" in response["status"]["message"]
    assert "resource_claims: refuse (policy.yaml:2)" in response["status"]["message"]
    none: object
    for none in ([], None):
        assert response_to(none, policy, metadata, endpoint)["allowed"]


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("{}", None),
        ("resource_claims: allow", None),
        ("resource_claims: refuse\nmode: audit", "audit"),
        ("resource_claims: refuse\nmode: warn", "warn"),
        ("resource_claims: refuse\noverrides: [{project: flytesnacks, resource_claims: allow}]", None),
    ],
)
def test_a_pod_with_claims_passes_where_they_are_allowed_or_only_reported(policy: str, mode: str | None) -> None:
    response = response_to(CLAIMS, policy, FLYTE_1)
    assert (response["allowed"], response.get("auditAnnotations", {}).get("mode")) == (True, mode)
    assert ("spec.resourceClaims" in str(response)) == (mode is not None)


def test_a_pod_that_has_its_claims_already_may_be_resized() -> None:
    old = {"metadata": FLYTE_1, "spec": {"containers": [{"name": "a"}], "resourceClaims": CLAIMS}}
    for endpoint in ("mutate", "validate"):
        assert response_to(CLAIMS, "resource_claims: refuse", FLYTE_1, endpoint, old)["allowed"]
