"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback, as ordinary processes."""

import http.client
import json
import secrets
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.client import PATIENCE, Client, path_of, wait_for
from tests.e2e.controlplane.binaries import Binaries

START = 60.0  # seconds until all is ready, where less than four are usual
CONTROLLERS = "resourcequota-controller,namespace-controller"
LOOPBACK = "127.0.0.1"


class ControlPlaneError(Exception):
    """A component ended, or is not ready in time; the message has what it logged last."""


@dataclass
class Component:
    """One running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The last of what it logged."""
        lines = self.log.read_text(errors="replace").splitlines()[-30:]
        return "\n".join([f"--- {self.name}, exit code {self.process.poll()}, its last lines:", *lines])


@dataclass
class ControlPlane:
    """A control plane that answers."""

    url: str
    ca: Path
    token: str  # of the user admin, who may do anything
    folder: Path
    binaries: Binaries
    flags: list[str]  # of its API server
    components: list[Component] = field(default_factory=list)

    def client(self) -> Client:
        """A connection of the admin's."""
        return Client(self.url, self.ca, self.token)

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig file."""
        return self.folder / "admin.kubeconfig"

    def service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig file of the user system:serviceaccount:NAMESPACE:NAME, in the groups of a service account.

        The ServiceAccount is created if need be; what it may do is for Roles and ClusterRoles to say.
        """
        client = self.client()
        path = path_of("ServiceAccount", namespace)
        made = client.ask("POST", path, {"metadata": {"name": name}})
        if made.code not in (201, 409):
            raise ControlPlaneError(f"service account {namespace}/{name}: {made.message}")
        token = client.must("POST", f"{path}/{name}/token", {"spec": {"expirationSeconds": 24 * 3600}})["status"][
            "token"
        ]
        client.close()
        return self.write_kubeconfig(f"{namespace}-{name}", token)

    def write_kubeconfig(self, user: str, token: str) -> Path:
        """A kubeconfig file of the user whose token this is."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        file = self.folder / f"{user}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
            "current-context": "e2e",
        }
        file.write_text(json.dumps(config))
        return file

    def start(self, stack: ExitStack, name: str, *flags: str) -> None:
        """Run the program until the stack unwinds: what was started last is gone before the next is stopped."""
        self.components.append(started(stack, self.folder, name, [self.binaries.path(name), *flags]))

    @contextmanager
    def another_api_server(self, *flags: str) -> Iterator["ControlPlane"]:
        """The same cluster by another API server, which has these flags as well, until the end of the block."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
            (port,) = free_ports(1)
            found = replace(self, url=f"https://{LOOPBACK}:{port}", folder=folder, components=[])
            found.start(stack, "kube-apiserver", *self.flags, f"--secure-port={port}", *flags)
            found.wait_until_ready()
            yield found
            found.check()

    def wait_until_ready(self) -> None:
        """Return once the API server is; ControlPlaneError if that takes too long or a component has ended."""
        try:
            wait_for("/readyz", self._is_ready, START)
        except TimeoutError as error:
            logs = [component.tail() for component in self.components]
            raise ControlPlaneError("\n".join([str(error), *logs])) from None

    def _is_ready(self) -> bool:
        self.check()
        if not self.ca.exists():
            return False
        try:
            client = self.client()
            ready = client.ask("GET", "/readyz").code == 200
            client.close()
        except (OSError, ssl.SSLError, http.client.HTTPException):  # not listening yet, or about to
            return False
        return ready

    def check(self) -> None:
        """ControlPlaneError if a component has ended."""
        if ended := [component.tail() for component in self.components if component.process.poll() is not None]:
            raise ControlPlaneError("\n".join(["a component ended", *ended]))


def started(
    stack: ExitStack, folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Component:
    """A process of the command, with its log in the folder, until the stack unwinds."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        # In a group of its own: Ctrl-C is for the tests, which then stop the components in their order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=environment,
            process_group=0,
        )
    stack.callback(_stop, process)
    return Component(name, process, log)


@contextmanager
def running(binaries: Binaries, *flags: str, controllers: str = CONTROLLERS) -> Iterator[ControlPlane]:
    """A control plane of its own, whose API server has these flags as well; nothing of it is left afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="controlplane-")))
        etcd, peers, secure = (f"{LOOPBACK}:{port}" for port in free_ports(3))
        token = secrets.token_urlsafe()
        all_flags = [*_apiserver(folder, etcd, secure, token), *flags]
        plane = ControlPlane(
            f"https://{secure}", folder / "certs" / "apiserver.crt", token, folder, binaries, all_flags
        )
        plane.start(stack, "etcd", *_etcd(folder, etcd, peers))
        plane.start(stack, "kube-apiserver", *all_flags)
        plane.wait_until_ready()
        plane.write_kubeconfig("admin", token)
        plane.start(stack, "kube-controller-manager", *_controller_manager(plane.kubeconfig, controllers))
        plane.start(stack, "kube-scheduler", *_scheduler(folder, plane.kubeconfig))
        yield plane
        plane.check()


def _etcd(folder: Path, clients: str, peers: str) -> Iterable[str]:
    yield f"--data-dir={folder / 'etcd'}"
    yield f"--listen-client-urls=http://{clients}"
    yield f"--advertise-client-urls=http://{clients}"
    yield f"--listen-peer-urls=http://{peers}"
    yield "--unsafe-no-fsync"
    yield "--log-level=warn"


def _apiserver(folder: Path, etcd: str, secure: str, token: str) -> Iterable[str]:
    tokens = folder / "tokens.csv"
    tokens.touch(0o600)
    tokens.write_text(f'{token},admin,1,"system:masters"\n')
    private, public = _key_pair(folder)
    yield f"--etcd-servers=http://{etcd}"
    yield f"--bind-address={LOOPBACK}"
    yield f"--advertise-address={LOOPBACK}"
    yield "--endpoint-reconciler-type=none"
    yield f"--secure-port={secure.rpartition(':')[2]}"
    yield f"--cert-dir={folder / 'certs'}"
    yield "--service-account-issuer=https://kubernetes.default.svc"
    yield f"--service-account-key-file={public}"
    yield f"--service-account-signing-key-file={private}"
    yield f"--token-auth-file={tokens}"
    yield "--authorization-mode=RBAC"
    yield "--disable-admission-plugins=ServiceAccount"  # no controller makes the default service accounts
    yield "--service-cluster-ip-range=10.96.0.0/24"
    yield "--max-requests-inflight=2000"
    yield "--max-mutating-requests-inflight=1000"


def _key_pair(folder: Path) -> tuple[Path, Path]:
    """What service accounts' tokens are signed and checked with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    files = folder / "sa.key", folder / "sa.pub"
    files[0].touch(0o600)
    files[0].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    files[1].write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return files


def _controller_manager(kubeconfig: Path, controllers: str) -> Iterable[str]:
    yield f"--kubeconfig={kubeconfig}"
    yield f"--controllers={controllers}"
    yield "--leader-elect=false"
    yield "--secure-port=0"
    # A recount, amid creates, is of the Pods from before, and lets one too many in; changes are counted as they come.
    yield "--resource-quota-sync-period=0s"


def _scheduler(folder: Path, kubeconfig: Path) -> Iterable[str]:
    configuration: dict[str, Any] = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "leaderElection": {"leaderElect": False},
    }
    file = folder / "scheduler.yaml"
    file.write_text(json.dumps(configuration))
    yield f"--config={file}"
    yield "--secure-port=0"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on just now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and return once it has."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
