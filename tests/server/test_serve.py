"""`serve` as a process: its options and environment, how it ends, and how it fails to start."""

import json
import logging
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from tests.process import (
    EXAMPLES,
    FREE_PORTS,
    JSON,
    PATIENCE,
    PROGRAM,
    Client,
    Server,
    examples,
    running,
)
from webhook.cli.main import main
from webhook.http.listener import listen
from webhook.server import tls
from webhook.shared.address import Address

REVIEW = (EXAMPLES / "review.json").read_bytes()
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


def start_review(server: Server) -> Client:
    """A client that has sent a review but for its end, which the server has begun to read."""
    client = server.client()
    client.connection.putrequest("POST", "/mutate")
    for name, value in (JSON | {"Content-Length": str(len(REVIEW))}).items():
        client.connection.putheader(name, value)
    client.connection.endheaders(REVIEW[:-10])
    other = server.client()
    assert other.post("/mutate", REVIEW).status == 200  # read after what has come before it
    other.connection.close()
    return client


def finish_review(client: Client) -> None:
    client.connection.send(REVIEW[-10:])
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert answer.json["response"]["allowed"]


@SIGNALS
def test_a_signal_ends_it_with_0_after_what_is_under_way(number: signal.Signals) -> None:
    with running(*examples()) as server:
        client = start_review(server)
        server.process.send_signal(number)
        server.wait_for("draining")
        finish_review(client)
        server.wait_for("stopped")
        assert server.process.wait(PATIENCE) == 0
    events = [json.loads(line)["event"] for line in server.lines]
    assert events == ["listening", "review", "draining", "review", "stopped"]


@SIGNALS
def test_a_signal_ends_it_as_soon_as_it_says_that_it_listens(number: signal.Signals) -> None:
    with running(*examples()) as server:
        assert server.stop(number) == 0
    assert not Path(server.certificate).exists()


def test_with_a_shutdown_delay_it_is_unready_but_answers() -> None:
    with running(*examples(), "--shutdown-delay", "1") as server:
        client, kept = start_review(server), server.client()
        assert "connection" not in kept.post("/mutate", REVIEW).headers
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_for("draining")["seconds"] == 1
        probes = server.health()
        assert (probes.get("/readyz").status, probes.get("/livez").status) == (503, 200)
        answers = [kept.post("/mutate", REVIEW), server.client().post("/mutate", REVIEW)]
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 2
        finish_review(client)
        server.wait_for("stopped")
        assert server.process.wait(PATIENCE) == 0


def test_it_ends_while_connections_are_kept_alive() -> None:
    with running(*examples()) as server:
        client = server.client()
        client.post("/mutate", REVIEW)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        assert client.connection.sock.recv(1) == b""
        client.connection.close()
        assert server.process.wait(PATIENCE) == 0


def test_nothing_is_left_of_the_certificate_made_on_the_spot(tmp_path: Path) -> None:
    with running(*examples(), environment={"TMPDIR": str(tmp_path)}) as server:
        certificate = Path(server.certificate)
        key = certificate.with_name("tls.key")
        assert tmp_path in certificate.parents
        assert key.stat().st_mode & 0o077 == 0
        server.client().post("/mutate", REVIEW)
        server.clients[-1].connection.close()
        assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_with_no_quotas_it_says_that_none_are_checked(tmp_path: Path) -> None:
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    files = f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"
    with running("--policy", EXAMPLES / "policy.yaml", "--no-quotas", *files) as server:
        assert server.client().post("/mutate", REVIEW).status == 200
    events = [json.loads(line) for line in server.lines]
    assert [event["event"] for event in events if event["level"] == "warning"] == ["no quotas"]


def test_a_certificate_made_on_the_spot_is_for_the_host_it_listens_on() -> None:
    with running(*examples(), "--listen", "127.0.0.2:0") as server:
        assert server.listening["webhook"].startswith("https://127.0.0.2:")
        assert server.client().post("/mutate", REVIEW).status == 200


