"""Only the API server may call: configured as docs/install.md has it, it is answered, and nobody else is."""

import base64
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import process as server
from tests.e2e.client import Client, Json, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane, free_ports
from tests.e2e.installed import POLICY, existing, shipped
from tests.e2e.pods import FLYTE_1, pod, resources
from tests.e2e.rendering import NAMESPACE, by_name, overlay, run
from tests.manifests import ROOT
from webhook.server import tls

CHAPTER = (ROOT / "docs" / "install.md").read_text().partition("\n### Only the API server may call\n")[2]
BLOCK = re.compile(r"^```(?:sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ON_THE_NODE = "/etc/kubernetes/admission"
HOST = f"flyte-admission.{NAMESPACE}.svc"


def block(text: str) -> str:
    """The first of the chapter that has this text in it."""
    blocks: list[str] = BLOCK.findall(CHAPTER)
    return next(found for found in blocks if text in found)


@dataclass(frozen=True)
class Prepared:
    """What the chapter makes, in a folder in place of that on the nodes."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "my-cluster" / "client-ca" / "ca.crt"

    def configured(self, port: int) -> Path:
        """The two files; the Service has this port."""
        configuration, kubeconfig = (self.folder / f"{name}.yaml" for name in ("configuration", "kubeconfig"))
        files = self.authority.parent
        configuration.write_text(
            block("AdmissionConfiguration").replace(f"{ON_THE_NODE}/kubeconfig.yaml", str(kubeconfig))
        )
        users = block("client-certificate:").replace(ON_THE_NODE, str(files))
        assert users.count(f"name: {HOST}\n") == 1
        kubeconfig.write_text(users.replace(HOST, f"{HOST}:{port}"))
        return configuration


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("client-ca")
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", block("openssl")], cwd=folder, check=True)
    return Prepared(folder)


def at(port: int, certificate: Path) -> list[Json]:
    """The shipped configurations, whose Service has this port; no Flyte Pod is created if it is not answered."""
    bundle = base64.b64encode(certificate.read_bytes()).decode()
    made = shipped()
    for webhook in (webhook for configuration in made for webhook in configuration["webhooks"]):
        webhook["clientConfig"] |= {"caBundle": bundle}
        webhook["clientConfig"]["service"]["port"] = port
        webhook["failurePolicy"] = "Fail"
    return made


@pytest.fixture(scope="module")
def port(admin: Client, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of the webhook, by its Service, which is this machine."""
    folder = tmp_path_factory.mktemp("webhook")
    (port,) = free_ports(1)
    certificate, key = tls.make_self_signed(folder, [HOST])
    files = f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--client-ca-file={prepared.authority}"
    admin.create({"kind": "Namespace", "metadata": {"name": NAMESPACE}})
    service: Json = {"kind": "Service", "metadata": {"name": "flyte-admission", "namespace": NAMESPACE}}
    service["spec"] = {"type": "ExternalName", "externalName": "localhost"}
    with (
        server.running("--policy", POLICY, "--no-quotas", f"--listen=127.0.0.1:{port}", *files),
        existing(admin, [service, *at(port, certificate)]),
    ):
        yield port


def test_the_api_server_that_shows_its_certificate_is_answered(
    control_plane: ControlPlane, prepared: Prepared, namespace: str, port: int
) -> None:
    flag = f"--admission-control-config-file={prepared.configured(port)}"
    with control_plane.another_api_server(flag) as configured:
        client = configured.client()
        asked = pod(namespace, "task-", FLYTE_1)
        wait_for("a Pod that has been filled", lambda: resources(client.create(asked, dry_run=True).body))
        assert resources(client.created(asked))["limits"]["cpu"] == "500m"
        client.close()


@pytest.mark.usefixtures("port")
def test_an_api_server_that_does_not_is_not_answered(admin: Client, namespace: str) -> None:
    reply = admin.create(pod(namespace, "task-", FLYTE_1))
    assert reply.code == 500
    assert 'failed calling webhook "flyte1.flyte-admission.io"' in reply.message


def test_nor_is_anybody_with_another_certificate_or_none(prepared: Prepared, port: int, tmp_path: Path) -> None:
    shown = prepared.authority.with_name("client.crt"), prepared.authority.with_name("client.key")
    assert answer(port, shown) == b"HTTP/1.1"
    assert answer(port, tls.make_self_signed(tmp_path, ["kube-apiserver"])) == b""
    assert answer(port) == b""


def answer(port: int, shown: tuple[Path, Path] | None = None) -> bytes:
    """How the answer begins to a client with this certificate and key, if there is one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown:
        context.load_cert_chain(*shown)
    with (
        suppress(OSError),  # a refusal comes with the answer, or in its place
        socket.create_connection(("127.0.0.1", port), server.PATIENCE) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        return connection.recv(8)
    return b""


def test_the_component_mounts_what_the_chapter_puts_into_the_config_map(
    programs: Binaries, prepared: Prepared, tmp_path: Path
) -> None:
    chosen: dict[str, Any] = yaml.safe_load(block("configMapGenerator:"))
    file = overlay(tmp_path, [Path(name).name for name in chosen.pop("components")]) / "kustomization.yaml"
    (tmp_path / "client-ca").mkdir()
    (tmp_path / "client-ca" / "ca.crt").write_bytes(prepared.authority.read_bytes())
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | chosen))
    made = by_name(run(programs.path("kustomize"), "build", tmp_path))
    spec = made["Deployment", NAMESPACE, "flyte-admission"]["spec"]["template"]["spec"]
    (mounted,) = (volume["configMap"] for volume in spec["volumes"] if volume["name"] == "client-ca")
    assert [item["key"] for item in mounted["items"]] == [*made["ConfigMap", NAMESPACE, mounted["name"]]["data"]]
