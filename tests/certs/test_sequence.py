"""Whatever happens between two steps, every caBundle verifies each leaf that some webhook may still be serving.

A webhook may serve any leaf that was in the Secret within the last ten minutes, for the kubelet brings it when it
likes; that is checked after every single write. Passes fail before or after any of their requests, another writer makes
a pass of its own between any two, and the Secret is deleted, damaged, or replaced by one from a backup. The certificate
changes hands at any time: it is issued by certs, by cert-manager, or by the admin.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from certs import pki, rotation
from certs.cluster import ApiError, ObjectClient, connect
from certs.metrics import Metrics
from certs.reconcile import Plan, Reconciler
from certs.rotation import Bundle, Lifetimes, why_issue
from tests.certs.apiserver import NAMESPACE, SECRET, SECRET_PATH, SECRETS, ApiServer, Json, refusal

NAMES = ("flyte-admission.flyte-admission.svc",)
MORE = (*NAMES, "flyte-admission.flyte-admission.svc.cluster.local")
PROPAGATION = timedelta(minutes=10)
REQUESTS = 11  # of a pass that rotates; one more if the certificate is taken from another Secret
SECRET_WRITTEN = 6  # the number of the request that does it, from 0
Fault = Literal["", "refused", "lost", "another writer", "another writer crashes"]


@dataclass(frozen=True)
class Pass:
    fault: Fault = ""
    at: int = 0  # the number of the request that it is about
    names: tuple[str, ...] = NAMES
    source: str | None = None  # the Secret that the certificate is taken from


@dataclass(frozen=True)
class Wait:
    time: timedelta


@dataclass(frozen=True)
class Harm:
    how: Literal["delete", "ca.crt", "tls.crt", "tls.key"]


@dataclass(frozen=True)
class Restore:
    back: int  # to which Secret, counted from the last


Step = Pass | Wait | Harm | Restore


@dataclass
class World:
    """A cluster whose time is ours."""

    server: ApiServer
    api: ObjectClient
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    held: dict[x509.Certificate, datetime] = field(default_factory=dict)  # leaves, and when the Secret last had them
    foreign: set[x509.Certificate] = field(default_factory=set)  # put there by others, and not looked at since
    secrets: list[Json] = field(default_factory=list)  # as they were written
    requests: int = 0  # of the pass that is made
    interfering: bool = False

    def look(self) -> None:
        """Remember which leaf the Secret has."""
        found = self.server.objects.get(SECRET_PATH)
        if found:
            leaf = Bundle.read(self.server.data()).leaf
            if leaf:
                self.held[leaf] = self.now

    def check(self) -> None:
        """The promise."""
        self.look()
        bundles = {tuple(authorities) for authorities in self.server.trusted()}  # most of the time all are the same
        for leaf, last in self.held.items():
            may_be_served = last + PROPAGATION >= self.now and leaf.not_valid_after_utc > self.now
            if may_be_served and leaf not in self.foreign:
                for authorities in bundles:
                    verify(leaf, authorities, self.now)

    def after(self, request: web.Request) -> None:
        if request.method != "GET" and "dryRun" not in request.query:
            self.check()
            found = self.server.objects.get(SECRET_PATH)
            if found and (not self.secrets or self.secrets[-1]["data"] != found["data"]):
                self.secrets.append(found)

    async def make(self, step: Pass) -> None:
        ours = ("flyte-admission",)
        plan = Plan(NAMESPACE, SECRET, step.names, ours, ours, Lifetimes(), 0, step.source)
        if step.source:
            self.offer(step.source)
        self.requests = 0

        async def before(place: str) -> web.Response | None:
            number, self.requests = self.requests, self.requests + 1
            if self.interfering:
                writes = place.startswith(("PUT", "POST")) and "dryRun" not in place
                return refusal(500) if writes and step.fault == "another writer crashes" else None
            return await self.interfere(step.fault, plan) if number == step.at else None

        self.server.before = before if step.fault not in {"", "lost"} else nothing
        self.server.lose = step.at if step.fault == "lost" else -1
        try:
            await Reconciler(plan, self.api, Metrics()).run(self.now)
        except ApiError:
            if not step.fault:
                raise
        else:
            self.foreign.clear()
        self.server.lose = -1
        self.check()

    def offer(self, name: str) -> None:
        """Issue a certificate for another Secret as its owner does: in time, each time by a new CA."""
        path, lifetimes = f"{SECRETS}/{name}", Lifetimes()
        found = self.server.objects.get(path)
        if (
            found
            and why_issue(Bundle.read(decoded(found)), MORE, self.now, lifetimes.renew_before) != "issued_elsewhere"
        ):
            found = None
        if not found:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(pki, "CA_NAME", name)
                issued = Bundle.of(pki.issue(MORE, self.now, lifetimes.authority, lifetimes.leaf))
            data = rotation.secret_data(issued.authorities, issued)
            encoded = {key: b64encode(value).decode() for key, value in data.items()}
            self.server.put(path, {"metadata": {"name": name}, "data": encoded})

    async def interfere(self, fault: Fault, plan: Plan) -> web.Response | None:
        if fault == "refused":
            return refusal(500)
        self.interfering = True
        with suppress(ApiError) if fault == "another writer crashes" else nullcontext():
            await Reconciler(plan, self.api, Metrics()).run(self.now)
            self.foreign.clear()
        self.interfering = False
        return None

    def harm(self, step: Harm) -> None:
        found = self.server.objects.get(SECRET_PATH)
        if found and step.how == "delete":
            del self.server.objects[SECRET_PATH]
        elif found:
            self.server.put(SECRET_PATH, {**found, "data": {**found["data"], step.how: ""}})

    def restore(self, step: Restore) -> None:
        if len(self.secrets) > step.back:
            found = self.secrets[-1 - step.back]
            self.server.put(SECRET_PATH, found)
            leaf = Bundle.read(self.server.data()).leaf
            if leaf and self.held.get(leaf, self.now) != self.now:
                self.foreign.add(leaf)


def decoded(secret: Json) -> dict[str, bytes]:
    return {key: b64decode(value) for key, value in secret["data"].items()}


async def nothing(_: str) -> None:
    return None


def verify(leaf: x509.Certificate, authorities: Sequence[x509.Certificate], now: datetime) -> None:
    """As an API server does; VerificationError if the leaf is not trusted."""
    policy = PolicyBuilder().store(Store(list(authorities))).time(now)
    policy.build_server_verifier(x509.DNSName(NAMES[0])).verify(leaf, [])


class Stage:
    """One server and one connection for all that is played."""

    def __init__(self, runner: asyncio.Runner, server: ApiServer, api: ObjectClient) -> None:
        self.runner, self.server, self.api = runner, server, api

    def play(self, steps: list[Step]) -> World:
        world = World(self.server, self.api)
        self.server.install()
        self.server.after = world.after
        self.runner.run(played(world, [*steps, Pass()]))
        return world


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server = ApiServer()
    with asyncio.Runner() as runner:
        listening = server.listening()
        runner.run(listening.__aenter__())
        connection = connect(server.kubeconfig(tmp_path_factory.mktemp("certs")))
        yield Stage(runner, server, runner.run(connection.__aenter__()))
        runner.run(connection.__aexit__(None, None, None))
        runner.run(listening.__aexit__(None, None, None))


async def played(world: World, steps: list[Step]) -> None:
    for step in steps:
        world.look()
        match step:
            case Pass():
                await world.make(step)
            case Wait(time):
                world.now += time
            case Harm():
                world.harm(step)
            case Restore():
                world.restore(step)
    bundle = Bundle.read(world.server.data())
    assert why_issue(bundle, NAMES, world.now, Lifetimes().renew_before) is None
    assert bundle.leaf
    for authorities in world.server.trusted():
        assert set(bundle.authorities) - expired(bundle.authorities, world.now) <= set(authorities)
        verify(bundle.leaf, authorities, world.now)


def expired(found: Any, now: datetime) -> set[x509.Certificate]:
    return {ca for ca in found if ca.not_valid_after_utc <= now}


times = st.sampled_from([1, 9, 11, 61, 24 * 60, 61 * 24 * 60, 91 * 24 * 60])
numbers = st.integers(0, REQUESTS)
faults = st.sampled_from(["", "refused", "lost", "another writer", "another writer crashes"])
sources = st.sampled_from([None, "cert-manager", "own"])
passes = st.builds(Pass, faults, numbers, st.sampled_from([NAMES, MORE]), sources)
harms = st.builds(Harm, st.sampled_from(["delete", "ca.crt", "tls.crt", "tls.key"]))
waits = st.builds(lambda minutes: Wait(timedelta(minutes=minutes)), times)
sequences = st.lists(st.one_of(passes, waits, passes, harms), min_size=1, max_size=10)


@settings(max_examples=10)
@given(before=sequences, after=sequences, back=st.integers(0, 3))
def test_no_leaf_is_served_that_is_not_trusted(stage: Stage, before: list[Step], after: list[Step], back: int) -> None:
    stage.play([*before, Restore(back), *after])


@pytest.mark.parametrize(
    ("why", "faults"),
    [
        ([Wait(timedelta(days=61))], ["refused", "lost", "another writer", "another writer crashes"]),
        ([Wait(timedelta(hours=2)), Harm("delete")], ["lost"]),
        ([Wait(timedelta(minutes=2)), Harm("ca.crt")], ["lost"]),
    ],
    ids=["expiring", "deleted", "damaged"],
)
def test_any_step_of_a_rotation_may_be_the_last(stage: Stage, why: list[Step], faults: list[Fault]) -> None:
    steps: list[Step] = [Pass()]
    for at in range(REQUESTS):
        for fault in faults:
            steps += [*why, Pass(fault, at), Wait(timedelta(minutes=1)), Pass()]
    world = stage.play(steps)
    assert len(world.secrets) > len(faults) * REQUESTS


@pytest.mark.parametrize("fault", ["refused", "lost", "another writer", "another writer crashes"])
def test_any_step_of_a_change_of_hands_may_be_the_last(stage: Stage, fault: Fault) -> None:
    steps: list[Step] = [Pass()]
    for at in range(REQUESTS + 1):
        for source in ("cert-manager", "own", None, "own", "cert-manager", None):
            steps += [Pass(fault, at, source=source), Wait(timedelta(minutes=1)), Pass(source=source)]
            if at % 2:
                steps += [Wait(timedelta(hours=2))]
    world = stage.play(steps)
    assert len(world.secrets) > 6 * REQUESTS
    assert max(len(authorities) for authorities in world.server.trusted()) <= rotation.MAX_AUTHORITIES


@pytest.mark.parametrize("harm", [[], [Harm("delete")], [Harm("tls.key")]], ids=["expiring", "deleted", "damaged"])
def test_however_often_a_rotation_fails_the_bundles_stay_short_and_trust_what_is_served(
    stage: Stage, harm: list[Step]
) -> None:
    """Each failure is the last request of a rotation, the one that writes the Secret."""
    half: list[Step] = [Pass("refused", SECRET_WRITTEN), Wait(timedelta(minutes=1))]
    world = stage.play([Pass(), Wait(timedelta(days=61)), *harm, *half * (rotation.MAX_AUTHORITIES + 5), Pass()])
    assert [len(authorities) for authorities in world.server.trusted()] == [rotation.MAX_AUTHORITIES] * 4
    first, last = (authorities_of(world.secrets[number]) for number in (0, -1))
    assert set(first) < set(last)


def authorities_of(secret: Json) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(b64decode(secret["data"]["ca.crt"]))


def test_a_secret_from_a_backup_does_not_make_the_leaf_that_is_served_untrusted(stage: Stage) -> None:
    newer = Pass(names=MORE)
    world = stage.play([Pass(), Wait(timedelta(hours=2)), newer, Wait(timedelta(minutes=1)), Restore(1), Pass()])
    assert len(world.secrets) == 2
    assert [len(authorities) for authorities in world.server.trusted()] == [2] * 4
