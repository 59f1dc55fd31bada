"""The certificate is renewed under a stream of creates, each of which fails if the API server does not trust us."""

import ssl
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests import process as server
from tests.e2e.client import Client, wait_for
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import POLICY, Accounts, Installed, called, issued, reachable, shipped
from tests.e2e.rendering import NAMESPACE
from tests.e2e.streaming import streaming
from tests.volume import Volume

ROTATIONS = 2


def certs(kubeconfig: Path, *names: str) -> int:
    """One pass of certs for a certificate of the loopback address and these names; its exit code."""
    arguments = ["--once", "--settle=2", f"--kubeconfig={kubeconfig}", f"--namespace={NAMESPACE}"]
    given = [f"--dns-name={name}" for name in ("127.0.0.1", *names)]
    return subprocess.run([sys.executable, "-m", "certs", *arguments, *given], check=False).returncode


def test_the_certificate_rotates_under_a_stream_of_creates_and_none_fails(
    control_plane: ControlPlane, admin: Client, namespace: str, accounts: Accounts, tmp_path: Path
) -> None:
    kubeconfig = accounts("flyte-admission-certs")
    assert certs(kubeconfig) == 1, "there are no configurations yet, which keeps nobody from being served"
    volume = Volume(tmp_path, issued(admin))
    files = [f"--tls-cert-file={tmp_path / 'tls.crt'}", f"--tls-private-key-file={tmp_path / 'tls.key'}"]
    with server.running("--policy", POLICY, "--no-quotas", *files) as process:
        url = process.listening["webhook"]
        webhook = Installed(process)
        configurations = reachable(shipped(), url, tmp_path / "ca.crt", failurePolicy="Fail")
        with called(admin, configurations, lambda: webhook.requests().keys()):
            assert certs(kubeconfig) == 0
            with streaming(control_plane, namespace) as answers:
                for rotation in range(ROTATIONS):
                    before = answers["created"]
                    assert certs(kubeconfig, f"rotation-{rotation}.example.com") == 0
                    renewed = issued(admin)
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
