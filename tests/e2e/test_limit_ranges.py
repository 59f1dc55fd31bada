"""What the webhook makes of a Pod passes the LimitRanger plugin of the real API server, and injected sidecars live."""

from collections.abc import Iterator

import pytest

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.installed import existing
from tests.e2e.pods import FLYTE_1, pod

DEFAULTS = {"cpu": "500m", "memory": "500Mi"}  # of the example policy, as its maxima
MAXIMA = {"cpu": "4", "memory": "8Gi"}
NOTHING, LARGE, REQUESTS = "states nothing", "over the maxima", "a sidecar that states requests alone"
SIDECAR = {"requests": {"cpu": "10m", "memory": "40Mi"}}
RANGES: list[tuple[str, list[Json], tuple[str, ...]]] = [
    ("minimum", [{"type": "Container", "min": {"cpu": "750m", "memory": "600Mi"}}], (NOTHING,)),
    ("maximum", [{"type": "Container", "max": {"cpu": "2", "memory": "4Gi"}}], (LARGE,)),
    ("ratio", [{"type": "Container", "maxLimitRequestRatio": {"cpu": "3", "memory": "1.5"}}], (NOTHING, REQUESTS)),
    ("maximum of the Pod", [{"type": "Pod", "max": {"cpu": "3", "memory": "6Gi"}}], (NOTHING, LARGE, REQUESTS)),
    ("minimum of the Pod", [{"type": "Pod", "min": {"cpu": "1", "memory": "1Gi"}}], (NOTHING, REQUESTS)),
    ("ratio of the Pod", [{"type": "Pod", "maxLimitRequestRatio": {"memory": "1"}}], (REQUESTS,)),
    (
        "all of them",
        [
            {"type": "Container", "min": {"cpu": "600m"}, "max": {"cpu": "3"}, "maxLimitRequestRatio": {"cpu": "2"}},
            {"type": "Pod", "max": {"memory": "2Gi"}},
        ],
        (NOTHING, LARGE),
    ),
]


def asked(namespace: str, which: str) -> Json:
    if which == LARGE:
        return pod(namespace, "task", FLYTE_1, {"limits": {"cpu": "6", "memory": "16Gi"}})
    made = pod(namespace, "task", FLYTE_1)
    if which == REQUESTS:
        made["spec"]["containers"].append({"name": "proxy", "image": "example.com/proxy:1", "resources": SIDECAR})
    return made


def unaware(namespace: str) -> list[Json]:
    """What the policy alone would make of them, in Pods that the webhook is not asked about."""
    proxy = {"name": "proxy", "image": "example.com/proxy:1", "resources": {**SIDECAR, "limits": DEFAULTS}}
    made = [pod(namespace, "plain", {}, {"requests": each, "limits": each}) for each in (DEFAULTS, MAXIMA, DEFAULTS)]
    made[-1]["spec"]["containers"].append(proxy)
    return made


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize(("items", "pods"), [row[1:] for row in RANGES], ids=[row[0] for row in RANGES])
def test_what_is_filled_and_lowered_is_within_the_limit_ranges(
    admin: Client, namespace: str, items: list[Json], pods: tuple[str, ...]
) -> None:
    metadata = {"name": "bounds", "namespace": namespace}
    admin.created({"kind": "LimitRange", "metadata": metadata, "spec": {"limits": items}})
    refused = wait_for(
        "the API server to know the LimitRange",
        lambda: [reply for made in unaware(namespace) if (reply := admin.create(made, dry_run=True)).code == 403],
    )
    assert all("per Container" in reply.message or "per Pod" in reply.message for reply in refused)

    def accepted() -> bool:
        return all(admin.create(asked(namespace, which), dry_run=True).code == 201 for which in pods)

    wait_for("the webhook to know it too", accepted)


@pytest.fixture
def _injecting(admin: Client) -> Iterator[None]:
    """What injects a proxy into each Pod of a namespace with the label, as service meshes do."""
    asks = 'Object.spec.containers.resources{requests: {"cpu": "10m", "memory": "40Mi"}}'
    proxy = f'Object.spec.containers{{name: "istio-proxy", image: "example.com/proxy:1", resources: {asks}}}'
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    apply = {"expression": f"Object{{spec: Object.spec{{containers: [{proxy}]}}}}"}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "resourceRules": rules,
            "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
        },
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": apply}],
    }
    objects = [
        {"kind": "MutatingAdmissionPolicy", "metadata": {"name": "mesh"}, "spec": spec},
        {"kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "mesh"}, "spec": {"policyName": "mesh"}},
    ]
    with existing(admin, objects):
        yield


@pytest.mark.usefixtures("webhook", "_injecting")
def test_an_injected_sidecar_is_not_bound_to_what_it_requests_at_least(admin: Client, namespace: str) -> None:
    admin.must("PATCH", path_of("Namespace", name=namespace), {"metadata": {"labels": {"istio-injection": "enabled"}}})

    def injected() -> Json | None:
        found: Json = admin.created(pod(namespace, "task", FLYTE_1), dry_run=True)
        return found if len(found["spec"]["containers"]) == 2 else None

    stored = wait_for("the proxy", injected)
    proxy = next(each for each in stored["spec"]["containers"] if each["name"] == "istio-proxy")
    assert proxy["resources"] == {
        "requests": {"cpu": "10m", "memory": "40Mi"},
        "limits": {"cpu": "100m", "memory": "64Mi"},
    }
    task = next(each for each in stored["spec"]["containers"] if each["name"] == "main")
    assert task["resources"]["limits"] == {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "1Gi"}
