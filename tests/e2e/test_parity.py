"""The ResourceQuota plugin of the real API server and the webhook never disagree, texts included.

Both are asked on the wire about the same Pod: the plugin by a dry run; `serve`, which reads the cluster's quotas with
the shipped service account's rights, by the very review that the API server sent during that. Where several quotas
refuse, kube-apiserver names one at random, and we name all.
A failure names PARITY_SEED, which repeats it.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests import process as server
from tests.e2e import generated
from tests.e2e.client import Client, Json, Reply, path_of, wait_for
from tests.e2e.installed import POLICY, Accounts, installed
from tests.e2e.pods import FLYTE_2, pod
from tests.e2e.recorder import Recorder, recording
from webhook.api.quantity import parse
from webhook.server import tls

NEXT = re.compile("; (?=exceeded|failed|status)")  # where another violation begins in our message
PLAIN_WORDS = re.compile("; (never fits:|short by|set them in|the quota controller) [^;]*(;[^;]*)*$")
QUANTITY = re.compile(r"=([^,;\s]+)")
# The plugin has one code for all that it refuses; those of the verdict table are in test_quota.
ONE_CODE = """
verdicts:
  fits_later: {flyte1: 403, flyte2: 403, operator: 403}
  never_fits: {flyte1: 403, flyte2: 403, operator: 403}
"""
SEED = int(os.environ.get("PARITY_SEED", "1"))
NAMESPACES = 40
PODS = 1600
MUTATED = 800
EXISTING = 4  # Pods in each namespace that its quotas have charged already
RESIZES = 5  # of each of those

Quotas = dict[str, list[Json]]  # by namespace


def random(purpose: str) -> Random:
    """The same numbers whichever tests run besides."""
    return Random(f"{SEED} {purpose}")  # noqa: S311 - to repeat it is the point


@dataclass(frozen=True)
class Answers:
    """What both say about one Pod."""

    asked: Json
    plugin: Reply
    ours: Json  # the `response` of the AdmissionReview

    @property
    def agree(self) -> bool:
        """Whether both allow, or both refuse with the same status, whose text is one of the reasons that we give."""
        if self.plugin.code != 403:
            return self.plugin.code < 300 and bool(self.ours["allowed"])
        status = self.ours.get("status", {})
        same = (self.ours["allowed"], status.get("code"), status.get("reason")) == (
            False, self.plugin.code, self.plugin.body["reason"],
        )  # fmt: skip
        return same and self.told(self.plugin.message) in map(self.told, reasons(status["message"]))

    def told(self, text: str) -> str:
        """The text as it is compared: all of it, but for what is meant to differ, or cannot be told from outside.

        Flyte 1 is spared the exponents and decimals that a quota may be written in. A generateName has no letters yet
        for /mutate. And a request of the Pod as a whole that the API server has summed up is in the format of the
        containers' until it is written down: 2672864000 there is 2672864k for all others.
        """
        metadata, whole = self.asked["metadata"], self.asked["spec"].get("resources")
        if prefix := metadata.get("generateName"):
            text = re.sub(rf'pods "{prefix}\w*"', f'pods "{prefix}"', text)
        is_summed_up = whole and not {"cpu", "memory"} <= whole.get("requests", {}).keys()
        return amounts(text) if is_summed_up or "execution-id" in metadata["labels"] else text


def amounts(text: str) -> str:
    """The text with its quantities in one spelling."""
    return QUANTITY.sub(lambda found: f"={parse(found[1]).nano}n", text)


def reasons(message: str) -> list[str]:
    """Our message in the plugin's words: one for each quota, without the plain words and what has Flyte 1 wait."""
    native = PLAIN_WORDS.sub("", message).replace(", which is no exceeded quota yet", "")
    subject, forbidden, refused = native.replace("limited:  ", "limited: ").partition(" is forbidden: ")
    return [f"{subject}{forbidden}{each}" for each in NEXT.split(refused)]


