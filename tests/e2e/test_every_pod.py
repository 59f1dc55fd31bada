"""The component that keeps a namespace for Flyte's Pods, against each way round it that the API server has."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.e2e.client import Client, Json, Reply, path_of, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.installed import existing, installed
from tests.e2e.pods import FLYTE_1, FLYTE_2, pod, resources
from tests.e2e.rendering import kustomized

KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
NODE = "large"  # and never ready, so that nothing is scheduled there
MAXIMUM, OTHERS_MAXIMUM = "4", "64"
POLICY = {
    "mode": "enforce",
    "task_resources": {"limits": {"cpu": MAXIMUM, "memory": "8Gi"}},
    "overrides": [{"project": "another", "limits": {"cpu": OTHERS_MAXIMUM}}],
    "project_domain_labels": "always",
}
UNLABELLED = dict.fromkeys(FLYTE_1)  # as a patch
ANOTHERS = {"project": "another"}
Change = Callable[[Client, str, Json], Reply]  # of the labels of the Pod at this path, to these; None takes one away


@pytest.fixture
def every_pod(admin: Client, programs: Binaries, tmp_path: Path, namespace: str) -> Iterator[str]:
    """A namespace with an unlabelled Pod from before, in which the component is in force from then on."""
    admin.created(pod(namespace, "before", {"app": "nginx"}))
    rendered = yaml.safe_load_all(kustomized(programs, tmp_path, ["enforce-every-pod-in-namespace"]))
    policies = [made for made in rendered if made["metadata"]["name"] == "flyte-admission-every-pod"]
    assert [made["kind"] for made in policies] == [*KINDS]
    with existing(admin, policies):
        labels = {"metadata": {"labels": {"flyte-admission.io/enforce": "every-pod"}}}
        admin.must("PATCH", path_of("Namespace", name=namespace), labels)
        probe = pod(namespace, "probe", {"app": "nginx"})
        wait_for("the policy to be in force", lambda: admin.create(probe, dry_run=True).code == 403)
        yield namespace


def test_a_pod_without_flytes_labels_is_refused(admin: Client, every_pod: str) -> None:
    bare: Json = pod(every_pod, "bare", {})
    del bare["metadata"]["labels"]
    for refused in (bare, pod(every_pod, "nginx", {"app": "nginx", "flyte.org/managed": "true"})):
        reply = admin.create(refused)
        assert reply.code == 403
        assert "this namespace is for the Pods of Flyte tasks" in reply.message
    assert admin.create(pod(every_pod, "one", FLYTE_1)).code == 201
    assert admin.create(pod(every_pod, "two", FLYTE_2)).code == 201


def test_elsewhere_every_pod_is_let_in_and_may_be_relabelled(admin: Client, every_pod: str) -> None:
    elsewhere = admin.created({"kind": "Namespace", "metadata": {"generateName": "test-"}})["metadata"]["name"]
    assert elsewhere != every_pod
    assert admin.create(pod(elsewhere, "nginx", {"app": "nginx"})).code == 201
    assert admin.create(pod(elsewhere, "task", FLYTE_1)).code == 201
    assert relabel(admin, path_of("Pod", elsewhere, "task"), UNLABELLED).code == 200


def relabel(client: Client, path: str, labels: Json, subresource: str = "") -> Reply:
    return client.ask("PATCH", path + subresource, {"metadata": {"labels": labels}})


def replace(client: Client, path: str, labels: Json, subresource: str = "") -> Reply:
    """PUT the whole Pod, with other labels."""
    stored = client.must("GET", path)
    del stored["metadata"]["resourceVersion"]  # whatever the scheduler does meanwhile
    merged = {**stored["metadata"]["labels"], **labels}
    stored["metadata"]["labels"] = {name: value for name, value in merged.items() if value is not None}
    return client.ask("PUT", path + subresource, stored)


def bind(client: Client, path: str, labels: Json) -> Reply:
    """Assign the Pod to a node by its subresource; the API server writes the labels of a Binding over the Pod's."""
    return client.ask("POST", f"{path}/binding", binding(path, labels))


def bind_by_collection(client: Client, path: str, labels: Json) -> Reply:
    """The same, by the older resource."""
    return client.ask("POST", path.rpartition("/pods/")[0] + "/bindings", binding(path, labels))


def binding(path: str, labels: Json) -> Json:
    metadata = {"name": path.rpartition("/")[2], "labels": labels}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"kind": "Node", "name": NODE}}


CHANGES = {
    "PATCH pods": (relabel, UNLABELLED),
    "PATCH pods, another's": (relabel, ANOTHERS),
    "PUT pods": (replace, UNLABELLED),
    "PATCH pods/status": (partial(relabel, subresource="/status"), UNLABELLED),
    "PATCH pods/status, another's": (partial(relabel, subresource="/status"), ANOTHERS),
    "PUT pods/status": (partial(replace, subresource="/status"), UNLABELLED),
    "POST pods/binding": (bind, ANOTHERS),
    "POST bindings": (bind_by_collection, ANOTHERS),
}
# The API server itself keeps the labels through these, so that the component need not look at them.
KEPT = {
    "PATCH pods/resize": (partial(relabel, subresource="/resize"), UNLABELLED),
    "PUT pods/resize": (partial(replace, subresource="/resize"), UNLABELLED),
    "PATCH pods/ephemeralcontainers": (partial(relabel, subresource="/ephemeralcontainers"), UNLABELLED),
    "PUT pods/ephemeralcontainers": (partial(replace, subresource="/ephemeralcontainers"), UNLABELLED),
}


