"""The certificate changes hands between certs, cert-manager and the admin, and every create goes through under Fail.

The controllers of cert-manager are the real ones. certs runs with the arguments and the rights of its Deployment. The
webhook gets each Secret some time after it was written, as from a kubelet.
"""

import os
import socket
import subprocess
import sys
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from tests import process as server
from tests import x509
from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.controlplane import binaries
from tests.e2e.controlplane.binaries import HERE, Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.following import OWN_SECRET, Follower, Installation, block_for_nodes, direct
from tests.e2e.installed import issued
from tests.e2e.rendering import NAMESPACE, run
from tests.e2e.streaming import streaming
from tests.e2e.test_rotation import has_reached, is_served
from tests.volume import Volume

CERTIFICATES = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificates"
pytestmark = pytest.mark.usefixtures("cert_manager")
AUTHORITIES = {"certs": "flyte-admission CA ", "cert-manager": "flyte-admission-ca", "you": "the admin's CA"}


@pytest.fixture(scope="module")
def cert_manager(control_plane: ControlPlane, programs: Binaries) -> Iterator[None]:
    """The resources and the controllers of cert-manager."""
    module = binaries.module(os.environ, HERE / "cert-manager", "github.com/cert-manager/cert-manager")
    kubectl = [programs.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    crds = f"--filename={module / 'deploy' / 'crds'}"
    run(*kubectl, "apply", "--server-side", crds)
    with (control_plane.folder / "cert-manager.log").open("wb") as log:
        command = [programs.path("cert-manager"), f"--kubeconfig={control_plane.kubeconfig}"]
        with subprocess.Popen(command, stdout=log, stderr=log, process_group=0) as process:
            yield
            assert process.poll() is None, log.name
            process.terminate()
    run(*kubectl, "delete", crds)


def on_loopback(checkout: Path) -> None:
    """Have cert-manager issue for the address that stands in for the Service."""
    for name in (
        "kustomize/components/cert-manager/certificates.yaml",
        "helm/flyte-admission/templates/cert-manager.yaml",
    ):
        file = checkout / "manifests" / name
        text = file.read_text()
        assert text.count("  dnsNames:\n") == 1
        file.write_text(text.replace("  dnsNames:\n", "  ipAddresses: [127.0.0.1]\n  dnsNames:\n"))


@dataclass
class Cluster:
    """An installation with certs and a replica of the webhook at work."""

    plane: ControlPlane
    admin: Client
    follower: Follower
    installation: Installation
    folder: Path
    url: str
    volume: Volume  # of the webhook's Pod
    answers: Counter[str] = field(default_factory=Counter)  # to the creates that go on

    @contextmanager
    def certs(self) -> Iterator[None]:
        """Run certs as its Deployment says now; what takes it a minute there takes a second here."""
        deployed = self.admin.must("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/flyte-admission-certs")
        (container,) = deployed["spec"]["template"]["spec"]["containers"]
        arguments = [argument.replace("$(NAMESPACE)", NAMESPACE) for argument in container["args"]]
        account = self.plane.service_account(NAMESPACE, "flyte-admission-certs")
        here = [f"--kubeconfig={account}", "--dns-name=127.0.0.1", "--interval=1", "--settle=1"]
        with (self.folder / "certs.log").open("ab") as log:
            command = [sys.executable, *container["command"][1:], *arguments, *here, "--health-listen=127.0.0.1:0"]
            with subprocess.Popen(command, stderr=log) as process:
                yield
                process.terminate()
                assert process.wait() == 0

    def held(self) -> dict[str, bytes]:
        """The Secret, once it has a certificate."""
        return wait_for("a certificate", lambda: issued(self.admin))

    def takes_up(self, who: str, before: dict[str, bytes]) -> None:
        """Wait until another certificate is in the Secret, and then is served, with creates before and after that."""

        def replaced() -> dict[str, bytes] | None:
            found = self.held()
            return found if found["tls.crt"] != before["tls.crt"] else None

        held = wait_for(f"a certificate from {who}", replaced)
        issuer = load_pem_x509_certificate(held["tls.crt"]).issuer.rfc4514_string()
        assert issuer.startswith(f"CN={AUTHORITIES[who]}")
        self._creates()  # with the certificate before, until the kubelet comes
        self.volume.write(held)
        wait_for("the new certificate", lambda: is_served(self.url, held["tls.crt"].partition(b"-----END")[0] + END))
        self._creates()

    def _creates(self) -> None:
        reached = self.answers["created"] + 10
        wait_for("creates", lambda: has_reached(self.answers, reached))

    def changes(self, who: str) -> None:
        """Choose another issuer, and install again."""
        before = self.held()
        if who == "you":
            self.puts_own_secret()
        self.installation.issuer(who)
        self.follower.follow("Install")
        with self.certs():
            self.takes_up(who, before)

    def puts_own_secret(self) -> None:
        """A Secret as the document asks for."""
        data = {"ca.crt": ROOT.crt, "tls.crt": LEAF.crt, "tls.key": LEAF.pem_key}
        encoded = {name: b64encode(content).decode() for name, content in data.items()}
        secret: Json = {
            "metadata": {"name": OWN_SECRET, "namespace": NAMESPACE},
            "type": "kubernetes.io/tls",
            "data": encoded,
        }
        self.admin.ask("POST", path_of("Secret", NAMESPACE), secret)

    def renews(self, certificate: str) -> None:
        """As `cmctl renew` does."""
        renewal = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "a test"}
        patch = [{"op": "add", "path": "/status/conditions/-", "value": renewal}]
        path = f"{CERTIFICATES}/{certificate}/status"
        assert self.admin.ask("PATCH", path, patch, patch="json-patch").code == 200


