"""What the webhook makes of a Pod passes the LimitRanger plugin of the real API server, and injected sidecars live."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.admission import test_limit_ranges as generated
from tests.apiserver import containers, defaulted
from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.installed import POLICY, existing
from tests.e2e.pods import FLYTE_1, pod, resources
from webhook.cluster.ledger import Ledger
from webhook.offline.limit_ranger import with_defaults
from webhook.offline.manifests import limit_ranges
from webhook.offline.review import reports
from webhook.policy.file import load

DEFAULTS = {"cpu": "500m", "memory": "500Mi"}  # of the example policy, as its maxima
MAXIMA = {"cpu": "4", "memory": "8Gi"}
NOTHING, LARGE, REQUESTS = "states nothing", "over the maxima", "a sidecar that states requests alone"
SIDECAR = {"requests": {"cpu": "10m", "memory": "40Mi"}}
# The least, a default request, a default limit, and the most of a container or Pod.
AMOUNTS = {"cpu": ("200m", "1", "300m", "3"), "memory": ("100Mi", "1Gi", "256Mi", "3Gi")}
NAMESPACES = 16
PODS = 300
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


def random_ranges(random: Random) -> list[Json]:
    """One or two items, whose amounts a LimitRange may have beside each other."""
    items = list[Json]()
    for kind in random.sample(["Container", "Pod"], k=random.randint(1, 2)):
        item: Json = {"type": kind}
        for name, (least, limit, request, most) in AMOUNTS.items():
            bounds = {"min": least, "max": most, "maxLimitRequestRatio": random.choice(["1", "2", "10"])}
            if kind == "Container":
                bounds |= {"default": limit, "defaultRequest": request}
            for bound in random.sample([*bounds], k=random.randint(0, 2)):
                item.setdefault(bound, {})[name] = bounds[bound]
        items.append(item)
    return items


@pytest.fixture
def bounded(admin: Client) -> dict[str, list[Json]]:
    """Namespaces with LimitRanges, which the API server and the webhook know."""
    ranges = {f"bounded{number}-development": random_ranges(Random(number)) for number in range(NAMESPACES)}  # noqa: S311
    known = {"type": "Container", "max": {"cpu": "123m"}, "default": {"memory": "123Mi"}}
    for namespace, items in {**ranges, "last-development": [known]}.items():
        admin.created({"kind": "Namespace", "metadata": {"name": namespace}})
        metadata = {"name": "bounds", "namespace": namespace}
        admin.created({"kind": "LimitRange", "metadata": metadata, "spec": {"limits": items}})
    probe = pod("last-development", "probe", FLYTE_1, {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}})

    def last() -> bool:
        reply = admin.create(probe, dry_run=True)
        limits = {"cpu": "123m", "memory": "123Mi", "ephemeral-storage": "1Gi"}
        return reply.code == 201 and resources(reply.body)["limits"] == limits

    wait_for("the last LimitRange to be known to both", last)
    return ranges


@pytest.mark.usefixtures("webhook")
def test_random_pods_are_stored_as_review_says_and_refused_for_nothing_that_the_rules_have_set(
    admin: Client, bounded: dict[str, list[Json]]
) -> None:
    policy, outcomes = load(POLICY.read_text(), str(POLICY)).policy, Counter[int]()

    @settings(max_examples=PODS, deadline=None, derandomize=True, database=None)
    @given(generated.pods(), st.sampled_from(sorted(bounded)))
    def check(made: Json, namespace: str) -> None:
        items = bounded[namespace]
        metadata = {**made["metadata"], "namespace": namespace}
        for container in containers(made):
            container["image"] = "example.com/task:1"
        asked = {"apiVersion": "v1", "kind": "Pod", **made, "metadata": metadata}
        limit_range = {"kind": "LimitRange", "metadata": {"name": "bounds", "namespace": namespace}}
        ledger = Ledger((), limit_ranges(json.dumps({**limit_range, "spec": {"limits": items}}), "ranges"))
        (report,) = reports(json.dumps(asked), "pod", policy, ledger, "2026-12-01")
        reviewed = report.stored
        assert reviewed
        reply = admin.create(asked, dry_run=True)
        outcomes[reply.code] += 1
        found = [*generated.complaints(reviewed, items)]
        if reply.code == 201:
            assert by_container(reply.body) == by_container(reviewed)
            assert found == []
        else:
            assert re.search("per (Container|Pod)", reply.message), reply.message
            assert found != []
            came = with_defaults(asked, ledger.limit_ranges(namespace))
            assert all(generated.is_its_authors(came, *complaint) for complaint in found)

    check()
    assert outcomes[201] > PODS / 3, outcomes


def by_container(stored: Json) -> Json:
    return {each["name"]: each.get("resources") or {} for each in containers(defaulted(stored))}


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