def resize(client: Client, path: str, **metadata: Json) -> Reply:
    asked = {"name": "main", "resources": {"requests": {"cpu": "64"}, "limits": {"cpu": "64"}}}
    body = {"metadata": metadata, "spec": {"containers": [asked]}}
    return client.ask("PATCH", f"{path}/resize", body, patch="strategic-merge-patch")


@pytest.fixture(scope="module")
def enforcing(admin: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The webhook with a policy that gives another project more, and a Node that has as much."""
    folder = tmp_path_factory.mktemp("enforcing")
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    amounts = {"cpu": "128", "memory": "64Gi", "pods": "10"}
    with existing(admin, [{"kind": "Node", "metadata": {"name": NODE}}]):
        status = {"status": {"capacity": amounts, "allocatable": amounts}}
        admin.must("PATCH", f"{path_of('Node', name=NODE)}/status", status)
        with installed(admin, folder, "--no-quotas", policy=policy):
            yield


def grown(admin: Client, namespace: str, change: Change, labels: Json) -> tuple[Reply, str]:
    """What a change of labels is answered, and the cpu that the Pod then has after a resize to more than it may."""
    admin.created(pod(namespace, "task", FLYTE_1, {"limits": {"cpu": "1", "memory": "1Gi"}}))
    path = path_of("Pod", namespace, "task")
    reply = change(admin, path, labels)
    resize(admin, path)
    return reply, resources(admin.must("GET", path))["limits"]["cpu"]


@pytest.mark.usefixtures("enforcing")
@pytest.mark.parametrize(("change", "labels"), CHANGES.values(), ids=[*CHANGES])
def test_where_labels_may_change_a_resize_gets_past_the_maximum(
    admin: Client, namespace: str, change: Change, labels: Json
) -> None:
    """Which is why the component is there; where this ends, it may look away from that subresource."""
    reply, cpu = grown(admin, namespace, change, labels)
    assert reply.code < 300
    assert cpu == OTHERS_MAXIMUM


@pytest.mark.usefixtures("enforcing")
@pytest.mark.parametrize(("change", "labels"), CHANGES.values(), ids=[*CHANGES])
def test_where_every_pod_is_enforced_no_change_of_labels_gets_a_resize_past_the_maximum(
    admin: Client, every_pod: str, change: Change, labels: Json
) -> None:
    reply, cpu = grown(admin, every_pod, change, labels)
    assert reply.code == 403
    assert "Pods keep the labels that say which Flyte task they belong to; this would change" in reply.message
    assert all(label in reply.message for label in labels)
    assert cpu == MAXIMUM


@pytest.mark.usefixtures("enforcing")
@pytest.mark.parametrize(("change", "labels"), KEPT.values(), ids=[*KEPT])
def test_the_other_subresources_change_no_label(admin: Client, every_pod: str, change: Change, labels: Json) -> None:
    reply, cpu = grown(admin, every_pod, change, labels)
    assert reply.code == 200
    assert reply.body["metadata"]["labels"] == FLYTE_1
    assert cpu == MAXIMUM


@pytest.mark.usefixtures("enforcing")
@pytest.mark.parametrize("labels", [UNLABELLED, ANOTHERS], ids=["none", "another's"])
def test_a_resize_is_judged_by_the_labels_that_the_pod_has_and_not_by_those_it_brings(
    admin: Client, namespace: str, labels: Json
) -> None:
    admin.created(pod(namespace, "task", FLYTE_1, {"limits": {"cpu": "1", "memory": "1Gi"}}))
    path = path_of("Pod", namespace, "task")
    reply = resize(admin, path, labels=labels)
    assert reply.code == 200
    assert resources(admin.must("GET", path))["limits"]["cpu"] == MAXIMUM


def test_no_subresource_is_left_out(admin: Client) -> None:
    """A new one of a later Kubernetes is to be looked at."""
    harmless = {"attach", "eviction", "exec", "log", "portforward", "proxy"}
    names = (found["name"] for found in admin.must("GET", "/api/v1")["resources"])
    subresources = {name.partition("/")[2] for name in names if name.startswith("pods/")}
    assert subresources == {"status", "binding", "resize", "ephemeralcontainers"} | harmless


def test_what_happens_to_every_pod_goes_on(admin: Client, every_pod: str) -> None:
    """Labels that are nobody's, status, binding, eviction, finalizers, and Pods from before the component."""
    admin.created(pod(every_pod, "task", FLYTE_1))
    for name in ("task", "before"):
        path = path_of("Pod", every_pod, name)
        assert relabel(admin, path, {"more": "yes"}).code == 200
        assert relabel(admin, path, {"more": "no"}, "/status").code == 200
        assert admin.ask("PATCH", path, {"metadata": {"finalizers": ["example.com/mine"]}}).code == 200
        assert admin.ask("PATCH", path, {"metadata": {"finalizers": None}}).code == 200
        assert bind(admin, path, {"topology.kubernetes.io/zone": "a"}).code == 201
        condition = {"type": "Ready", "status": "True"}
        assert admin.ask("PATCH", f"{path}/status", {"status": {"conditions": [condition]}}).code == 200
        evicted = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        assert admin.ask("POST", f"{path}/eviction", evicted).code == 201


def test_a_pod_from_before_may_become_flytes_and_then_stays_so(admin: Client, every_pod: str) -> None:
    path = path_of("Pod", every_pod, "before")
    assert relabel(admin, path, FLYTE_1).code == 200
    assert relabel(admin, path, UNLABELLED).code == 403