class Tally:
    """What has been compared, and where the two differ."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self.outcomes: Counter[str] = Counter()
        self.refusing: set[tuple[str, str]] = set()  # scopes, with their operators, of quotas that have refused
        self.disagreements: list[str] = []

    def add(self, answers: Answers) -> None:
        quotas = self.quotas[answers.asked["metadata"]["namespace"]]
        text = reason(answers.plugin.message) if answers.plugin.code == 403 else "allowed"
        self.outcomes[text.partition(":")[0]] += 1
        self.refusing.update(*(scopes(quota) for quota in quotas if f"quota: {quota['metadata']['name']}" in text))
        if not answers.agree:
            theirs = f"the API server: {answers.plugin.code} {answers.plugin.message}"
            told = "\n  ".join(map(json.dumps, quotas))
            self.disagreements.append(
                f"{theirs}\nwe: {answers.ours}\nPod: {json.dumps(answers.asked)}\nquotas:\n  {told}"
            )

    def check(self, at_least: int, *outcomes: str) -> None:
        """Fail where the two differ, or where too little has been compared: each of the outcomes is to be common."""
        print(f"PARITY_SEED={SEED}: {self.outcomes.total()} compared, {dict(self.outcomes)}")
        found = f"PARITY_SEED={SEED}: {len(self.disagreements)} disagreements of {self.outcomes.total()}"
        assert not self.disagreements, "\n\n".join([found, *self.disagreements[:5]])
        assert self.outcomes.total() >= at_least
        assert min(self.outcomes[each] for each in outcomes) >= at_least // 30


def scopes(quota: Json) -> set[tuple[str, str]]:
    """What it counts: each scope with its operator."""
    terms = quota["spec"].get("scopeSelector", {}).get("matchExpressions", ())
    listed = {(name, "Exists") for name in quota["spec"].get("scopes", ())}
    return listed | {(term["scopeName"], term["operator"]) for term in terms}


def reason(message: str) -> str:
    """Why, without which Pod."""
    return message.partition(" is forbidden: ")[2]


@pytest.fixture(scope="module")
def _classes(admin: Client) -> None:
    """The classes that the Pods name."""
    for name, value in generated.PRIORITY_CLASSES.items():
        admin.created({"kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    overhead = {"overhead": {"podFixed": {"cpu": "250m", "memory": "64Mi"}}}
    admin.created({"kind": "RuntimeClass", "metadata": {"name": generated.HEAVY}, "handler": "heavy", **overhead})


def new_namespace(admin: Client) -> str:
    return str(admin.created({"kind": "Namespace", "metadata": {"generateName": "parity-"}})["metadata"]["name"])


@pytest.fixture(scope="module")
def quotas(admin: Client, _classes: None) -> Quotas:
    """Every scope, alone and beside others, over Pods that are there already."""
    numbers, namespaces = random("quotas"), [new_namespace(admin) for _ in range(NAMESPACES)]
    for namespace in namespaces:
        for index in range(EXISTING):
            admin.create(generated.pod(numbers, namespace, f"existing-{index}"))
    wait_for("the quota controller to see the Pods", lambda: has_seen_all_pods(admin))
    every = iter(generated.SCOPES * NAMESPACES)
    for namespace in namespaces:
        for index in range(numbers.randint(1, 4)):
            admin.created(generated.quota(numbers, namespace, f"quota-{index}", next(every)))
    return {namespace: counted(admin, namespace) for namespace in namespaces}


def has_seen_all_pods(admin: Client) -> bool:
    """Whether the controller counts a Pod that is newer than all others: it hears of them in their order.

    What it counts too early stays wrong.
    """
    namespace = new_namespace(admin)
    admin.created(pod(namespace, "newest", {}))
    admin.created(generated.quota_of(namespace, "newest", {"pods": "1"}))
    [quota] = counted(admin, namespace)
    return bool(quota["status"]["used"] == {"pods": "1"})


def counted(admin: Client, namespace: str) -> list[Json]:
    """The quotas, once the controller has counted for all of them."""

    def look() -> list[Json] | None:
        found = admin.items("ResourceQuota", namespace)
        counts = [each["spec"]["hard"].keys() - each["status"].get("used", {}).keys() for each in found]
        return found if set().union(*counts) <= generated.NEVER_COUNTED else None

    return wait_for(f"the quotas of {namespace}", look)


@pytest.fixture(scope="module")
def recorder(admin: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """What keeps the reviews that the API server sends, and lets every Pod pass to the plugin."""
    with recording(admin, tmp_path_factory.mktemp("recorder")) as found:
        yield found


@contextmanager
def serving(folder: Path, policy: str, kubeconfig: Path) -> Iterator[server.Client]:
    """A connection to the webhook, which knows the cluster's quotas and which the API server knows nothing of."""
    file = folder / "one-code.yaml"
    file.write_text(policy + ONE_CODE)
    certificate, key = tls.make_self_signed(folder, ["127.0.0.1"])
    files = f"--policy={file}", f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"
    with server.running(*files, f"--kubeconfig={kubeconfig}") as process:
        health = process.health()
        wait_for("the quotas to be known", lambda: health.get("/readyz").status == 200)
        yield process.client()


@pytest.fixture(scope="module")
def unchanging(quotas: Quotas, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Client]:
    """The webhook with a policy that changes no Pod, started when the quotas were there."""
    assert quotas
    with serving(tmp_path_factory.mktemp("unchanging"), "task_resources: {}", accounts("flyte-admission")) as client:
        yield client