END = b"-----END CERTIFICATE-----\n"
ROOT = x509.root(number=20, name="the admin's CA")
LEAF = ROOT.issue(number=21)


@pytest.fixture
def cluster(control_plane: ControlPlane, admin: Client, follower: Follower, tmp_path: Path) -> Iterator[Cluster]:
    """The document's installation with `failurePolicy: Fail`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    direct(follower.checkout, f"https://{address}")
    on_loopback(follower.checkout)
    installation = Installation(follower, "Fail")
    installation.choose(cpu="500m")
    follower.follow("Install")
    tls, policy = tmp_path / "tls", tmp_path / "policy.yaml"
    tls.mkdir()
    found = Cluster(control_plane, admin, follower, installation, tmp_path, f"https://{address}", Volume(tls, {}))
    with found.certs():
        found.volume.write(found.held())
    stored = admin.must("GET", path_of("ConfigMap", NAMESPACE, "flyte-admission-policy"))
    policy.write_text(stored["data"]["policy.yaml"])
    account = control_plane.service_account(NAMESPACE, "flyte-admission")
    files = [f"--policy={policy}", f"--tls-cert-file={tls / 'tls.crt'}", f"--tls-private-key-file={tls / 'tls.key'}"]
    with server.running(*files, f"--kubeconfig={account}", f"--listen={address}"):
        yield found


def test_the_certificate_changes_hands_in_every_direction_and_no_create_fails(cluster: Cluster, namespace: str) -> None:
    with streaming(cluster.plane, namespace) as cluster.answers:
        cluster.changes("cert-manager")
        with cluster.certs():
            before = cluster.held()
            cluster.renews("flyte-admission-tls")
            cluster.takes_up("cert-manager", before)
            cluster.renews("flyte-admission-ca")
            before = cluster.held()
            cluster.renews("flyte-admission-tls")
            cluster.takes_up("cert-manager", before)
        cluster.changes("you")
        cluster.changes("certs")
        cluster.follower.type(block_for_nodes("delete certificate,issuer"))
        for who in ("you", "cert-manager", "certs"):
            cluster.changes(who)
    assert cluster.answers.keys() == {"created"}


@pytest.mark.parametrize("follower", ["Helm"], indirect=True)
def test_a_rollback_changes_hands_too(cluster: Cluster, namespace: str) -> None:
    with streaming(cluster.plane, namespace) as cluster.answers:
        cluster.changes("cert-manager")
        before = cluster.held()
        cluster.follower.type(f"helm rollback flyte-admission 1 --namespace {NAMESPACE}")
        with cluster.certs():
            cluster.takes_up("certs", before)
    assert cluster.answers.keys() == {"created"}


@pytest.mark.parametrize("follower", ["Helm"], indirect=True)
def test_secrets_that_an_uninstallation_leaves_are_in_nobodys_way(cluster: Cluster, namespace: str) -> None:
    with streaming(cluster.plane, namespace) as cluster.answers:
        cluster.changes("cert-manager")
    cluster.follower.type(f"helm uninstall flyte-admission --namespace {NAMESPACE}")
    left = cluster.admin.ask("GET", path_of("Secret", NAMESPACE, "flyte-admission-cert-manager"))
    assert left.code == 200
    cluster.follower.follow("Install")
    with cluster.certs():
        assert cluster.held()["tls.crt"] == b64decode(left.body["data"]["tls.crt"])
