"""Distributed jobs at a real API server, with the CRDs of their operators: the golden cases as objects of a cluster."""

import json
import re
from collections.abc import Iterator, Mapping

import jsonpatch
import jsonpointer
import pytest
import yaml

from tests.e2e.client import Client, Json, Reply, path_of, wait_for
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import Accounts, Installed, installed
from tests.e2e.operators import CRDS, crds
from tests.e2e.pods import pod
from tests.e2e.rendering import run
from tests.golden import GOLDEN, Case
from webhook.admission.record import CHANGES
from webhook.jobs import KINDS

# The beginning of the names of the golden cases, by the resource.
CASES: Mapping[str, str] = {
    "rayjobs": "ray-job",
    "sparkapplications": "spark-application",
    "daskjobs": "dask-job",
    "pytorchjobs": "pytorch-job",
    "tfjobs": "tf-job",
    "mpijobs": "mpi-job",
    "jobsets": "job-set",
}
each_kind = pytest.mark.parametrize("resource", CASES)


@pytest.fixture(scope="module")
def webhook(admin: Client, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The webhook with the component `jobs`, the policy of the golden cases, and warnings."""
    folder = tmp_path_factory.mktemp("webhook")
    policy = folder / "policy.yaml"
    policy.write_text(f"{case('pytorchjobs', 'clamped').text('policy.yaml')}\nwarnings: true\n")
    kubeconfig = accounts("flyte-admission")
    with installed(admin, folder, f"--kubeconfig={kubeconfig}", policy=policy, jobs=True) as found:
        yield found


@pytest.fixture(scope="module")
def operators(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    kubectl = [control_plane.binaries.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    files = [f"--filename={file}" for file in crds(tmp_path_factory.mktemp("modules")).values()]
    run(*kubectl, "apply", "--server-side", *files)
    run(*kubectl, "wait", "--for=condition=Established", *files)
    yield
    run(*kubectl, "delete", *files)


def case(resource: str, what: str) -> Case:
    return Case(GOLDEN / f"{CASES[resource]}-{what}")


def created(admin: Client, namespace: str, it: Case) -> Reply:
    """Create the object of the case as a dry run; return what would be stored, or the refusal."""
    request = it.review["request"]
    made = {**request["object"], "metadata": {**request["object"]["metadata"], "namespace": namespace}}
    group, version, resource = (request["resource"][key] for key in ("group", "version", "resource"))
    return admin.ask("POST", f"/apis/{group}/{version}/namespaces/{namespace}/{resource}", made, dryRun="All")


def limit(admin: Client, namespace: str, it: Case, used: Json) -> None:
    """Give the namespace the quota of the case, as much of it in use as is given."""
    quota = yaml.safe_load(it.text("quotas.yaml"))
    metadata = {"name": quota["metadata"]["name"], "namespace": namespace}
    admin.created({"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": quota["status"]["hard"]}})
    path = path_of("ResourceQuota", namespace, metadata["name"])
    wait_for("the quota to be counted", lambda: admin.must("GET", path).get("status", {}).get("used"))
    if used:
        admin.created(pod(namespace, "other", {}, {"requests": used, "limits": used}))


def test_a_kind_that_is_not_installed_costs_nothing(admin: Client, namespace: str, webhook: Installed) -> None:
    before = webhook.requests()
    for resource in CASES:
        assert created(admin, namespace, case(resource, "clamped")).code == 404
    assert webhook.requests() == before
    assert admin.create(pod(namespace, "plain", {}), dry_run=True).code == 201


def test_each_kind_has_its_crd() -> None:
    assert sorted(CASES) == sorted(CRDS) == sorted(resource for _, resource in KINDS)


@each_kind
@pytest.mark.usefixtures("webhook", "operators")
def test_what_is_over_a_maximum_is_stored_lowered(admin: Client, namespace: str, resource: str) -> None:
    it = case(resource, "clamped")
    stored = wait_for(
        "the webhook to be asked about the kind",
        lambda: found if CHANGES in (found := created(admin, namespace, it).body)["metadata"]["annotations"] else None,
    )
    operations = [op for op in it.response["response"]["patch"] if "/metadata/" not in op["path"]]
    assert operations
    for operation in operations:
        found = jsonpointer.resolve_pointer(stored, operation["path"])
        assert found == operation["value"], operation
    assert stored["spec"].keys() >= jsonpatch.apply_patch(it.review["request"]["object"], operations)["spec"].keys()
    changes = json.loads(stored["metadata"]["annotations"][CHANGES])["changes"]
    assert changes == it.response["response"]["auditAnnotations"]["changes"]["changes"]


@each_kind
@pytest.mark.usefixtures("webhook", "operators")
def test_what_never_fits_is_refused_with_413_and_the_roles(admin: Client, namespace: str, resource: str) -> None:
    it = case(resource, "elastic-never-fits" if resource == "rayjobs" else "never-fits")  # the other has another policy
    limit(admin, namespace, it, {})
    refused = wait_for(
        "the webhook to know the quota",
        lambda: reply if (reply := created(admin, namespace, it)).code != 201 else None,
    )
    message = it.response["response"]["status"]["message"]
    requested = message[message.index("exceeded quota:") : message.index(", used:")]
    assert (refused.code, refused.body["reason"]) == (413, "RequestEntityTooLarge")
    assert requested in refused.message
    assert "never fits" in refused.message


@each_kind
@pytest.mark.usefixtures("webhook", "operators")
def test_what_fits_later_is_created_and_says_what_it_waits_for(admin: Client, namespace: str, resource: str) -> None:
    it = case(resource, "fits-later")
    quota = yaml.safe_load(it.text("quotas.yaml"))["status"]
    limit(
        admin,
        namespace,
        it,
        {re.sub("^(requests|limits)[.]", "", name): amount for name, amount in quota["used"].items()},
    )

    def waits() -> Reply | None:
        reply = created(admin, namespace, it)
        assert reply.code == 201, reply.message
        return reply if "waits: exceeded quota: " in reply.headers.get("warning", "") else None

    assert wait_for("the webhook to know what is in use", waits)


@each_kind
@pytest.mark.usefixtures("webhook", "operators")
def test_what_an_operator_derived_is_left_alone(admin: Client, namespace: str, resource: str) -> None:
    reply = created(admin, namespace, case(resource, "of-an-operator-is-left-alone"))
    assert reply.code == 201, reply.message
    assert CHANGES not in reply.body["metadata"].get("annotations", {})
    assert "lowered: " not in reply.headers.get("warning", "")


@pytest.mark.usefixtures("operators")
def test_reviews_of_jobs_are_counted_by_kind(webhook: Installed) -> None:
    assert webhook.jobs().keys() == {kind.name for kind in KINDS.values()}