def test_options_come_from_the_environment_too_and_a_given_certificate_is_served(tmp_path: Path) -> None:
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    environment = {
        "FLYTE_ADMISSION_SERVE_POLICY": str(EXAMPLES / "policy.yaml"),
        "FLYTE_ADMISSION_SERVE_QUOTAS": str(EXAMPLES / "quotas.yaml"),
        "FLYTE_ADMISSION_SERVE_TLS_CERT_FILE": str(certificate),
        "FLYTE_ADMISSION_SERVE_TLS_PRIVATE_KEY_FILE": str(key),
        "FLYTE_ADMISSION_SERVE_SHUTDOWN_DELAY": "0.01",
    }
    with running(environment=environment) as server:
        assert server.certificate == str(certificate)
        assert server.client().post("/mutate", REVIEW).json["response"]["patch"]
        connection = server.clients[-1].connection.sock
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(certificate.read_text())
        server.clients[-1].connection.close()
        server.process.terminate()
        assert server.wait_for("draining")["seconds"] == 0.01


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Logging as it was before `serve` set it up in this process."""
    root, ours = logging.getLogger(), logging.getLogger("webhook")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def failed(*arguments: str | Path) -> str:
    """What is on stderr of a server that did not start."""
    result = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def failed_process(*arguments: str | Path) -> str:
    """The same of a process, which has no terminal to ask for anything."""
    result = subprocess.run(
        [*PROGRAM, "serve", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    return result.stderr


def one_line(stderr: str) -> str:
    (line,) = stderr.splitlines()
    return line


def test_a_log_that_nobody_reads_any_more_stops_nobody() -> None:
    with running(*examples()) as server:
        server.unread()
        client = server.client()
        for _ in range(20):
            assert client.post("/mutate", REVIEW).status == 200
            assert client.post("/mutate", b"{}").status == 400
        server.disconnect()
        assert server.stop() == 0


def test_a_log_that_is_open_but_that_nobody_reads_stops_nothing() -> None:
    command = [*PROGRAM, "serve", *FREE_PORTS, *map(str, examples())]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stderr
        try:
            listening = json.loads(process.stderr.readline())
            client = Client(listening["webhook"], listening["certificate"])
            for _ in range(600):  # of some 300 bytes each, more than a pipe holds
                assert client.post("/mutate", b"{}").status == 400
            probes = Client(listening["health"])
            assert probes.get("/livez").status == 200
            for each in (client, probes):
                each.connection.close()
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_every_interface_is_that_of_either_family(client: str) -> None:
    with listen(Address.parse(":0")) as listening, socket.create_connection((client, listening.getsockname()[1]), 10):
        pass


@pytest.mark.parametrize("option", ["--listen", "--health-listen"])
def test_a_port_in_use_is_named(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = failed_process(*examples(), *FREE_PORTS, option, address)
    assert one_line(said).startswith(f"cannot listen on {address}: Address already in use")


@pytest.mark.parametrize("address", ["203.0.113.1:0", "[2001:db8::1]:0"])
def test_an_address_of_another_machine_is_named(address: str) -> None:
    assert one_line(failed(*examples(), *FREE_PORTS, "--listen", address)).startswith(f"cannot listen on {address}: ")


def test_a_host_that_does_not_resolve_is_named() -> None:
    assert one_line(failed(*examples(), *FREE_PORTS, "--listen", "nowhere.invalid:0")).startswith(
        "cannot listen on nowhere.invalid:0: "
    )


@pytest.mark.parametrize("address", ["8443", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_what_is_no_address_is_a_usage_error(address: str) -> None:
    assert f"'{address}' is not an address; write HOST:PORT" in failed(*examples(), "--listen", address)


def test_a_missing_policy_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "policy.yaml"
    assert f"'{missing}' does not exist" in failed("--policy", missing)


def test_a_policy_is_needed() -> None:
    assert "Missing option '--policy'" in failed()


def test_a_folder_as_policy_is_named(tmp_path: Path) -> None:
    assert f"'{tmp_path}' is a directory" in failed("--policy", tmp_path)


def test_everything_wrong_with_a_policy_is_told_with_its_place(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("task_resources:\n  limits:\n    cpu: four\n    ram: 1Gi\n")
    said = failed("--policy", policy, "--quotas", EXAMPLES / "quotas.yaml")
    first, second = said.splitlines()
    assert first.startswith(f"{policy}:3:10: task_resources.limits.cpu: 'four' is not a valid quantity")
    assert second.startswith(f"{policy}:4:5: task_resources.limits.ram: unknown key; accepted: cpu, memory")


def test_what_is_wrong_with_quotas_is_told_with_its_place(tmp_path: Path) -> None:
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text("kind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {cpu: four}}\n")
    said = one_line(failed("--policy", EXAMPLES / "policy.yaml", "--quotas", quotas))
    assert said.startswith(f"{quotas}:")
    assert "ResourceQuota q: spec.hard[...]: 'four' is not a valid quantity" in said


def test_client_cas_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "clients.crt"
    file.write_text("nothing")
    said = one_line(failed(*examples(), *FREE_PORTS, "--client-ca-file", file))
    assert said.startswith(f"{file}: no certificate in PEM")


def test_a_certificate_goes_with_its_key(tmp_path: Path) -> None:
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    for option in (f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"):
        assert "--tls-cert-file and --tls-private-key-file go together" in failed(*examples(), option)


def test_without_quotas_and_certificate_it_does_not_start() -> None:
    said = failed("--policy", EXAMPLES / "policy.yaml")
    assert "without --quotas, --tls-cert-file and --tls-private-key-file are needed" in said


def test_where_quotas_come_from_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig.yaml"
    file.touch()
    for options in (["--no-quotas"], ["--kubeconfig", file]):
        said = failed(*examples(), *options)
        assert "of --quotas, --kubeconfig and --no-quotas, give one or none" in said


def test_without_a_cluster_it_does_not_start_and_says_what_there_is_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    policy = "--policy", EXAMPLES / "policy.yaml"
    files = f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"
    assert one_line(failed(*policy, *files)) == (
        "none of --kubeconfig, --quotas, --no-quotas is given, and this is not a Pod with a service account: "
        "Service host/port is not set."
    )
    (tmp_path / "kubeconfig.yaml").write_text("clusters: {}")
    said = one_line(failed(*policy, *files, "--kubeconfig", tmp_path / "kubeconfig.yaml"))
    assert said.startswith(f"{tmp_path / 'kubeconfig.yaml'}: ")


def pair(certificate: Path, key: Path) -> list[str | Path]:
    return [*examples(), *FREE_PORTS, "--tls-cert-file", certificate, "--tls-private-key-file", key]


def test_a_certificate_of_another_key_is_told(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as other:
        certificate, _ = tls.make_self_signed(tmp_path, ["127.0.0.1"])
        _, key = tls.make_self_signed(Path(other), ["127.0.0.1"])
        said = one_line(failed(*pair(certificate, key)))
    assert said == f"{certificate}, {key}: no certificate with its private key: KEY_VALUES_MISMATCH"


def test_files_that_are_no_pem_are_told(tmp_path: Path) -> None:
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    certificate.write_text("-----BEGIN NOTHING-----\n")
    assert one_line(failed(*pair(certificate, key))).startswith(f"{certificate}, {key}: no certificate with its")


def test_a_certificate_that_is_gone_by_now_is_named(tmp_path: Path) -> None:
    with pytest.raises(tls.CertificateError, match=r"gone\.crt, .*: No such file or directory"):
        tls.server_context(tmp_path / "gone.crt", tmp_path / "gone.key")


def test_a_key_with_a_password_is_told_and_not_asked_for(tmp_path: Path) -> None:
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    locked = tmp_path / "locked.key"
    secret = serialization.BestAvailableEncryption(b"secret")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    told = f"{certificate}, {locked}: the private key has a password; one without is expected"
    assert one_line(failed_process(*pair(certificate, locked))) == told
    with pytest.raises(tls.CertificateError, match="has a password"):
        tls.server_context(certificate, locked)


def test_what_the_policy_says_in_vain_is_a_log_line_like_any_other(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("plugins: {k8s: {default-cpus: 1}}\n")
    with running("--policy", policy, "--quotas", EXAMPLES / "quotas.yaml") as server:
        (told,) = (event for line in server.lines if (event := json.loads(line))["event"] == "policy")
    what = "warning: 1 key is left to Flyte and not used here; `policy check -v` lists them"
    assert told["warnings"] == [f"{policy}:1:17: {what}"]
