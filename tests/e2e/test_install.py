"""An installation's life in a real cluster: docs/install.md command by command, with certs and the webhook at work."""

import base64
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import process as server
from tests.e2e.client import Client, Reply, path_of, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.following import Follower, Installation, direct
from tests.e2e.installed import issued
from tests.e2e.pods import FLYTE_1, pod, resources
from tests.e2e.rendering import NAMESPACE, TOGETHER, by_name, kustomized, run, templated, values
from tests.e2e.streaming import streaming
from tests.manifests import ROOT
from tests.volume import Volume

CONFIGURATIONS = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
UNINSTALL = "helm uninstall flyte-admission --namespace flyte-admission && kubectl delete namespace flyte-admission"
RESTRICTED = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}


def ours(admin: Client) -> list[str]:
    """The webhook configurations of the cluster that are ours."""
    return [each["metadata"]["name"] for kind in CONFIGURATIONS for each in admin.items(kind)]


def test_the_document_installs_upgrades_repairs_and_uninstalls(admin: Client, follower: Follower) -> None:
    follower.follow()
    assert ours(admin) == []
    assert "No resources found" in follower.last_check()
    assert admin.ask("GET", path_of("Namespace", name=NAMESPACE)).code == 404
    assert not (follower.checkout / "my-cluster").exists()


@pytest.mark.parametrize("follower", ["Helm"], indirect=True)
def test_helm_creates_the_namespace_if_it_is_asked_to(admin: Client, follower: Follower) -> None:
    names = "flyte-admission manifests/helm/flyte-admission --namespace flyte-admission --create-namespace"
    follower.type(f"helm install {names} --set image.repository=registry.example.com/flyte-admission")
    assert len(ours(admin)) == 2
    follower.type(UNINSTALL)
    assert ours(admin) == []


