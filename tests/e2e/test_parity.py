"""The ResourceQuota plugin of the real API server and our own check never disagree, texts included.

Both are asked about the same Pods and quotas: the plugin by dry runs, we with the reviews that the API server sends of
them. Where several quotas refuse, kube-apiserver names one at random, and we name all.
A failure names PARITY_SEED, which repeats it.
"""

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace as replace_fields

from tests.e2e import generated
from tests.e2e.client import Client, Json, Reply, path_of, wait_for
from tests.e2e.installed import POLICY, installed
from tests.e2e.pods import pod
from tests.e2e.recorder import recording
from webhook import admission, admission_review, manifests
from webhook.decision import Decision, Denied
from webhook.policy import Policy
from webhook.policy_file import load
from webhook.quantity import ZERO, parse
from webhook.rules import quota as quota_rule
from webhook.snapshot import ResourceQuota

NEXT = re.compile("; (?=exceeded|failed|status)")  # where another violation begins in our message
PLAIN_WORDS = re.compile("; (short by|set them in|the quota controller) [^;]*(;[^;]*)*$")
QUANTITY = re.compile(r"=([^,;\s]+)")
SEED = int(os.environ.get("PARITY_SEED", "1"))
TODAY = "2026-11-25"
NAMESPACES = 40
PODS = 800
EXISTING = 4  # Pods in each namespace that its quotas have charged already
RESIZES = 5  # of each of those

Quotas = dict[str, list[ResourceQuota]]  # by namespace


def random(purpose: str) -> Random:
    """The same numbers whichever tests run besides."""
    return Random(f"{SEED} {purpose}")  # noqa: S311 - to repeat it is the point


@dataclass(frozen=True)
class Case:
    """A Pod that meets quotas: as it is asked for, and as the API server hands it to each endpoint."""

    asked: Json
    reviews: dict[str, Json]
    quotas: list[ResourceQuota]

    def within(self, namespace: str, quotas: list[ResourceQuota]) -> "Case":
        """The same Pod elsewhere."""
        moved = copy.deepcopy(self)
        for each in (moved.asked, *(review["request"]["object"] for review in moved.reviews.values())):
            each["metadata"]["namespace"] = namespace
        return replace(moved, quotas=quotas)

    def request(self, endpoint: str) -> admission_review.Request:
        """What we make of the review."""
        return admission_review.decode(json.dumps(self.reviews[endpoint]).encode())

    def told(self, text: str) -> str:
        """The text as it is compared: all of it, but for what cannot be told from outside of the API server.

        A generateName gets other letters each time. And a request of the Pod as a whole that the API server has summed
        up is in the format of the containers' until it is written down: 2672864000 there is 2672864k for all others.
        """
        if prefix := self.asked["metadata"].get("generateName"):
            text = re.sub(rf'pods "{prefix}\w*"', f'pods "{prefix}"', text)
        whole = self.asked["spec"].get("resources")
        is_summed_up = whole and not {"cpu", "memory"} <= whole.get("requests", {}).keys()
        return amounts(text) if is_summed_up else text


def amounts(text: str) -> str:
    """The text with its quantities in one spelling."""
    return QUANTITY.sub(lambda found: f"={parse(found[1]).nano}n", text)


