"""Quotas of a real cluster: who is refused, and with what on the wire."""

import json
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.client import PATIENCE, Client, Json, Reply, path_of, wait_for
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import Accounts, Installed, installed
from tests.e2e.pods import FLYTE_1, FLYTE_2, pod

RAY = [{"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "r", "uid": "1", "controller": True}]
LATE = 10


@pytest.fixture(scope="module")
def webhook(admin: Client, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """As elsewhere, but on a slow machine, too, the API server waits for it rather than to go on without it."""
    folder, kubeconfig = tmp_path_factory.mktemp("webhook"), accounts("flyte-admission")
    with installed(admin, folder, f"--kubeconfig={kubeconfig}", timeoutSeconds=int(PATIENCE)) as found:
        yield found


def limited(admin: Client, namespace: str, hard: Json) -> None:
    """Give the namespace a quota, and wait until it is counted."""
    quota = {"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}}
    admin.created(quota)
    path = path_of("ResourceQuota", namespace, "q")
    wait_for("the quota to be counted", lambda: admin.must("GET", path)["status"].get("used"))


def task(namespace: str, name: str, labels: dict[str, str], cpu: str, owners: Sequence[Json] = ()) -> Json:
    amounts = {"cpu": cpu, "memory": "1Gi", "ephemeral-storage": "1Gi"}
    made = pod(namespace, name, labels, {"requests": amounts, "limits": amounts})
    made["metadata"]["ownerReferences"] = list(owners)
    return made


def refused(admin: Client, made: Json) -> Reply:
    """The webhook's refusal, once it knows the quota; the API server's own has no name of a webhook in it."""

    def look() -> Reply | None:
        reply = admin.create(made, dry_run=True)
        return reply if reply.code >= 400 and "admission webhook" in reply.message else None

    return wait_for("a refusal by the webhook", look)


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize(
    ("made_by", "cpu", "answer"),
    [
        ((FLYTE_1, ()), "2", (403, "Forbidden", None)),
        ((FLYTE_2, ()), "2", (429, "TooManyRequests", "2")),
        ((FLYTE_1, RAY), "2", (403, "Forbidden", None)),
        ((FLYTE_1, ()), "4", (413, "RequestEntityTooLarge", None)),
        ((FLYTE_2, ()), "4", (413, "RequestEntityTooLarge", None)),
        ((FLYTE_2, RAY), "4", (403, "Forbidden", None)),
    ],
    ids=["later-flyte1", "later-flyte2", "later-operator", "never-flyte1", "never-flyte2", "never-operator"],
)
def test_the_verdict_table_is_what_the_client_gets(
    admin: Client, namespace: str, made_by: tuple[dict[str, str], Sequence[Json]], cpu: str, answer: tuple[object, ...]
) -> None:
    limited(admin, namespace, {"limits.cpu": "3"})
    admin.created(task(namespace, "first", FLYTE_1, "2"))
    labels, owners = made_by
    reply = refused(admin, task(namespace, "second", labels, cpu, owners))
    assert (reply.code, reply.body["reason"], reply.headers.get("retry-after")) == answer
    plainly = "never fits: " if cpu == "4" else "short by "
    said = f"exceeded quota: q, requested: limits.cpu={cpu}, used: limits.cpu=2, limited: limits.cpu=3; {plainly}"
    assert f'pods "second" is forbidden: {said}' in reply.message


@pytest.mark.usefixtures("webhook")
def test_a_task_of_exactly_the_quota_is_told_to_flyte_1_so_that_it_waits(admin: Client, namespace: str) -> None:
    limited(admin, namespace, {"limits.cpu": "3"})
    admin.created(task(namespace, "first", FLYTE_1, "2"))
    reply = refused(admin, task(namespace, "second", FLYTE_1, "3"))
    assert (reply.code, "limited:  limits.cpu=3" in reply.message) == (403, True)


def test_in_a_full_quota_every_refusal_is_ours(admin: Client, webhook: Installed, namespace: str) -> None:
    limited(admin, namespace, {"pods": "1"})
    admin.created(task(namespace, "first", FLYTE_1, "1m"))
    refused(admin, task(namespace, "more", FLYTE_1, "1m"))
    denials = webhook.denials()
    late = [admin.create(task(namespace, f"late-{number}", FLYTE_1, "1m")) for number in range(LATE)]
    assert all("admission webhook" in reply.message for reply in late)
    assert webhook.denials() == denials + LATE
    assert admin.must("GET", path_of("ResourceQuota", namespace, "q"))["status"]["used"] == {"pods": "1"}


@pytest.mark.usefixtures("webhook")
def test_kubectl_prints_the_refusal_and_its_plain_words(
    control_plane: ControlPlane, admin: Client, namespace: str
) -> None:
    limited(admin, namespace, {"limits.cpu": "3"})
    admin.created(task(namespace, "first", FLYTE_1, "2"))
    made = task(namespace, "second", FLYTE_1, "2")
    refused(admin, made)
    file = control_plane.folder / f"{namespace}.json"
    file.write_text(json.dumps(made))
    kubectl = [control_plane.binaries.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    done = subprocess.run(
        [*kubectl, "create", "-f", file], env={"HOME": str(control_plane.folder)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the largest task that fits now: limits.cpu=1; wait for other tasks to end, or ask for less" in done.stderr
