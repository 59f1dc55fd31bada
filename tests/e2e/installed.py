"""The webhook as a real process, and the configurations that make the API server call it."""

import base64
import copy
import re
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import process as server
from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.pods import FLYTE_1, pod, resources
from tests.e2e.rendering import NAMESPACE
from tests.manifests import BASE, documents, entries_for_jobs
from webhook.server import tls

POLICY = server.EXAMPLES / "policy.yaml"
Accounts = Callable[[str], Path]  # the name of a shipped service account -> a kubeconfig file
PROBE = pod("default", "probe", FLYTE_1)


def shipped(*, jobs: bool = False) -> list[Json]:
    """The webhook configurations of an installation, as its manifests have them, also with the component `jobs`."""
    found = documents(BASE / "webhook-configurations.yaml")
    for configuration in found if jobs else ():
        configuration["webhooks"] += entries_for_jobs()[configuration["kind"]]
    return found


def reachable(configurations: Sequence[Json], url: str, certificate: Path, **changed: Any) -> list[Json]:
    """The same with a URL in place of the Service, which loopback has none of; `changed` are fields of each webhook."""
    ca_bundle = base64.b64encode(certificate.read_bytes()).decode()
    made = copy.deepcopy(list(configurations))
    for webhook in (webhook for configuration in made for webhook in configuration["webhooks"]):
        path = webhook["clientConfig"]["service"]["path"]
        webhook.update(changed, clientConfig={"url": url + path, "caBundle": ca_bundle})
    return made


@contextmanager
def existing(admin: Client, objects: Sequence[Json]) -> Iterator[None]:
    """These objects, until the end of the block."""
    try:
        for each in objects:
            admin.created(each)
        yield
    finally:
        for each in objects:
            admin.ask("DELETE", path_of(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]))


def issued(admin: Client) -> dict[str, bytes]:
    """The files that certs has put into the Secret; none yet, maybe."""
    secret = admin.must("GET", path_of("Secret", NAMESPACE, "flyte-admission-tls"))
    return {name: base64.b64decode(value) for name, value in secret.get("data", {}).items()}


@dataclass(frozen=True)
class Installed:
    """A webhook that the API server calls."""

    server: server.Server

    def requests(self) -> dict[str, float]:
        """How many reviews each endpoint has answered."""
        return self._counted("requests", "endpoint")

    def jobs(self) -> dict[str, float]:
        """How many reviews of jobs it has answered, by their kind."""
        return self._counted("jobs", "kind")

    def denials(self) -> float:
        """How many Pods it has refused for a quota."""
        return sum(self._counted("quota_denials", "outlook").values())

    def _counted(self, counter: str, label: str) -> dict[str, float]:
        """The sums of a counter by one of its labels."""
        probes = self.server.health()
        exposition = probes.get("/metrics").text
        probes.connection.close()
        counts: dict[str, float] = {}
        lines = rf'^flyte_admission_{counter}_total\{{.*\b{label}="([^"]+)".*\}} (\S+)$'
        for value, count in re.findall(lines, exposition, re.MULTILINE):
            counts[value] = counts.get(value, 0) + float(count)
        return counts


@contextmanager
def installed(
    admin: Client, folder: Path, *options: str, policy: Path = POLICY, jobs: bool = False, **changed: Any
) -> Iterator[Installed]:
    """The webhook with the policy, called for every Flyte Pod of the cluster until the end of the block."""
    certificate, key = tls.make_self_signed(folder, ["127.0.0.1"])
    files = f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"
    with server.running("--policy", policy, *files, *options) as process:
        webhook = Installed(process)
        configurations = reachable(shipped(jobs=jobs), process.listening["webhook"], certificate, **changed)
        with called(admin, configurations, lambda: webhook.requests().keys()):
            yield webhook


@contextmanager
def called(admin: Client, configurations: Sequence[Json], reached: Callable[[], Set[str]]) -> Iterator[None]:
    """The configurations in force until the end of the block; `reached` are the endpoints that have been asked."""

    def is_called() -> bool:
        admin.create(PROBE, dry_run=True)
        return {"/mutate", "/validate"} <= reached()

    try:
        with existing(admin, configurations):
            wait_for("the API server to call the webhook", is_called)
            yield
    finally:
        wait_for("the API server to leave the webhook alone", lambda: _is_left_alone(admin))


def _is_left_alone(admin: Client) -> bool:
    """Whether a Pod that asks for nothing is created so."""
    reply = admin.create(PROBE, dry_run=True)
    return reply.code == 201 and not resources(reply.body)