def test_the_plugin_and_we_agree_on_pods_as_they_come(
    admin: Client, quotas: Quotas, recorder: Recorder, unchanging: server.Client
) -> None:
    numbers, tally = random("pods"), Tally(quotas)
    for index in range(PODS):
        asked = generated.pod(numbers, numbers.choice(list(quotas)), f"pod-{index}")
        recorder.reviews.clear()
        reply = admin.create(asked, dry_run=True)
        if reply.code != 422:  # not a valid Pod, whatever the quotas are
            tally.add(Answers(asked, reply, unchanging.review("/validate", recorder.reviews["/validate"])))
    tally.check(1200, "allowed", "exceeded quota", "failed quota")
    assert tally.refusing == {scope for met in quotas.values() for quota in met for scope in scopes(quota)}
    for namespace, before in quotas.items():
        assert figures(admin.items("ResourceQuota", namespace)) == figures(before)  # dry runs have charged nothing


def figures(quotas: list[Json]) -> dict[str, Json]:
    """What is enforced and used, by quota."""
    return {quota["metadata"]["name"]: quota["status"] for quota in quotas}


def test_mutate_says_beforehand_what_the_plugin_says_of_the_mutated_pod(
    admin: Client, quotas: Quotas, recorder: Recorder, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    numbers, tally = random("mutated"), Tally(quotas)
    # Through one webhook, which is told of no quota, to the plugin; the other one knows the quotas, and is asked by us.
    # With a default for each resource, both fill in the same limits: no quota has to demand them.
    folder = tmp_path_factory.mktemp("mutating")
    (folder / "policy.yaml").write_text(
        POLICY.read_text().replace("secondary_defaults:\n", "secondary_defaults:\n  ephemeralStorage: 64Mi\n")
    )
    found = admin.must("GET", "/version")
    version = f"--kubernetes={found['major']}.{found['minor']}"
    with (
        installed(admin, folder, "--no-quotas", version, policy=folder / "policy.yaml") as mutating,
        serving(
            tmp_path_factory.mktemp("asked"), (folder / "policy.yaml").read_text(), accounts("flyte-admission")
        ) as client,
    ):
        before = mutating.requests()["/mutate"]
        for index in range(MUTATED):
            asked = generated.pod(numbers, numbers.choice(list(quotas)), f"pod-{index}")
            recorder.reviews.clear()
            reply = admin.create(asked, dry_run=True)
            if reply.code != 422:
                for endpoint, review in recorder.reviews.items():  # of the Pod as it came, and as it has become
                    tally.add(Answers(asked, reply, client.review(endpoint, review)))
        assert mutating.requests()["/mutate"] >= before + tally.outcomes.total() // 2
    tally.check(1200, "allowed", "exceeded quota")


def test_the_plugin_and_we_agree_on_resizes(
    admin: Client, quotas: Quotas, recorder: Recorder, unchanging: server.Client
) -> None:
    numbers, tally = random("resizes"), Tally(quotas)
    for namespace in quotas:
        for stored in admin.items("Pod", namespace):
            for _ in range(RESIZES):
                resized, patch = generated.resize(numbers, stored)
                path = f"{path_of('Pod', namespace, stored['metadata']['name'])}/resize"
                recorder.reviews.clear()
                reply = admin.ask("PATCH", path, patch, patch="strategic-merge-patch", dryRun="All")
                if reply.code != 422:  # not a valid resize, whatever the quotas are
                    tally.add(Answers(resized, reply, unchanging.review("/validate", recorder.reviews["/validate"])))
    tally.check(300, "allowed", "exceeded quota", "failed quota")


def test_the_plugin_and_we_agree_on_a_quota_that_is_not_counted_yet(
    admin: Client, namespace: str, recorder: Recorder, unchanging: server.Client
) -> None:
    admin.created(generated.quota_of(namespace, "q", {"pods": "3", "services": "1"}))
    counted(admin, namespace)
    path = f"{path_of('ResourceQuota', namespace, 'q')}/status"
    admin.must("PATCH", path, {"status": {"used": {"pods": None}}})
    asked = pod(namespace, "task", FLYTE_2)

    def both_refuse() -> Answers | None:
        recorder.reviews.clear()
        reply = admin.create(asked, dry_run=True)
        ours = unchanging.review("/validate", recorder.reviews["/validate"])
        return None if reply.code == 201 or ours["allowed"] else Answers(asked, reply, ours)

    answers = wait_for("both to have heard of it", both_refuse)
    assert reason(answers.plugin.message) == "status unknown for quota: q, resources: pods"
    assert answers.agree