@pytest.mark.parametrize("follower", ["Helm"], indirect=True)
def test_the_commands_of_the_readme_install_it_in_audit_mode(admin: Client, follower: Follower) -> None:
    """But for those that build and push the image, and wait for Pods."""
    text = (ROOT / "README.md").read_text().split("## Install it")[1]
    values, commands = re.findall(r"^```(?:yaml|sh nodes)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    (follower.checkout / "my-values.yaml").write_text(values)
    for line in commands.splitlines():
        if not line.startswith(("make", "buildah")) and "rollout status" not in line:
            follower.type(line)
    policy = admin.must("GET", path_of("ConfigMap", NAMESPACE, "flyte-admission-policy"))["data"]["policy.yaml"]
    assert yaml.safe_load(policy) == yaml.safe_load(values)["config"] | {"mode": "audit"}
    follower.type(UNINSTALL)
    assert ours(admin) == []


def certs(plane: ControlPlane, *names: str) -> None:
    """One pass of certs, with the rights that it has as the service account of its Deployment."""
    account = plane.service_account(NAMESPACE, "flyte-admission-certs")
    arguments = ["--once", "--settle=2", f"--kubeconfig={account}", f"--namespace={NAMESPACE}"]
    run(sys.executable, "-m", "certs", *arguments, *(f"--dns-name={name}" for name in names))


def bundles(admin: Client) -> dict[str, str | None]:
    """Each caBundle, by webhook."""
    return {
        f"{kind}/{webhook['name']}": webhook["clientConfig"].get("caBundle")
        for kind in CONFIGURATIONS
        for webhook in admin.must("GET", path_of(kind, name="flyte-admission"))["webhooks"]
    }


def test_certs_does_its_work_with_the_shipped_rights_and_installing_again_leaves_it(
    admin: Client, control_plane: ControlPlane, follower: Follower
) -> None:
    follower.follow("Prepare", "Install")
    certs(control_plane)
    files, published = issued(admin), bundles(admin)
    follower.follow("Install")
    certs(control_plane)
    assert (issued(admin), bundles(admin)) == (files, published)
    assert files.keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert published.keys() == {
        f"{kind}/{name}.flyte-admission.io" for kind in CONFIGURATIONS for name in ("flyte1", "flyte2")
    }
    assert {base64.b64decode(bundle or "") for bundle in published.values()} == {files["ca.crt"]}


@dataclass(frozen=True)
class Nodes:
    """What would bring the Pods of the Deployment up, and the files of their volumes."""

    plane: ControlPlane
    admin: Client
    folder: Path
    address: str

    @contextmanager
    def running(self) -> Iterator[Volume]:
        """The webhook with the Secret, the policy and the rights of its Deployment; the volume is the policy's."""
        for name in ("tls", "policy"):
            (self.folder / name).mkdir()
        Volume(self.folder / "tls", issued(self.admin))
        policy = Volume(self.folder / "policy", self.policy())
        account = self.plane.service_account(NAMESPACE, "flyte-admission")
        options = {
            "policy": policy.folder / "policy.yaml",
            "tls-cert-file": self.folder / "tls" / "tls.crt",
            "tls-private-key-file": self.folder / "tls" / "tls.key",
            "kubeconfig": account,
            "listen": self.address,
        }
        with server.running(*(f"--{name}={value}" for name, value in options.items())):
            yield policy

    def policy(self) -> dict[str, bytes]:
        """The files of the ConfigMap as it is now."""
        stored = self.admin.must("GET", path_of("ConfigMap", NAMESPACE, "flyte-admission-policy"))
        return {name: text.encode() for name, text in stored["data"].items()}


@pytest.fixture
def nodes(control_plane: ControlPlane, admin: Client, tmp_path: Path) -> Nodes:
    """With an address that nobody listens on yet."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return Nodes(control_plane, admin, tmp_path, f"127.0.0.1:{found.getsockname()[1]}")


def assert_flytes_pods_get(admin: Client, namespace: str, cpu: str | None) -> None:
    """They are created, with so much cpu where they state nothing, as soon as the API server has heard of a change."""
    asked = pod(namespace, "task-", FLYTE_1)

    def given(reply: Reply) -> str | None:
        found: str | None = resources(reply.body).get("requests", {}).get("cpu")
        return found

    def is_so() -> bool:
        reply = admin.create(asked, dry_run=True)
        return reply.code == 201 and given(reply) == cpu

    wait_for(f"Pods with {cpu or 'nothing'}", is_so)
    reply = admin.create(asked)
    assert (reply.code, given(reply)) == (201, cpu)


def assert_flytes_pods_are_refused(admin: Client, namespace: str) -> None:
    """For we are not reached."""
    asked = pod(namespace, "task-", FLYTE_1)
    wait_for("a refusal", lambda: admin.create(asked, dry_run=True).code != 201)
    reply = admin.create(asked)
    assert reply.code == 500
    assert 'failed calling webhook "flyte1.flyte-admission.io"' in reply.message


def assert_others_are_created(admin: Client, namespace: str) -> None:
    """Pods that never wait for us: those that are not Flyte's, and any of kube-system and, if it is there, our own."""
    admin.created(pod(namespace, "nginx-", {"app": "nginx"}))
    admin.created(pod("kube-system", "task-", FLYTE_1))
    if admin.ask("GET", path_of("Namespace", name=NAMESPACE)).code == 200:
        own = pod(NAMESPACE, "task-", FLYTE_1, securityContext={"seccompProfile": {"type": "RuntimeDefault"}})
        own["spec"]["containers"][0]["securityContext"] = RESTRICTED
        admin.created(own)


@pytest.mark.parametrize("policy", ["Ignore", "Fail"])
def test_pods_are_created_before_an_installation_through_it_and_after_it(
    admin: Client, namespace: str, follower: Follower, nodes: Nodes, policy: str
) -> None:
    def assert_the_failure_policy_decides() -> None:
        if policy == "Fail":
            assert_flytes_pods_are_refused(admin, namespace)
        else:
            assert_flytes_pods_get(admin, namespace, None)
        assert_others_are_created(admin, namespace)

    direct(follower.checkout, f"https://{nodes.address}")
    assert_flytes_pods_get(admin, namespace, None)
    assert_others_are_created(admin, namespace)

    installation = Installation(follower, policy)
    installation.choose(cpu="500m")
    follower.follow("Install")
    assert_the_failure_policy_decides()

    certs(nodes.plane, "127.0.0.1")
    with nodes.running() as mounted:
        assert_flytes_pods_get(admin, namespace, "500m")
        assert_others_are_created(admin, namespace)

        published = bundles(admin)
        installation.choose(cpu="250m")
        with streaming(nodes.plane, namespace) as answers:
            follower.follow("Upgrade")
            mounted.write(nodes.policy())
            assert_flytes_pods_get(admin, namespace, "250m")
        assert answers.keys() == {"created"}
        assert_others_are_created(admin, namespace)
        assert bundles(admin) == published
    assert_the_failure_policy_decides()

    follower.follow("Uninstall")
    assert_flytes_pods_get(admin, namespace, None)
    assert_others_are_created(admin, namespace)


def test_the_last_check_finds_whatever_an_installation_may_leave_in_no_namespace(
    programs: Binaries, follower: Follower, tmp_path: Path
) -> None:
    rendered = by_name(kustomized(programs, tmp_path, TOGETHER)) | by_name(templated(programs, *values(TOGETHER)))
    Installation(follower, "Ignore").choose(cpu="500m")
    follower.follow("Install")
    found = {line.partition(" ")[0] for line in follower.last_check().splitlines()}
    assert found >= {
        f"{kind}.{made['apiVersion'].rpartition('/')[0]}".rstrip(".").lower() + f"/{name}"
        for (kind, namespace, name), made in rendered.items()
        if not namespace
    }
