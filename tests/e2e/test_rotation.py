"""The certificate is renewed under a stream of creates, each of which fails if the API server does not trust us."""

import base64
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import server
from tests.e2e.client import Client, wait_for
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import POLICY, Installed, called, reachable, shipped
from tests.e2e.pods import FLYTE_1, pod
from tests.volume import Volume

ROTATIONS = 2


@pytest.fixture
def secrets(admin: Client) -> str:
    """Where the Secret is; the namespace is that of the shipped manifests."""
    admin.create({"kind": "Namespace", "metadata": {"name": "flyte-admission"}})
    return "/api/v1/namespaces/flyte-admission/secrets"


def certs(plane: ControlPlane, *names: str) -> int:
    """One pass of certs for a certificate of the loopback address and these names; its exit code."""
    arguments = ["--once", "--settle=2", f"--kubeconfig={plane.kubeconfig}", "--namespace=flyte-admission"]
    given = [f"--dns-name={name}" for name in ("127.0.0.1", *names)]
    return subprocess.run([sys.executable, "-m", "certs", *arguments, *given], check=False).returncode


def content(admin: Client, secrets: str) -> dict[str, bytes]:
    data = admin.must("GET", f"{secrets}/flyte-admission-tls")["data"]
    return {name: base64.b64decode(value) for name, value in data.items()}


@contextmanager
def streaming(plane: ControlPlane, namespace: str) -> Iterator[Counter[str]]:
    """What comes of one create after the other, each a dry run, until the end of the block."""
    answers: Counter[str] = Counter()
    ended = threading.Event()

    def create() -> None:
        client = plane.client()
        while not ended.is_set():
            reply = client.create(pod(namespace, "task", FLYTE_1), dry_run=True)
            answers["created" if reply.code == 201 else f"{reply.code} {reply.message}"] += 1
        client.close()

    thread = threading.Thread(target=create)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def test_the_certificate_rotates_under_a_stream_of_creates_and_none_fails(
    control_plane: ControlPlane, admin: Client, namespace: str, secrets: str, tmp_path: Path
) -> None:
    assert certs(control_plane) == 1, "there are no configurations yet, which keeps nobody from being served"
    volume = Volume(tmp_path, content(admin, secrets))
    files = [f"--tls-cert-file={tmp_path / 'tls.crt'}", f"--tls-private-key-file={tmp_path / 'tls.key'}"]
    with server.running("--policy", POLICY, "--no-quotas", *files) as process:
        url = process.listening["webhook"]
        webhook = Installed(process)
        configurations = reachable(shipped(), url, tmp_path / "ca.crt", failurePolicy="Fail")
        with called(admin, configurations, lambda: webhook.requests().keys()):
            assert certs(control_plane) == 0
            with streaming(control_plane, namespace) as answers:
                for rotation in range(ROTATIONS):
                    before = answers["created"]
                    assert certs(control_plane, f"rotation-{rotation}.example.com") == 0
                    renewed = content(admin, secrets)
                    volume.write(renewed)  # as the kubelet does, some time after
                    wait_for("the new certificate", partial(is_served, url, renewed["tls.crt"]))
                    taken_up = answers["created"]
                    wait_for("creates after that", partial(has_reached, answers, taken_up + 20))
                    assert taken_up > before
    assert answers.keys() == {"created"}


def is_served(url: str, leaf: bytes) -> bool:
    """Whether this is what a new connection gets."""
    where = urlsplit(url)
    return ssl.get_server_certificate((where.hostname or "", where.port or 0)) == leaf.decode()


def has_reached(answers: Counter[str], count: int) -> bool:
    return answers["created"] > count
