"""`python -m certs`: the requests that a pass makes, what is told of it, how it fails, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import click
import pytest
from aiohttp import ClientTimeout, web
from click.testing import CliRunner, Result
from kubernetes.aio.config import incluster_config

from certs import cluster, pki
from certs.__main__ import main
from certs.reconcile import Plan
from certs.rotation import Bundle, Lifetimes, Reason
from certs.server import ReconcileLoop
from certs.server import once as make_one
from tests import x509
from tests.certs.apiserver import MUTATING, NAMESPACE, SECRET, SECRET_PATH, SECRETS, VALIDATING, ApiServer, refusal
from tests.x509 import DAY, NOW
from webhook.cli.main import main as webhook
from webhook.shared.pem import certificates

PATIENCE = 20
PLAN = Plan(NAMESPACE, SECRET, ("other.svc",), ("flyte-admission",), ("flyte-admission",), Lifetimes(), 0)
OUR_LABEL = {"flyte-admission.io/managed-by": "flyte-admission-certs"}
EXPIRY = "flyte_admission_certs_expiry_seconds"
MANAGER = "fieldManager=flyte-admission-certs"
READ = [f"GET {MUTATING}", f"GET {VALIDATING}", f"GET {SECRET_PATH}"]
PATCH = [f"PATCH {path}?{MANAGER}" for path in (MUTATING, VALIDATING)]
CREATE = [f"POST {SECRETS}?dryRun=All&{MANAGER}", f"POST {SECRETS}?{MANAGER}"]
UPDATE = [f"PUT {SECRET_PATH}?dryRun=All&{MANAGER}", f"PUT {SECRET_PATH}?{MANAGER}"]
SERVICE = (f"flyte-admission.{NAMESPACE}.svc", f"flyte-admission.{NAMESPACE}.svc.cluster.local")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer.installed().on_a_thread() as server:
        yield server


@pytest.fixture
def ours(server: ApiServer, tmp_path: Path) -> ApiServer:
    """After a first pass."""
    assert once(server, tmp_path).exit_code == 0
    server.asked.clear()
    server.bodies.clear()
    return server


def arguments(server: ApiServer, folder: Path) -> list[str]:
    return ["--kubeconfig", str(server.kubeconfig(folder)), "--namespace", NAMESPACE, "--settle", "0"]


def once(server: ApiServer, folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, [*arguments(server, folder), "--once", *more], catch_exceptions=False)


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stderr.splitlines()]


def error(result: Result) -> tuple[str, str]:
    """The only line of a pass that failed."""
    assert result.exit_code == 1
    (told,) = events(result)
    assert (told["level"], told["event"]) == ("error", "pass failed")
    return told["error"], told["message"]


def test_the_first_pass_makes_the_certificate_and_has_it_trusted_before(server: ApiServer, tmp_path: Path) -> None:
    result = once(server, tmp_path)
    assert result.exit_code == 0
    assert server.asked == [*READ, CREATE[0], *PATCH, CREATE[1], *READ[:2]]
    secret = server.objects[SECRET_PATH]
    assert secret["metadata"]["labels"] == {"flyte-admission.io/managed-by": "flyte-admission-certs"}
    assert (secret["type"], set(secret["data"])) == ("kubernetes.io/tls", {"ca.crt", "tls.crt", "tls.key"})
    assert server.bundles() == [server.data()["ca.crt"]] * 4
    leaf = Bundle.read(server.data()).leaf
    assert leaf
    assert pki.names(leaf) == set(SERVICE)
    told = events(result)
    assert [event["event"] for event in told] == ["caBundle written", "caBundle written", "certificate replaced"]
    assert {event["reason"] for event in told} == {"no_certificate"}
    assert "PRIVATE" not in result.stderr


def test_what_is_in_order_is_read_and_nothing_else(ours: ApiServer, tmp_path: Path) -> None:
    result = once(ours, tmp_path)
    assert (result.exit_code, result.stderr, ours.asked) == (0, "", READ)


def test_a_patch_changes_every_ca_bundle_of_the_configuration_that_was_read_and_nothing_else(
    ours: ApiServer, tmp_path: Path
) -> None:
    before = json.dumps(ours.objects[MUTATING]["webhooks"])
    ours.objects[MUTATING]["webhooks"][1]["clientConfig"]["caBundle"] = "Cg=="
    version = ours.objects[MUTATING]["metadata"]["resourceVersion"]
    result = once(ours, tmp_path)
    assert ours.asked == [*READ, PATCH[0]]
    value = b64encode(ours.data()["ca.crt"]).decode()
    assert ours.bodies[-1] == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": value},
    ]
    assert json.dumps(ours.objects[MUTATING]["webhooks"]) == before
    (told,) = events(result)
    assert (told["reason"], told["path"]) == ("caBundle has no certificate", MUTATING)


def test_a_ca_that_others_have_put_into_a_ca_bundle_stays_there_and_is_put_nowhere_else(
    ours: ApiServer, tmp_path: Path
) -> None:
    other = x509.root(begin=NOW, end=NOW + DAY).crt
    ours.objects[VALIDATING]["webhooks"][0]["clientConfig"]["caBundle"] = b64encode(other).decode()
    ours.objects[VALIDATING]["webhooks"][1]["clientConfig"]["caBundle"] = b64encode(
        ours.data()["ca.crt"] + other
    ).decode()
    (reported,) = events(once(ours, tmp_path))
    assert reported["reason"] == "caBundle lacks 1 of 1 CAs"
    own = ours.data()["ca.crt"]
    assert ours.bundles() == [own, own, own + other, own + other]
    rotated = events(once(ours, tmp_path, "--dns-name", "other.svc"))
    assert rotated[-1]["event"] == "certificate replaced"
    own = ours.data()["ca.crt"]
    assert ours.bundles() == [own, own, own + other, own + other]


def test_other_names_rotate_and_what_others_added_to_the_secret_stays(ours: ApiServer, tmp_path: Path) -> None:
    old = ours.data()
    ours.objects[SECRET_PATH]["data"]["more"] = "bW9yZQ=="
    ours.objects[SECRET_PATH]["metadata"]["annotations"] = {"kept": "yes"}
    result = once(ours, tmp_path, "--dns-name", "webhook.example.com", "--dns-name", "10.0.0.1")
    assert ours.asked == [*READ, UPDATE[0], *PATCH, UPDATE[1], *READ[:2]]
    assert events(result)[-1]["reason"] == Reason.NAMES_NOT_COVERED
    assert events(result)[-1]["names"] == ["webhook.example.com", "10.0.0.1"]
    new = ours.data()
    assert new.pop("more") == b"more"
    assert ours.objects[SECRET_PATH]["metadata"]["annotations"].items() >= {("kept", "yes")}
    assert new["ca.crt"].endswith(old["ca.crt"])
    assert ours.bundles() == [new["ca.crt"]] * 4
    assert not pki.belongs(pki.private_key(new["tls.key"]) or x509.key("rsa"), certificates(old["tls.crt"])[0])


def test_a_renewed_leaf_waits_until_api_servers_have_settled(ours: ApiServer, tmp_path: Path) -> None:
    times: list[tuple[str, float]] = []
    ours.after = lambda request: times.append((request.method, time.monotonic()))
    once(ours, tmp_path, "--dns-name", "other.svc", "--settle", "0.2")
    patched, put = times[5][1], times[6][1]
    assert [method for method, _ in times[4:7]] == ["PATCH", "PATCH", "PUT"]
    assert put - patched >= 0.2


def test_a_secret_that_is_empty_but_for_our_label_is_filled_without_the_right_to_create(
    server: ApiServer, tmp_path: Path
) -> None:
    server.put(SECRET_PATH, {"metadata": {"name": SECRET, "labels": OUR_LABEL}, "type": "Opaque"})
    result = once(server, tmp_path)
    assert (result.exit_code, events(result)[-1]["reason"]) == (0, "no_certificate")
    assert server.asked == [*READ, UPDATE[0], *PATCH, UPDATE[1], *READ[:2]]
    assert server.bundles() == [server.data()["ca.crt"]] * 4


@pytest.mark.parametrize("labels", [None, {}, {"app.kubernetes.io/managed-by": "Helm"}])
def test_a_secret_of_somebody_else_is_left_alone(
    ours: ApiServer, tmp_path: Path, labels: dict[str, str] | None
) -> None:
    ours.objects[SECRET_PATH]["metadata"]["labels"] = labels
    ours.objects[SECRET_PATH]["data"] = {}
    kind, message = error(once(ours, tmp_path))
    assert (kind, ours.asked) == ("foreign_secret", READ)
    assert message.startswith(f"Secret {NAMESPACE}/{SECRET} is not ours and is left alone: it has no label flyte-ad")


def test_a_secret_that_cert_manager_writes_is_left_alone(ours: ApiServer, tmp_path: Path) -> None:
    ours.objects[SECRET_PATH]["metadata"]["annotations"] = {"cert-manager.io/certificate-name": "webhook"}
    kind, message = error(once(ours, tmp_path))
    assert (kind, ours.asked) == ("foreign_secret", READ)
    assert "cert-manager writes it for the Certificate webhook; give that another secretName, and name it" in message


SOURCE, SOURCE_PATH = ("--from-secret", "mine"), f"{SECRETS}/mine"
ROOT = x509.root()
MINE = ROOT.issue()


def offer(server: ApiServer, ca: bytes = ROOT.crt, pair: x509.Pair = MINE) -> dict[str, bytes]:
    """Put a certificate for localhost into the Secret that certs is to take it from."""
    data = {"ca.crt": ca, "tls.crt": pair.crt, "tls.key": pair.pem_key}
    encoded = {key: b64encode(value).decode() for key, value in data.items()}
    server.put(SOURCE_PATH, {"metadata": {"name": "mine"}, "type": "kubernetes.io/tls", "data": encoded})
    return data


def test_the_certificate_of_another_secret_is_taken_once_its_ca_is_trusted(ours: ApiServer, tmp_path: Path) -> None:
    before, offered = ours.data(), offer(ours)
    result = once(ours, tmp_path, *SOURCE, "--dns-name", "localhost")
    assert ours.asked == [*READ, f"GET {SOURCE_PATH}", UPDATE[0], *PATCH, UPDATE[1], *READ[:2]]
    assert events(result)[-1]["reason"] == Reason.NAMES_NOT_COVERED
    assert ours.data() == offered | {"ca.crt": offered["ca.crt"] + before["ca.crt"]}
    assert ours.bundles() == [ours.data()["ca.crt"]] * 4
    ours.asked.clear()
    result = once(ours, tmp_path, *SOURCE, "--dns-name", "localhost")
    assert (result.exit_code, result.stderr, ours.asked) == (0, "", [*READ, f"GET {SOURCE_PATH}"])


def test_without_the_other_secret_a_certificate_is_issued_again(ours: ApiServer, tmp_path: Path) -> None:
    offered = offer(ours)
    once(ours, tmp_path, *SOURCE, "--dns-name", "localhost")
    del ours.objects[SOURCE_PATH]
    result = once(ours, tmp_path, "--dns-name", "localhost")
    assert events(result)[-1]["reason"] == Reason.ISSUED_ELSEWHERE
    assert ours.data()["tls.crt"] != offered["tls.crt"]
    assert offered["ca.crt"] in ours.data()["ca.crt"]
    assert ours.bundles() == [ours.data()["ca.crt"]] * 4


def test_a_renewed_certificate_of_another_secret_is_taken_and_cas_from_long_before_are_dropped(
    ours: ApiServer, tmp_path: Path
) -> None:
    first = ours.data()
    offer(ours)
    once(ours, tmp_path, *SOURCE, "--dns-name", "localhost")
    ours.objects[SECRET_PATH]["metadata"]["annotations"]["flyte-admission.io/replaced"] = (NOW - DAY).isoformat()
    root = x509.root(number=5)
    renewed = offer(ours, root.crt, root.issue(number=6))
    result = once(ours, tmp_path, *SOURCE, "--dns-name", "localhost")
    assert events(result)[-1]["reason"] == Reason.SOURCE_CHANGED
    assert ours.data() == renewed | {"ca.crt": root.crt + ROOT.crt}
    assert first["ca.crt"] not in ours.bundles()[0]
    assert ours.bundles() == [ours.data()["ca.crt"]] * 4


def reported(result: Result) -> str:
    """What is wrong with the Secret that the certificate is to be taken from."""
    last = events(result)[-1]
    assert (result.exit_code, last["error"]) == (1, "source")
    return str(last["message"])


def test_another_secret_that_cannot_be_used_changes_nothing_and_what_is_in_use_stays_trusted(
    ours: ApiServer, tmp_path: Path
) -> None:
    before = ours.data()
    ours.objects[MUTATING]["webhooks"][0]["clientConfig"]["caBundle"] = ""
    named = [*SOURCE, "--dns-name", "localhost"]
    assert reported(once(ours, tmp_path, *named)) == f"there is no Secret {NAMESPACE}/mine yet"
    offer(ours)
    others = [*SOURCE, "--dns-name", "example.com"]
    assert reported(once(ours, tmp_path, *others)) == f"Secret {NAMESPACE}/mine cannot be used: names_not_covered"
    offer(ours, x509.root(number=7).crt)
    assert reported(once(ours, tmp_path, *named)) == f"Secret {NAMESPACE}/mine cannot be used: not_signed_by_ca"
    assert (ours.data(), ours.bundles()) == (before, [before["ca.crt"]] * 4)


def test_a_first_certificate_is_waited_for(server: ApiServer, tmp_path: Path) -> None:
    server.put(SECRET_PATH, {"metadata": {"name": SECRET, "labels": OUR_LABEL}, "type": "Opaque"})
    assert error(once(server, tmp_path, *SOURCE, "--dns-name", "localhost"))[0] == "source"
    offered = offer(server)
    assert once(server, tmp_path, *SOURCE, "--dns-name", "localhost").exit_code == 0
    assert (server.data(), server.bundles()) == (offered, [offered["ca.crt"]] * 4)


@pytest.mark.parametrize(
    "secret",
    [{"metadata": None}, {"metadata": {"labels": 5}}, {"metadata": {"labels": OUR_LABEL}, "data": {"tls.crt": "A"}}],
    ids=["metadata", "labels", "base64"],
)
def test_an_object_that_nobody_had_thought_of_fails_the_pass_and_not_the_program(
    ours: ApiServer, tmp_path: Path, secret: dict[str, Any]
) -> None:
    ours.objects[SECRET_PATH] = secret
    passes = ReconcileLoop(PLAN, ours.kubeconfig(tmp_path))
    assert [make_one(passes) for _ in range(2)] == [False, False]
    assert passes.metrics.registry.get_sample_value("flyte_admission_certs_errors_total", {"error": "unexpected"}) == 2
    kind, _ = error(once(ours, tmp_path))
    assert kind == "unexpected"


@pytest.mark.parametrize(
    ("place", "status", "kind"),
    [
        (READ[0], 403, "forbidden"), (READ[1], 500, "refused"),
        (READ[2], 403, "forbidden"), (READ[2], 401, "forbidden"),
        (UPDATE[0], 403, "forbidden"), (PATCH[0], 409, "conflict"), (PATCH[1], 404, "not_found"),
        (UPDATE[1], 409, "conflict"),
    ],
)  # fmt: skip
def test_a_request_that_is_refused_ends_the_pass(
    ours: ApiServer, tmp_path: Path, place: str, status: int, kind: str
) -> None:
    before = ours.objects[SECRET_PATH]

    async def refuse(found: str) -> web.Response | None:
        return refusal(status) if found == place else None

    ours.before = refuse
    result = once(ours, tmp_path, "--dns-name", "other.svc")
    assert (result.exit_code, ours.asked[-1]) == (1, place)
    told = events(result)[-1]
    assert told["error"] == kind
    why = "" if place.startswith("GET") else "names_not_covered: "
    assert told["message"].startswith(f"{why}{place.split('?', maxsplit=1)[0]}: {status} ")
    assert told["message"].endswith(f": it is {refusal_reason(status)}")
    assert ours.objects[SECRET_PATH] == before


def refusal_reason(status: int) -> str:
    return {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 500: "InternalError"}[status]


@pytest.mark.parametrize(
    ("lacking", "told"),
    [((), {"ca", "leaf"}), (("ca.crt",), {"leaf"}), (("tls.crt",), {"ca"}), (("ca.crt", "tls.crt", "tls.key"), set())],
)
def test_what_the_secret_holds_is_told_where_it_cannot_be_replaced(
    ours: ApiServer, tmp_path: Path, lacking: Sequence[str], told: set[str]
) -> None:
    held = Bundle.read(ours.data()).ends
    passes = ReconcileLoop(PLAN, ours.kubeconfig(tmp_path))
    passes.metrics.expires({"ca": NOW, "leaf": NOW})  # of a pass before
    for name in lacking:
        del ours.objects[SECRET_PATH]["data"][name]

    async def refuse(place: str) -> web.Response | None:
        return refusal(403) if place == UPDATE[0] else None

    ours.before = refuse
    assert not make_one(passes)
    told_of = {name: passes.metrics.registry.get_sample_value(EXPIRY, {"certificate": name}) for name in held}
    assert told_of == {name: end.timestamp() if name in told else None for name, end in held.items()}


def test_a_secret_that_cannot_be_made_is_told_with_the_reason_to_make_it(server: ApiServer, tmp_path: Path) -> None:
    async def refuse(place: str) -> web.Response | None:
        return refusal(403) if place == CREATE[0] else None

    server.before = refuse
    assert error(once(server, tmp_path)) == (
        "forbidden",
        f"no_certificate: POST {SECRETS}: 403 Forbidden: it is Forbidden",
    )


def test_a_secret_that_another_made_meanwhile_is_a_conflict(server: ApiServer, tmp_path: Path) -> None:
    async def make(place: str) -> web.Response | None:
        if place == PATCH[0]:
            server.put(SECRET_PATH, {"metadata": {"name": SECRET}})
        return None

    server.before = make
    result = once(server, tmp_path)
    assert (result.exit_code, events(result)[-1]["error"]) == (1, "conflict")


def test_a_missing_configuration_is_told_and_keeps_nobody_from_being_served(server: ApiServer, tmp_path: Path) -> None:
    del server.objects[MUTATING]
    result = once(server, tmp_path)
    assert (result.exit_code, events(result)[-1]["error"]) == (1, "not_found")
    assert events(result)[-1]["message"] == f"GET {MUTATING}: 404 Not Found: it is NotFound"
    assert server.bundles() == [server.data()["ca.crt"]] * 2


def test_configurations_are_by_name_and_may_have_no_webhook(server: ApiServer, tmp_path: Path) -> None:
    path = MUTATING.replace("flyte-admission", "a%2Fb")
    server.objects.clear()
    server.put(path.replace("%2F", "/"), {"metadata": {}})
    server.put(VALIDATING, {"metadata": {}, "webhooks": [{"name": "x", "clientConfig": {"url": "https://x"}}]})
    result = once(server, tmp_path, "--mutating-webhook-configuration", "a/b")
    assert server.asked[0] == f"GET {path}"
    assert [place for place in server.asked if place.startswith("PATCH")] == [PATCH[1]]
    assert result.exit_code == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"<html>sorry</html>"])
@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_that_is_no_json_is_told(ours: ApiServer, tmp_path: Path, body: bytes, status: int) -> None:
    async def proxy(_: str) -> web.Response | None:
        return web.Response(body=body, status=status)

    ours.before = proxy
    kind, message = error(once(ours, tmp_path))
    expected = "the answer is not a JSON object: " if status == 200 else "502 Bad Gateway: "
    assert (kind, message.startswith(f"{READ[0]}: {expected}")) == ("refused", True)


def test_an_api_server_that_is_not_there_is_told(server: ApiServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.port = free.getsockname()[1]
        made = arguments(server, tmp_path)
    result = CliRunner().invoke(main, [*made, "--once"])
    kind, message = error(result)
    assert (kind, message.startswith(f"{READ[0]}: ClientConnectorError: ")) == ("unreachable", True)


def test_an_api_server_that_keeps_silent_is_given_up(
    ours: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT", ClientTimeout(total=0.05))

    silent = asyncio.Event()

    async def wait(_: str) -> web.Response | None:
        await silent.wait()
        return None

    ours.before = wait
    assert error(once(ours, tmp_path)) == ("unreachable", f"{READ[0]}: no answer within 0.05 s")


NO_CA = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority-data": "eA=="}}],
}
UNUSABLE = [
    ("a: [", "not YAML: "),
    ("- a", "not a kubeconfig: "),
    ("a: 1", "Invalid kube-config"),
    (json.dumps(NO_CA), "its certificates or keys cannot be used: "),
]


@pytest.mark.parametrize(("text", "told"), UNUSABLE, ids=["yaml", "list", "empty", "ca"])
def test_a_kubeconfig_that_cannot_be_used_ends_it_at_once(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    assert told in unusable("--kubeconfig", str(file))


def unusable(*more: str) -> str:
    result = CliRunner().invoke(main, ["--namespace", NAMESPACE, *more], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_outside_of_a_cluster_it_needs_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    told = unusable("--once")
    assert told.startswith("no --kubeconfig is given, and this is not a Pod with a service account: Service host")


def test_in_a_cluster_it_is_the_service_account(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as that goes without https: the API server does not understand what it gets."""
    (tmp_path / "token").write_text("TOKEN")
    (tmp_path / "ca.crt").write_bytes(x509.root().crt)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    result = CliRunner().invoke(main, ["--namespace", NAMESPACE, "--once"], catch_exceptions=False)
    assert error(result)[0] == "unreachable"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--leaf-lifetime", "90"], "'90' is not a duration; write a number over 0 and d, h, m or s, such as 90d"),
        (["--leaf-lifetime", "0s"], "'0s' is not a duration"),
        (["--ca-lifetime", "89d"], "--leaf-lifetime is over --ca-lifetime; a certificate does not outlive its CA"),
        (["--renew-before", "2160h"], "--renew-before is not under --leaf-lifetime; it would be replaced in each pass"),
        (["--from-secret", SECRET], "--from-secret is the Secret that certs writes; name another one"),
        (["--health-listen", "x"], "'x' is not an address; write HOST:PORT, such as 127.0.0.1:8443 or [::]:8443"),
        (["--health-listen", "x:65536"], "'x:65536' is not an address"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(options: list[str], told: str) -> None:
    assert told in " ".join(unusable(*options).split())


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_in_use_is_named(server: ApiServer, tmp_path: Path, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as taken:
        port = taken.getsockname()[1]
        said = unusable(*arguments(server, tmp_path)[:2], "--health-listen", f"{host}:{port}")
    assert said.startswith(f"cannot listen on {host}:{port}: Address already in use")


def test_it_makes_passes_until_a_signal_and_ends_with_0(server: ApiServer, tmp_path: Path) -> None:
    environment = {
        "FLYTE_ADMISSION_CERTS_NAMESPACE": NAMESPACE,
        "FLYTE_ADMISSION_CERTS_HEALTH_LISTEN": "127.0.0.1:0",
        "FLYTE_ADMISSION_CERTS_DNS_NAME": "a.svc 10.0.0.1",
    }
    command = [sys.executable, "-m", "certs", "--kubeconfig", str(server.kubeconfig(tmp_path)), "--interval", "0.1"]
    del server.objects[VALIDATING]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = (json.loads(line) for line in process.stderr)
        health = next(lines)["health"]
        until(lines, "pass failed")
        status, text = get(f"{health}/readyz")
        assert (status, text) == (503, "the last pass failed, see the log\n")
        server.put(VALIDATING, {"metadata": {}, "webhooks": [{"name": "x", "clientConfig": {}}]})
        until(lines, "caBundle written")
        while get(f"{health}/readyz")[0] != 200:
            pass
        assert get(f"{health}/livez") == (200, "ok\n")
        assert get(f"{health}/livez/")[0] == 404, "which sends nobody elsewhere"
        metrics = get(f"{health}/metrics")[1]
        process.send_signal(signal.SIGTERM)
        assert [line["event"] for line in lines] == ["stopped"]
        assert process.wait(PATIENCE) == 0
    leaf = Bundle.read(server.data()).leaf
    assert leaf
    assert pki.names(leaf) == {"a.svc", "10.0.0.1"}
    found = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line[0] != "#"}
    assert found['flyte_admission_certs_rotations_total{reason="no_certificate"}'] == 1
    assert found["flyte_admission_certs_published_total"] == 2
    assert found['flyte_admission_certs_errors_total{error="not_found"}'] >= 1
    assert found['flyte_admission_certs_expiry_seconds{certificate="leaf"}'] == leaf.not_valid_after_utc.timestamp()
    assert found['flyte_admission_certs_expiry_seconds{certificate="ca"}'] > leaf.not_valid_after_utc.timestamp()
    assert found["flyte_admission_certs_last_success_seconds"] >= leaf.not_valid_before_utc.timestamp()


def until(lines: Iterator[dict[str, Any]], event: str) -> None:
    assert any(line["event"] == event for line in lines)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def run_by(program: click.Command, *arguments: str) -> Result:
    result = CliRunner().invoke(program, arguments, prog_name="program", catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    "more",
    [
        ["--help"], ["-h"], [], ["--namespace", NAMESPACE, "--leaf-lifetime", "90"],
        ["--namespace", NAMESPACE, "--ca-lifetime", "89d"], ["--namespace", NAMESPACE, "--once"], ["--what"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_flyte_admission_certs_says_the_same(more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ours, alone = run_by(webhook, "certs", *more), run_by(main, *more)
    assert ours.exit_code == alone.exit_code == (0 if more[:1] in (["--help"], ["-h"]) else 2)
    assert (ours.stdout, ours.stderr) == tuple(
        text.replace("program [OPTIONS]", "program certs [OPTIONS]").replace("program --help", "program certs --help")
        for text in (alone.stdout, alone.stderr)
    )


@pytest.mark.parametrize("command", [["certs"], ["webhook", "certs"]], ids=" ".join)
def test_both_commands_make_the_same_pass_and_take_the_same_environment(
    server: ApiServer, tmp_path: Path, command: list[str]
) -> None:
    environment = {
        "FLYTE_ADMISSION_CERTS_NAMESPACE": NAMESPACE,
        "FLYTE_ADMISSION_CERTS_KUBECONFIG": str(server.kubeconfig(tmp_path)),
        "FLYTE_ADMISSION_CERTS_ONCE": "1",
        "FLYTE_ADMISSION_CERTS_DNS_NAME": "a.svc 10.0.0.1",
    }
    run = [sys.executable, "-m", *command]
    assert subprocess.run(run, env=os.environ | environment, timeout=PATIENCE, check=False).returncode == 0
    leaf = Bundle.read(server.data()).leaf
    assert leaf
    assert pki.names(leaf) == {"a.svc", "10.0.0.1"}
    del server.objects[VALIDATING]
    assert subprocess.run(run, env=os.environ | environment, timeout=PATIENCE, check=False).returncode == 1


def test_the_webhook_imports_certs_for_nothing_else() -> None:
    code = (
        "import sys; from webhook.cli.main import main; main(['policy', 'schema'], standalone_mode=False); "
        "sys.exit('certs' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert run.returncode == 0