class Tally:
    """What has been compared, and where the two differ."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.refusing: set[tuple[str, str]] = set()  # scopes, with their operators, of quotas that have refused
        self.disagreements: list[str] = []

    def add(self, reply: Reply, ours: list[str], case: Case, *, agreed: bool) -> None:
        text = reason(reply.message) if reply.code == 403 else "allowed"
        self.outcomes[text.partition(":")[0]] += 1
        self.refusing.update(*(operators(quota) for quota in case.quotas if f"quota: {quota.name}" in text))
        if not agreed:
            theirs = f"the API server: {reply.code} {reply.message}"
            quotas = "\n  ".join(map(str, case.quotas))
            self.disagreements.append(f"{theirs}\nwe: {ours}\nPod: {json.dumps(case.asked)}\nquotas:\n  {quotas}")

    def check(self, at_least: int, *outcomes: str) -> None:
        """Fail where the two differ, or where too little has been compared: each of the outcomes is to be common."""
        print(f"PARITY_SEED={SEED}: {self.outcomes.total()} compared, {dict(self.outcomes)}")
        found = f"PARITY_SEED={SEED}: {len(self.disagreements)} disagreements of {self.outcomes.total()}"
        assert not self.disagreements, "\n\n".join([found, *self.disagreements[:5]])
        assert self.outcomes.total() >= at_least
        assert min(self.outcomes[each] for each in outcomes) >= at_least // 30


def operators(quota: ResourceQuota) -> set[tuple[str, str]]:
    return {(scope.scope_name, scope.operator) for scope in quota.scopes}


def reason(message: str) -> str:
    """Why, without which Pod."""
    return message.partition(" is forbidden: ")[2]


@pytest.fixture(scope="module")
def plain(admin: Client) -> str:
    """A namespace without a quota, and the classes that the Pods name."""
    for name, value in generated.PRIORITY_CLASSES.items():
        admin.created({"kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    overhead = {"overhead": {"podFixed": {"cpu": "250m", "memory": "64Mi"}}}
    admin.created({"kind": "RuntimeClass", "metadata": {"name": generated.HEAVY}, "handler": "heavy", **overhead})
    return new_namespace(admin)


def new_namespace(admin: Client) -> str:
    return str(admin.created({"kind": "Namespace", "metadata": {"generateName": "parity-"}})["metadata"]["name"])


@pytest.fixture(scope="module")
def quotas(admin: Client, plain: str) -> Quotas:
    """Every scope, alone and beside others, over Pods that are there already."""
    assert plain
    numbers, namespaces = random("quotas"), [new_namespace(admin) for _ in range(NAMESPACES)]
    for namespace in namespaces:
        for index in range(EXISTING):
            admin.create(generated.pod(numbers, namespace, f"existing-{index}"))
    wait_for("the quota controller to see the Pods", lambda: has_seen_all_pods(admin))
    scopes = iter(generated.SCOPES * NAMESPACES)
    for namespace in namespaces:
        for index in range(numbers.randint(1, 4)):
            admin.created(generated.quota(numbers, namespace, f"quota-{index}", next(scopes)))
    return {namespace: counted(admin, namespace) for namespace in namespaces}


def has_seen_all_pods(admin: Client) -> bool:
    """Whether the controller counts a Pod that is newer than all others: it hears of them in their order.

    What it counts too early stays wrong until it counts again.
    """
    namespace = new_namespace(admin)
    admin.created(pod(namespace, "newest", {}))
    admin.created(generated.quota_of(namespace, "newest", {"pods": "1"}))
    [quota] = counted(admin, namespace)
    return quota.used == {"pods": quota_rule.ONE}


def counted(admin: Client, namespace: str) -> list[ResourceQuota]:
    """The quotas, once the controller has counted for all of them."""

    def look() -> list[ResourceQuota] | None:
        found = admin.items("ResourceQuota", namespace)
        counts = [each["spec"]["hard"].keys() - each["status"].get("used", {}).keys() for each in found]
        return read(found) if set().union(*counts) <= generated.NEVER_COUNTED else None

    return wait_for(f"the quotas of {namespace}", look)


def read(found: list[Json]) -> list[ResourceQuota]:
    return manifests.quotas(json.dumps({"kind": "ResourceQuotaList", "items": found}), "the API server")


@pytest.fixture(scope="module")
def pods(admin: Client, plain: str, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Pods that the API server accepts where no quota is."""
    numbers, found = random("pods"), []
    with recording(admin, tmp_path_factory.mktemp("recorder")) as recorder:
        for index in range(PODS):
            asked = generated.pod(numbers, plain, f"pod-{index}")
            recorder.reviews.clear()
            code = admin.create(asked, dry_run=True).code
            assert code in (201, 422)
            if code == 201:
                found.append(Case(asked, dict(recorder.reviews), []))
    return found


def cases(purpose: str, count: int, quotas: Quotas, pods: list[Case]) -> Iterator[Case]:
    """Each Pod in so many namespaces."""
    numbers = random(purpose)
    for case in pods:
        for namespace in numbers.sample(list(quotas), count):
            yield case.within(namespace, quotas[namespace])


def resize_review(stored: Json, resized: Json) -> Json:
    """The review that a webhook gets of a resize."""
    request = {
        "uid": "1",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": "resize",
        "operation": "UPDATE",
        "namespace": stored["metadata"]["namespace"],
        "name": stored["metadata"]["name"],
        "object": resized,
        "oldObject": stored,
    }
    return {"apiVersion": admission_review.API_VERSION, "kind": admission_review.KIND, "request": request}


def texts(request: admission_review.Request, quotas: list[ResourceQuota]) -> list[str]:
    """Why we would refuse the Pod as it is: what the API server may choose from. They are all in our own message."""
    assert request.pod is not None
    violations = list(
        map(str, quota_rule.check(request.pod, quota_rule.asked(request.pod), quotas, request.old).violations)
    )
    message = f'pods "{request.pod_name}" is forbidden: {"; ".join(violations)}' if violations else ""
    assert amounts(refusal(admission.validate(request, Policy(), quotas, TODAY))) == amounts(message)
    return [f'pods "{request.pod_name}" is forbidden: {violation}' for violation in violations]


