"""What certs may change of the webhook configurations: RBAC lets it patch them, a policy the caBundle alone."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.client import Client, Json, Reply, path_of, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.rendering import NAMESPACE, kustomized, overlay, run, templated

CONFIGURATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
NEEDED = {*CONFIGURATIONS, *POLICIES, "ClusterRole", "ClusterRoleBinding"}
CLIENT, SERVICE = "/webhooks/0/clientConfig", "/webhooks/0/clientConfig/service"
BUNDLE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"


def added(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "4d1f1f9e-0000-4000-8000-000000000000"}
SELECTOR = {"matchLabels": {"team": "ml"}}
# Every field that a webhook configuration has, by its name: what is done to it.
CHANGES = {
    "labels": added("/metadata/labels/more", "yes"),
    "annotations": added("/metadata/annotations", {"more": "yes"}),
    "finalizers": added("/metadata/finalizers", ["example.com/mine"]),
    "ownerReferences": added("/metadata/ownerReferences", [OWNER]),
    "generateName": added("/metadata/generateName", "more-"),
    "name": added("/webhooks/0/name", "another.flyte-admission.io"),
    "rules": added("/webhooks/0/rules/0/resources", ["*/*"]),
    "failurePolicy": added("/webhooks/0/failurePolicy", "Fail"),
    "matchPolicy": added("/webhooks/0/matchPolicy", "Exact"),
    "namespaceSelector": added("/webhooks/0/namespaceSelector", {}),
    "objectSelector": added("/webhooks/0/objectSelector", SELECTOR),
    "sideEffects": added("/webhooks/0/sideEffects", "NoneOnDryRun"),
    "timeoutSeconds": added("/webhooks/0/timeoutSeconds", 30),
    "admissionReviewVersions": added("/webhooks/0/admissionReviewVersions/0", "v1beta1"),
    "matchConditions": added("/webhooks/0/matchConditions", [{"name": "never", "expression": "false"}]),
    "reinvocationPolicy": added("/webhooks/0/reinvocationPolicy", "Never"),  # of a mutating webhook
    "url": added(CLIENT, {"url": "https://example.com/mutate"}),
    "service": added(SERVICE, {"name": "another", "namespace": "another"}),
    "service.name": added(f"{SERVICE}/name", "another"),
    "service.namespace": added(f"{SERVICE}/namespace", "another"),
    "service.path": added(f"{SERVICE}/path", "/another"),
    "service.port": added(f"{SERVICE}/port", 8443),
    "one webhook less": {"op": "remove", "path": "/webhooks/1"},
    "one webhook more": {"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"},
    "no webhooks": {"op": "remove", "path": "/webhooks"},
    "their order": {"op": "move", "from": "/webhooks/1", "path": "/webhooks/0"},
}
# Those that the API server sets itself, or never lets anybody change.
ITS_OWN = {
    "apiVersion", "kind", "metadata", "webhooks", "clientConfig", "creationTimestamp", "deletionGracePeriodSeconds",
    "deletionTimestamp", "generation", "managedFields", "namespace", "resourceVersion", "selfLink", "uid",
}  # fmt: skip


def elsewhere(programs: Binaries, folder: Path) -> str:
    """As an overlay renders the base for a namespace of its own, the subjects of its bindings included."""
    into: Json = {"apiVersion": "builtin", "kind": "NamespaceTransformer"}
    into |= {"metadata": {"name": "into", "namespace": "elsewhere"}, "setRoleBindingSubjects": "allServiceAccounts"}
    file = overlay(folder, []) / "kustomization.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"transformers": [yaml.safe_dump(into)]}))
    return run(programs.path("kustomize"), "build", folder)


RENDERINGS = {
    "kustomize": (NAMESPACE, kustomized),
    "kustomize, elsewhere": ("elsewhere", elsewhere),
    "Helm, elsewhere": ("elsewhere", lambda programs, _: templated(programs, "--namespace=elsewhere")),
}


@pytest.fixture(scope="module", params=RENDERINGS.values(), ids=[*RENDERINGS])
def certs(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    admin: Client,
    programs: Binaries,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Client]:
    """The service account of certs, with the shipped rights, and the policy in force."""
    namespace, render = request.param
    rendered = yaml.safe_load_all(render(programs, tmp_path_factory.mktemp("rendered")))
    shipped = yaml.safe_dump_all(made for made in rendered if made["kind"] in NEEDED)
    kubectl = [programs.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    admin.create({"kind": "Namespace", "metadata": {"name": namespace}})
    subprocess.run([*kubectl, "apply", "--filename=-"], input=shipped, text=True, check=True)
    account = control_plane.service_account(namespace, "flyte-admission-certs")
    (user,) = json.loads(account.read_text())["users"]
    client = Client(control_plane.url, control_plane.ca, user["user"]["token"])
    wait_for("the policy to be in force", lambda: is_refused(change(client, CHANGES["labels"], dryRun="All")))
    yield client
    client.close()
    subprocess.run([*kubectl, "delete", "--filename=-"], input=shipped, text=True, check=True)


def change(client: Client, *operations: Json, kind: str = CONFIGURATIONS[0], **query: str) -> Reply:
    path = path_of(kind, name="flyte-admission")
    return client.ask("PATCH", path, list(operations), patch="json-patch", **query)


def is_refused(reply: Reply) -> bool:
    """By the policy, and not for want of a right."""
    return reply.code == 403 and "may change the caBundle of each webhook, and nothing else" in reply.message


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_certs_may_write_each_ca_bundle(admin: Client, certs: Client, kind: str) -> None:
    reply = change(certs, *(added(f"/webhooks/{number}/clientConfig/caBundle", BUNDLE) for number in (0, 1)), kind=kind)
    assert (reply.code, reply.message) == (200, "")
    stored = admin.must("GET", path_of(kind, name="flyte-admission"))
    assert [webhook["clientConfig"]["caBundle"] for webhook in stored["webhooks"]] == [BUNDLE, BUNDLE]


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        pytest.param(kind, operation, id=f"{kind}, {name}")
        for kind in CONFIGURATIONS
        for name, operation in CHANGES.items()
        if (kind, name) != ("ValidatingWebhookConfiguration", "reinvocationPolicy")  # which it does not have
    ],
)
def test_and_nothing_else(certs: Client, kind: str, operation: Json) -> None:
    unique = [added("/webhooks/2/name", "third.flyte-admission.io")] if operation["op"] == "copy" else []
    reply = change(certs, operation, *unique, kind=kind)
    assert is_refused(reply), reply


def written(stored: Json, way: str, **changed: Any) -> Json:
    """The first webhook with another caBundle and what else is changed, as that kind of patch has it."""
    first, *others = stored["webhooks"]
    client = {**first["clientConfig"], "caBundle": BUNDLE}
    if way == "strategic-merge-patch":  # merged by name
        return {"webhooks": [{"name": first["name"], "clientConfig": client, **changed}]}
    whole = {"webhooks": [{**first, "clientConfig": client, **changed}, *others]}
    if way == "merge-patch":
        return whole
    return {
        "apiVersion": stored["apiVersion"],
        "kind": stored["kind"],
        "metadata": {"name": "flyte-admission"},
        **whole,
    }


WAYS = {"merge-patch": {}, "strategic-merge-patch": {}, "apply-patch": {"fieldManager": "certs", "force": "true"}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_whichever_kind_of_patch_it_sends(admin: Client, certs: Client, kind: str, way: str) -> None:
    path = path_of(kind, name="flyte-admission")
    stored = admin.must("GET", path)

    def sent(**changed: Any) -> Reply:
        return certs.ask("PATCH", path, written(stored, way, **changed), patch=way, dryRun="All", **WAYS[way])

    assert (sent().code, sent().message) == (200, "")
    assert is_refused(sent(failurePolicy="Fail"))
    assert is_refused(sent(namespaceSelector=SELECTOR))


def test_a_ca_bundle_beside_another_field_is_refused_as_a_whole(certs: Client) -> None:
    assert is_refused(change(certs, added(f"{CLIENT}/caBundle", BUNDLE), CHANGES["failurePolicy"]))


def test_certs_may_take_its_ca_bundle_out(certs: Client) -> None:
    assert change(certs, added(f"{CLIENT}/caBundle", BUNDLE)).code == 200
    assert change(certs, {"op": "remove", "path": f"{CLIENT}/caBundle"}).code == 200


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_certs_has_no_right_to_do_more_than_patch_its_own(admin: Client, certs: Client, kind: str) -> None:
    own, other = path_of(kind, name="flyte-admission"), path_of(kind, name="another")
    stored = admin.must("GET", own)
    new = {**stored, "metadata": {"name": "another"}}
    apply = {"patch": "apply-patch", "fieldManager": "certs"}
    replies = [
        certs.ask("PUT", own, stored),
        certs.ask("DELETE", own),
        certs.ask("DELETE", path_of(kind)),
        certs.ask("POST", path_of(kind), new),
        certs.ask("PATCH", other, new, **apply),
        certs.ask("PATCH", other, {}),
    ]
    assert [(reply.code, "cannot" in reply.message) for reply in replies] == [(403, True)] * len(replies)


def test_others_are_not_concerned(admin: Client, certs: Client) -> None:
    assert is_refused(change(certs, CHANGES["failurePolicy"], dryRun="All"))
    assert change(admin, CHANGES["failurePolicy"], dryRun="All").code == 200


def test_no_field_is_left_out(admin: Client) -> None:
    """A new one of a later Kubernetes is to be tried."""
    group = path_of(CONFIGURATIONS[0]).rpartition("/")[0]
    schemas = admin.must("GET", f"/openapi/v3{group}")["components"]["schemas"]
    parts = (*CONFIGURATIONS, "MutatingWebhook", "ValidatingWebhook", "WebhookClientConfig", "ObjectMeta")
    fields = {field for name, schema in schemas.items() if name.endswith(parts) for field in schema["properties"]}
    (service,) = (schema["properties"] for name, schema in schemas.items() if name.endswith("ServiceReference"))
    there_are = fields | {f"service.{field}" for field in service}
    assert there_are - CHANGES.keys() == ITS_OWN | {"caBundle"}
