"""Through the API server, no content of a Pod gets it past the webhook, and no object hides others."""

import re
from collections.abc import Iterator

import pytest

from tests import hostile
from tests.e2e.client import PATIENCE, Client, Json, Reply, path_of, wait_for
from tests.e2e.installed import Accounts, Installed, existing, installed
from tests.e2e.pods import FLYTE_1, pod

# Those that are as large to the API server, which takes a second for them at most.
OVERSIZED = (
    "30,000 containers", "101 containers", "40 containers of 1,000 limits", "33 names in the limits",
    "4,000 tolerations that an annotation names", "10,000 affinity terms", "a name of 1 MB",
    "a container's name of 1 MB", "a Pod's name of 1 MB", "100 containers of 28 limits",
)  # fmt: skip
ORDINARY = [name for name in hostile.ORDINARY if "null" not in name]  # which the API server refuses itself
UNREADABLE = "9" * 5000  # the API server takes it
GPU = "requests.nvidia.com/gpu"


def quota(namespace: str, name: str, **hard: str) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def limit_range(namespace: str, name: str, cpu: str) -> Json:
    limits = [{"type": "Container", "max": {"cpu": cpu}}]
    return {"kind": "LimitRange", "metadata": {"name": name, "namespace": namespace}, "spec": {"limits": limits}}


def bad(namespace: str) -> list[Json]:
    return [
        quota(namespace, "a-huge", **{"requests.cpu": "1e4100"}),
        quota(namespace, "b-unreadable", **{"requests.cpu": UNREADABLE}),
        limit_range(namespace, "a-huge", "1e4100"),
        limit_range(namespace, "b-unreadable", UNREADABLE),
    ]


@pytest.fixture(scope="module")
def webhook(admin: Client, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The webhook as shipped, with `Ignore`, in a cluster with bad objects; the timeout allows for a slow machine."""
    name = admin.created({"kind": "Namespace", "metadata": {"generateName": "bad-"}})["metadata"]["name"]
    account, folder = accounts("flyte-admission"), tmp_path_factory.mktemp("webhook")
    with (
        existing(admin, bad(name)),
        installed(admin, folder, f"--kubeconfig={account}", timeoutSeconds=int(PATIENCE)) as found,
    ):
        yield found


def create(admin: Client, namespace: str, made: Json) -> Reply:
    """Without storing it."""
    for container in made["spec"]["containers"]:
        container.setdefault("image", "example.com/task:1")
    made["metadata"]["namespace"] = namespace
    return admin.ask("POST", path_of("Pod", namespace), hostile.text(made), dryRun="All")


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("name", OVERSIZED)
def test_what_is_larger_than_a_pod_can_be_is_refused(admin: Client, namespace: str, name: str) -> None:
    reply = create(admin, namespace, hostile.OVERSIZED[name][0]())
    assert reply.code == 413, reply.message
    assert "admission webhook" in reply.message


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_uncommon_is_clamped_as_any_other(admin: Client, namespace: str, name: str) -> None:
    reply = create(admin, namespace, hostile.ORDINARY[name]())
    assert reply.code == 201, reply.message
    for container in reply.body["spec"]["containers"]:
        limits = container["resources"]["limits"]
        assert limits["cpu"] in {"500m", "4"}
        assert limits.get("nvidia.com/gpu", "2") == "2"


def skipped(webhook: Installed) -> float:
    """How many quotas the webhook cannot read."""
    probes = webhook.server.health()
    exposition = probes.get("/metrics").text
    probes.connection.close()
    (found,) = re.findall(r"^flyte_admission_quota_cache_skipped (\S+)$", exposition, re.MULTILINE)
    return float(found)


def test_objects_that_cannot_be_read_hide_no_other(admin: Client, namespace: str, webhook: Installed) -> None:
    """Bad objects that arrive by a watch, after the list."""

    def answer(gpus: str) -> Reply:
        return create(admin, namespace, pod(namespace, "p", FLYTE_1, {"limits": {"cpu": "64", "nvidia.com/gpu": gpus}}))

    def is_refused(gpus: str) -> bool:
        return "admission webhook" in answer(gpus).message

    assert skipped(webhook) == 1
    other = admin.created({"kind": "Namespace", "metadata": {"generateName": "bad-"}})["metadata"]["name"]
    with existing(admin, bad(other)):
        wait_for("the bad quota to be counted", lambda: skipped(webhook) == 2)
        admin.created(limit_range(namespace, "r", "1"))
        wait_for("the LimitRange to hold", lambda: "'cpu': '1'" in str(answer("1").body))
        admin.created(quota(namespace, "one", **{GPU: "1"}))
        wait_for("the quota to hold", lambda: is_refused("2"))
        assert not is_refused("1")
    wait_for("the bad quota to be forgotten", lambda: skipped(webhook) == 1)
