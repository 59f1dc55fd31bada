"""`serve` with a cluster behind it: how it gets there, when it is ready, and what it asks before it refuses a Pod."""

import asyncio
import base64
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes.aio.config import incluster_config

from tests.fake_apiserver import (
    SILENCE,
    FakeApiServer,
    Json,
    Reply,
    event,
    in_thread,
    kubeconfig,
    page,
    quota,
    silence,
    status,
    stream,
)
from tests.process import EXAMPLES, Server, running
from tests.server.test_app import counted, review
from webhook.cluster import client as cluster
from webhook.cluster.kinds import QUOTAS
from webhook.cluster.quota_answers import ReadError
from webhook.http.protocol import MAX_PIPELINED
from webhook.server import tls
from webhook.shared import kubeconfig as shared_kubeconfig
from webhook.shared.kubeconfig import ConfigError

OPEN = stream(end=SILENCE)
FITS, FULL = quota(used="2", hard="6"), quota(used="3", hard="6")  # a Pod of 4 cpu into what is left


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tls.make_self_signed(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])


@contextmanager
def secure(certificate: tuple[Path, Path]) -> Iterator[FakeApiServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    with in_thread(FakeApiServer({"watch": [OPEN]}, context)) as server:
        yield server


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[FakeApiServer]:
    with secure(certificate) as server:
        yield server


class Serving:
    """`serve` with an API server behind it."""

    def __init__(self, server: FakeApiServer, webhook: Server) -> None:
        self.server, self.webhook = server, webhook
        self.client, self.probes = webhook.client(), webhook.health()
        self.before: dict[str, Mapping[tuple[str, ...], float]] = {}

    def begin(self, live: Reply) -> None:
        """Count from here, and have live reads answered so."""
        self.server.replies["live"] = [live]
        self.server.requests.clear()
        self.before = {name: self._metric(name) for name in ("confirmations", "read_errors")}

    def _metric(self, name: str) -> Mapping[tuple[str, ...], float]:
        return counted(self.probes.get("/metrics").text, f"flyte_admission_quota_{name}_total")

    def more(self, name: str) -> dict[str, float]:
        """By how much a metric has grown, by label."""
        before = self.before[name]
        return {key[0]: n - before.get(key, 0) for key, n in self._metric(name).items() if n != before.get(key, 0)}


@contextmanager
def serving(server: FakeApiServer, certificate: tuple[Path, Path], folder: Path) -> Iterator[Serving]:
    authority = {"certificate-authority": str(certificate[0])}
    file = kubeconfig(folder, server.url, authority, {"token": "secret"})
    pair = f"--tls-cert-file={certificate[0]}", f"--tls-private-key-file={certificate[1]}"
    with running("--policy", EXAMPLES / "policy.yaml", "--kubeconfig", file, *pair) as webhook:
        yield Serving(server, webhook)
        webhook.disconnect()
        assert webhook.stop() == 0


@pytest.fixture(scope="module")
def shared(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """With two namespaces in its cache: one in which a Pod fits, one in which none does."""
    with secure(certificate) as server:
        server.replies["list"] = [page(FITS | in_namespace("fits"), FULL | in_namespace("full"))]
        with serving(server, certificate, tmp_path_factory.mktemp("shared")) as seen:
            seen.webhook.wait_for("quotas synced")
            yield seen


def in_namespace(namespace: str) -> Json:
    return {"metadata": quota(namespace=namespace)["metadata"]}


def of_full(quota: Json) -> Reply:
    return page(quota | in_namespace("full"))


def test_a_pod_that_fits_is_admitted_without_a_live_read(shared: Serving) -> None:
    shared.begin(live=of_full(FULL))
    for endpoint in ("/mutate", "/validate"):
        assert shared.client.review(endpoint, review("fits"))["allowed"]
    assert shared.server.seen("live") == []
    assert shared.more("confirmations") == {}


@pytest.mark.parametrize("endpoint", ["/mutate", "/validate"])
def test_a_stale_cache_refuses_no_pod_that_fits(shared: Serving, endpoint: str) -> None:
    shared.begin(live=of_full(FITS))
    assert shared.client.review(endpoint, review("full"))["allowed"]
    (request,) = shared.server.seen("live")
    assert (request.path, request.query) == ("/api/v1/namespaces/full/resourcequotas", {"limit": "500"})
    assert (request.headers["authorization"], request.headers["user-agent"]) == ("Bearer secret", "flyte-admission")
    assert shared.more("confirmations") == {"overturned": 1}


def test_reviews_sent_ahead_are_answered_in_their_order_whichever_of_them_takes_a_live_read(shared: Serving) -> None:
    shared.begin(live=of_full(FULL))
    asked = [review(namespace) for namespace in ("fits", "full", "fits", "full")]
    assert len(asked) <= MAX_PIPELINED
    connection = shared.webhook.client().connection
    connection.connect()
    for each in asked:
        body = json.dumps(each).encode()
        head = (
            f"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.send(head.encode() + body)
    received = b""
    while received.count(b"HTTP/1.1 200") < len(asked) or not received.endswith(b"}"):
        received += (piece := connection.sock.recv(65536))
        assert piece, "the connection closed"
    places = [received.index(each["request"]["uid"].encode()) for each in asked]
    assert places == sorted(places)
    assert shared.more("confirmations") == {"confirmed": 2}


def test_a_refusal_has_the_live_figures(shared: Serving) -> None:
    shared.begin(live=of_full(quota(used="5", hard="7")))
    response = shared.client.review("/mutate", review("full"))
    assert (response["allowed"], response["status"]["message"].partition("requested")[2]) == (
        False,
        (
            ": limits.cpu=4, used: limits.cpu=5, limited: limits.cpu=7; short by limits.cpu=2; the largest task that "
            "fits now: limits.cpu=2; wait for other tasks to end, or ask for less"
        ),
    )
    assert len(shared.server.seen("live")) == 1
    assert shared.more("confirmations") == {"confirmed": 1}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(status(403, "no"), "403 Reason: no"), (silence, "no answer within 0.8 s")],
    ids=["403", "silence"],
)
def test_where_live_figures_are_not_to_be_had_the_pod_is_let_pass_and_that_is_told(
    shared: Serving, reply: Reply, reason: str
) -> None:
    shared.begin(live=reply)
    good = review("full", cpu="6")
    response = shared.client.review("/mutate", good)
    assert (response["allowed"], "patch" in response) == (True, True)  # clamped all the same
    assert shared.more("confirmations") == {"failed": 1}
    assert shared.more("read_errors") == {"live": 1}
    *_, why, unconfirmed, _ = shared.webhook.events(
        lambda found: found.get("uid") == good["request"]["uid"] and found["event"] == "review"
    )
    assert (why["read"], why["reason"].startswith(reason)) == ("live", True)
    assert (unconfirmed["event"], unconfirmed["name"]) == ("refusal not confirmed, the request is let pass", "a-n0-0")
    assert "exceeded quota: q, requested: limits.cpu=4, used: limits.cpu=3" in unconfirmed["refusal"]
    assert shared.probes.get("/readyz").text == "ok\n"


def test_what_is_refused_whatever_the_quotas_are_needs_no_live_read(shared: Serving) -> None:
    shared.begin(live=of_full(FITS))
    response = shared.client.review("/validate", review("full", cpu="9"))
    assert "over the maximum 4" in response["status"]["message"]
    assert shared.server.seen("live") == []


def test_it_is_ready_when_the_quotas_are_synced_and_then_follows_the_watch(
    server: FakeApiServer, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    server.replies["list"] = [status(403, "user me cannot list")]
    server.replies["watch"] = [stream(event("MODIFIED", "11", used="3", hard="6"), end=SILENCE)]
    server.replies["live"] = [page(FULL)]
    with serving(server, certificate, tmp_path) as seen:
        seen.webhook.wait_for("quotas cannot be read")
        waiting = seen.probes.get("/readyz")
        assert (waiting.status, seen.probes.get("/livez").status) == (503, 200)
        assert waiting.text == ("quotas: not known yet\nquotas: cannot be read, see the log\n")
        server.replies["list"] = [page(FITS)]
        seen.webhook.wait_for("quotas synced")
        ready = seen.probes.get("/readyz")
        assert (ready.status, ready.text) == (200, "ok\n")
        for _ in range(1000):  # the event is on its way
            if not seen.client.review("/mutate", review("ns"))["allowed"]:
                break
        assert len(server.seen("live")) == 1


@pytest.fixture
def pod(tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kubelet gives to a Pod of the service account, but for the address."""
    token = tmp_path / "token"
    token.write_text("of-the-pod")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate[0]))
    return token


def read(file: Path | None) -> list[str]:
    """The names of the quotas that the cluster has."""

    async def quotas() -> list[str]:
        try:
            found = await api.list(QUOTAS)
        finally:
            await api.close()
        return [quota.name for quota in found.items]

    api = cluster.connect(file)
    return asyncio.run(quotas())


def test_a_pod_reads_its_own_cluster(server: FakeApiServer, pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    server.replies["list"] = [page(FITS)]
    assert read(None) == ["q"]
    assert server.requests[0].headers["authorization"] == f"bearer {pod.read_text()}"


CREDENTIAL = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "status": {"token": "t-3"},
}
USERS: list[tuple[str, Json, str]] = [
    ("token", {"token": "t-1"}, "Bearer t-1"),
    ("token file", {"tokenFile": "token"}, "Bearer t-2"),
    ("password", {"username": "me", "password": "secret"}, f"Basic {base64.b64encode(b'me:secret').decode()}"),
    ("exec plugin", {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": sys.executable, "args": [
        "-c", f"print({json.dumps(CREDENTIAL)!r})"]}}, "Bearer t-3"),
]  # fmt: skip


@pytest.mark.parametrize(("user", "sent"), [row[1:] for row in USERS], ids=[row[0] for row in USERS])
def test_a_kubeconfig_says_where_and_who(
    server: FakeApiServer, certificate: tuple[Path, Path], tmp_path: Path, user: Json, sent: str
) -> None:
    (tmp_path / "token").write_text("t-2\n")
    authority = base64.b64encode(certificate[0].read_bytes()).decode()
    server.replies["list"] = [page(FITS)]
    assert read(kubeconfig(tmp_path, server.url, {"certificate-authority-data": authority}, user)) == ["q"]
    assert server.requests[0].headers["authorization"] == sent


def test_a_token_file_is_read_again(
    server: FakeApiServer, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_kubeconfig, "TOKEN_SECONDS", 0.0)
    token = tmp_path / "token"
    token.write_text("old")
    file = kubeconfig(tmp_path, server.url, {"certificate-authority": str(certificate[0])}, {"tokenFile": "token"})
    server.replies["list"] = [page(FITS)]
    api = cluster.connect(file)

    async def quotas() -> None:
        await api.list(QUOTAS)
        token.unlink()
        with pytest.raises(ReadError, match="token"):
            await api.list(QUOTAS)
        token.write_text("new")
        await api.list(QUOTAS)
        await api.close()

    token.write_text("newer")
    asyncio.run(quotas())
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer newer", "Bearer new"]


def test_a_certificate_of_somebody_else_is_not_trusted(server: FakeApiServer, tmp_path: Path) -> None:
    other, _ = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    with pytest.raises(ReadError, match="certificate verify failed"):
        read(kubeconfig(tmp_path, server.url, {"certificate-authority": str(other)}))
    assert server.requests == []


NOT_BASE64 = {"clusters": [{"name": "there", "cluster": {"server": "https://x", "certificate-authority-data": "TiB"}}]}
UNUSABLE = [
    # what is wrong with the file: its text, or what replaces parts of a good one; what is said of it
    ("nothing", "", "not a kubeconfig: "),
    ("no mapping", "[1]", "not a kubeconfig: "),
    ("no YAML", "a: [", "not YAML: while parsing a flow node"),
    ("no text", b"\xff\xfe\xff", "not a kubeconfig: 'utf-8' codec can't decode"),
    ("another file", "task_resources: {limits: {cpu: 4}}", "Expected key current-context in "),
    ("numbers for clusters", {"clusters": [1, 2]}, "not a kubeconfig: "),
    ("a context that is not there", {"current-context": "gone"}, "Expected object with name gone in "),
    ("no base64", NOT_BASE64, "not a kubeconfig: Incorrect padding"),
]


@pytest.mark.parametrize(("content", "said"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_a_kubeconfig_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, content: str | bytes | Json, said: str
) -> None:
    file = kubeconfig(tmp_path, "https://127.0.0.1")
    text = json.dumps(json.loads(file.read_text()) | content) if isinstance(content, dict) else content
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_unusable(file, said)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"certificate-authority": "gone.crt"}, "File does not exists: "),
        ({"certificate-authority-data": "TiBP"}, "its certificates or keys cannot be used: NO_CERTIFICATE"),
    ],
)
def test_an_authority_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, parts: Json, said: str) -> None:
    assert_unusable(kubeconfig(tmp_path, "https://127.0.0.1", parts), said)


def assert_unusable(file: Path, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        cluster.connect(file)
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_outside_a_cluster_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"none of --kubeconfig, .* is given, .*: Service host/port is not set\."):
        cluster.connect(None)


def test_only_who_reads_a_cluster_pays_for_its_client() -> None:
    code = (
        "import sys, webhook.cli.serve, webhook.server.run, webhook.offline.review; print('kubernetes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