def refusal(decision: Decision) -> str:
    """What we say before the plain words, without what has Flyte 1 wait where it would give up."""
    native = PLAIN_WORDS.sub("", decision.message) if isinstance(decision, Denied) else ""
    return native.replace(", which is no exceeded quota yet", "").replace("limited:  ", "limited: ")


def agreed(reply: Reply, ours: list[str], case: Case, told: Callable[[str], str] | None = None) -> bool:
    """Whether both allow, or the API server's reason is among ours; `told` is the form that they are compared in."""
    if reply.code != 403:
        return reply.code < 300 and not ours
    told = told or case.told
    return told(reply.message) in map(told, ours)


def test_the_plugin_and_we_agree_on_pods_as_they_come(admin: Client, quotas: Quotas, pods: list[Case]) -> None:
    tally = Tally()
    for case in cases("as they come", 2, quotas, pods):
        reply = admin.create(case.asked, dry_run=True)
        ours = texts(case.request("/validate"), case.quotas)
        tally.add(reply, ours, case, agreed=agreed(reply, ours, case))
    tally.check(1200, "allowed", "exceeded quota", "failed quota")
    assert tally.refusing == {scope for met in quotas.values() for quota in met for scope in operators(quota)}
    for namespace, before in quotas.items():
        assert read(admin.items("ResourceQuota", namespace)) == before  # dry runs have charged nothing


def test_mutate_says_beforehand_what_the_plugin_says_of_the_mutated_pod(
    admin: Client, quotas: Quotas, pods: list[Case], tmp_path: Path
) -> None:
    policy, tally = load(POLICY.read_text(), POLICY.name).policy, Tally()
    with installed(admin, tmp_path, "--no-quotas") as webhook:
        before = webhook.requests()["/mutate"]
        for case in cases("mutated", 1, quotas, pods):
            reply = admin.create(case.asked, dry_run=True)  # through the webhook, which is told of no quota
            refused = refusal(admission.mutate(case.request("/mutate"), policy, case.quotas, TODAY))
            subject, forbidden, reasons = refused.partition(" is forbidden: ")
            ours = [f"{subject}{forbidden}{reason}" for reason in NEXT.split(reasons) if reason]
            # Flyte 1 is spared the exponents and decimals that a quota may be written in.
            same = agreed(reply, ours, case, lambda text: amounts(case.told(text)))  # noqa: B023 - called at once
            tally.add(reply, ours, case, agreed=same)
        assert webhook.requests()["/mutate"] >= before + tally.outcomes.total()
    tally.check(600, "allowed", "exceeded quota")


def test_the_plugin_and_we_agree_on_resizes(admin: Client, quotas: Quotas) -> None:
    numbers, tally = random("resizes"), Tally()
    for namespace, met in quotas.items():
        for stored in admin.items("Pod", namespace):
            for _ in range(RESIZES):
                resized, patch = generated.resize(numbers, stored)
                path = f"{path_of('Pod', namespace, stored['metadata']['name'])}/resize"
                reply = admin.ask("PATCH", path, patch, patch="strategic-merge-patch", dryRun="All")
                if reply.code != 422:  # not a valid resize, whatever the quotas are
                    case = Case(resized, {"/validate": resize_review(stored, resized)}, met)
                    ours = texts(case.request("/validate"), met)
                    tally.add(reply, ours, case, agreed=agreed(reply, ours, case))
    tally.check(300, "allowed", "exceeded quota", "failed quota")


def test_the_plugin_and_we_agree_on_a_quota_that_is_not_counted_yet(
    admin: Client, namespace: str, pods: list[Case]
) -> None:
    hard = {"pods": "3", "services": "1"}
    admin.created(generated.quota_of(namespace, "q", hard))
    [quota] = counted(admin, namespace)
    assert quota.status is not None
    uncounted = replace_fields(quota, status=replace_fields(quota.status, used={"services": ZERO}))
    case = pods[0].within(namespace, [uncounted])

    def refused() -> str:
        # Again each time: the controller sets right, at its next look, what is missing here.
        admin.must("PATCH", f"{path_of('ResourceQuota', namespace, 'q')}/status", {"status": {"used": {"pods": None}}})
        return case.told(admin.create(case.asked, dry_run=True).message)

    assert [wait_for("a refusal", refused)] == [
        case.told(text) for text in texts(case.request("/validate"), case.quotas)
    ]
