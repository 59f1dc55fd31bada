"""The ResourceQuota plugin of the real API server and our own check never disagree, texts included.

Both are asked about the same Pods: the plugin by dry runs without a webhook, we with the Pod as the API server has
defaulted it, and with the quotas as the API server has them. PARITY_SEED repeats a run, or makes another.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.e2e import generated
from tests.e2e.client import Client, Json, wait_for
from webhook import admission, manifests
from webhook.decision import Denied
from webhook.policy import Policy
from webhook.rules import quota as quota_rule
from webhook.snapshot import ResourceQuota

SEED = int(os.environ.get("PARITY_SEED", "1"))
NAMESPACES = 40
PODS = 900  # each is tried in two namespaces
EXISTING = 3  # Pods in each namespace that its quotas have charged already


@pytest.fixture(scope="module")
def random() -> Random:
    return Random(SEED)  # noqa: S311 - to repeat it is the point


@pytest.fixture(scope="module")
def plain(admin: Client) -> str:
    """A namespace without a quota, and the classes that the Pods name."""
    for name, value in generated.PRIORITY_CLASSES.items():
        admin.created({"kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    overhead = {"overhead": {"podFixed": {"cpu": "250m", "memory": "64Mi"}}}
    admin.created(
        {"kind": "RuntimeClass", "metadata": {"name": generated.RUNTIME_CLASS}, "handler": "heavy", **overhead}
    )
    return new_namespace(admin)


def new_namespace(admin: Client) -> str:
    return str(admin.created({"kind": "Namespace", "metadata": {"generateName": "parity-"}})["metadata"]["name"])


@pytest.fixture(scope="module")
def quotas(admin: Client, random: Random, plain: str) -> dict[str, list[ResourceQuota]]:
    """Per namespace, its quotas with what they have charged: every scope, alone and beside others."""
    assert plain
    namespaces = [new_namespace(admin) for _ in range(NAMESPACES)]
    scopes = iter(generated.SCOPES * NAMESPACES)
    for namespace in namespaces:
        for number in range(EXISTING):
            admin.create(generated.pod(random, namespace, f"existing-{number}"))
        for number in range(random.randint(1, 4)):
            admin.created(generated.quota(random, namespace, f"quota-{number}", next(scopes)))
    return {namespace: counted(admin, namespace) for namespace in namespaces}


def counted(admin: Client, namespace: str) -> list[ResourceQuota]:
    """The quotas, once the controller has counted for all of them."""

    def look() -> list[ResourceQuota] | None:
        found = admin.items("ResourceQuota", namespace)
        done = all(each["status"].get("used", {}).keys() == each["spec"]["hard"].keys() for each in found)
        return read(found) if done else None

    return wait_for(f"the quotas of {namespace}", look)


def read(found: list[Json]) -> list[ResourceQuota]:
    return manifests.quotas(json.dumps({"kind": "ResourceQuotaList", "items": found}), "the API server")


@pytest.fixture(scope="module")
def defaulted(admin: Client, random: Random, plain: str) -> list[tuple[Json, Json]]:
    """Pods that the API server accepts where no quota is: as they are asked for, and their spec as it makes it."""
    asked = [generated.pod(random, plain, f"pod-{number}") for number in range(PODS)]
    replies = [admin.create(pod, dry_run=True) for pod in asked]
    assert {reply.code for reply in replies} <= {201, 422}
    return [(pod, reply.body["spec"]) for pod, reply in zip(asked, replies, strict=True) if reply.code == 201]


def cases(
    random: Random, quotas: dict[str, list[ResourceQuota]], defaulted: list[tuple[Json, Json]]
) -> Iterator[tuple[Json, Json, list[ResourceQuota]]]:
    """Each Pod in two namespaces: as it is asked for, as a webhook would see it, and the quotas it meets."""
    for asked, spec in defaulted:
        for namespace in random.sample(list(quotas), 2):
            metadata = {**asked["metadata"], "namespace": namespace}
            yield {**asked, "metadata": metadata}, {**asked, "metadata": metadata, "spec": spec}, quotas[namespace]


def review(pod: Json, **more: Any) -> admission.Request:
    """The review that a webhook gets of the Pod."""
    request = {
        "uid": "1",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"].get("name", ""),
        "object": pod,
        **more,
    }
    body = {"apiVersion": admission.API_VERSION, "kind": admission.KIND, "request": request}
    return admission.decode(json.dumps(body).encode())


def named(pod: Json, message: str) -> Json:
    """The Pod with a name, which the API server makes up from generateName before it asks its plugins or /validate."""
    prefix = pod["metadata"].get("generateName")
    found = re.match(rf'pods "({prefix}\w{{5}})" is forbidden', message)
    return {**pod, "metadata": {**pod["metadata"], "name": found[1]}} if prefix and found else pod


def verdict(request: admission.Request, quotas: list[ResourceQuota]) -> tuple[str, list[str]]:
    """Our answer in full, empty where we allow it, and each of the texts that the API server may choose from."""
    assert request.pod is not None
    violations = quota_rule.check(request.pod, quotas, request.old).violations
    texts = [f'pods "{request.pod_name}" is forbidden: {violation}' for violation in violations]
    decision = admission.validate(request, Policy(), quotas)
    return (decision.message if isinstance(decision, Denied) else ""), texts


def test_the_plugin_and_we_agree_on_every_pod(
    admin: Client, random: Random, quotas: dict[str, list[ResourceQuota]], defaulted: list[tuple[Json, Json]]
) -> None:
    disagreements = []
    outcomes: Counter[str] = Counter()
    for asked, seen, met in cases(random, quotas, defaulted):
        reply = admin.create(asked, dry_run=True)
        theirs = reply.message if reply.code == 403 else ""
        ours, texts = verdict(review(named(seen, theirs)), met)
        agreed = theirs in texts and theirs.partition(": ")[2] in ours if theirs else reply.code == 201 and not ours
        if not agreed:
            disagreements.append((reply.code, reply.message, texts, asked, [str(quota) for quota in met]))
        outcomes[theirs.partition(": ")[2].partition(":")[0] or "allowed"] += 1
    assert disagreements == [], f"PARITY_SEED={SEED}: {len(disagreements)} of {outcomes.total()}"
    print(f"PARITY_SEED={SEED}: {outcomes.total()} Pods, {dict(outcomes)}")
    assert outcomes.total() > 1000
    assert min(outcomes[each] for each in ("allowed", "exceeded quota", "failed quota")) > 100
    for namespace, before in quotas.items():
        assert read(admin.items("ResourceQuota", namespace)) == before  # dry runs have charged nothing
