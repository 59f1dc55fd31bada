"""One small client of the API server: JSON over a connection that is kept alive."""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE = 30.0  # seconds for what should take one
IDLE = 30.0  # seconds after which the API server may have closed a connection
PAUSE = 0.05  # seconds between two looks at something that changes by itself
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PATHS = {  # of the kinds that the tests use: prefix, plural, and whether it is in a namespace
    "Namespace": ("/api/v1", "namespaces", False),
    "Node": ("/api/v1", "nodes", False),
    "Pod": ("/api/v1", "pods", True),
    "LimitRange": ("/api/v1", "limitranges", True),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "Secret": ("/api/v1", "secrets", True),
    "ResourceQuota": ("/api/v1", "resourcequotas", True),
    "Service": ("/api/v1", "services", True),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "PriorityClass": ("/apis/scheduling.k8s.io/v1", "priorityclasses", False),
    "RuntimeClass": ("/apis/node.k8s.io/v1", "runtimeclasses", False),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "MutatingWebhookConfiguration": (ADMISSION, "mutatingwebhookconfigurations", False),
    "ValidatingWebhookConfiguration": (ADMISSION, "validatingwebhookconfigurations", False),
    "ValidatingAdmissionPolicy": (ADMISSION, "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": (ADMISSION, "validatingadmissionpolicybindings", False),
    "MutatingAdmissionPolicy": (ADMISSION, "mutatingadmissionpolicies", False),
    "MutatingAdmissionPolicyBinding": (ADMISSION, "mutatingadmissionpolicybindings", False),
}


@dataclass(frozen=True)
class Reply:
    """What the API server said, whatever it was."""

    code: int
    headers: Mapping[str, str]  # names in lower case; of several with one name, the values with commas between
    body: Json  # an object, or the Status that says why there is none

    @property
    def message(self) -> str:
        """Of a Status: what was wrong."""
        return str(self.body.get("message", ""))


class RefusedError(Exception):
    """The API server did not do what a test takes for granted."""


class Client:
    """One user of the API server, for one thread at a time."""

    def __init__(self, url: str, ca: Path, token: str) -> None:
        where = urlsplit(url)
        self._connection = http.client.HTTPSConnection(
            where.hostname or "", where.port, timeout=PATIENCE, context=ssl.create_default_context(cafile=ca)
        )
        self._used = time.monotonic()
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def close(self) -> None:
        """End the connection; the next request would open another."""
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None, *, patch: str = "merge-patch", **query: str) -> Reply:
        """Send one request, and have the answer as it is; a body of text is JSON already."""
        form = "yaml" if patch == "apply-patch" else "json"
        headers = self._headers | ({"Content-Type": f"application/{patch}+{form}"} if method == "PATCH" else {})
        target = f"{path}?{urlencode(query)}" if query else path
        if time.monotonic() - self._used > IDLE:
            self._connection.close()
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        try:
            self._connection.request(method, target, content, headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens another
            raise
        self._used = time.monotonic()
        is_json = response.headers.get_content_type() == "application/json"
        found = json.loads(data) if is_json else {"message": data.decode()}
        sent = {name.lower() for name in response.headers}
        joined = {name: ", ".join(response.headers.get_all(name, ())) for name in sent}
        return Reply(response.status, joined, found)

    def must(self, method: str, path: str, body: object = None, **query: str) -> Json:
        """The object that the request ends in; RefusedError if there is none."""
        reply = self.ask(method, path, body, **query)
        if reply.code >= 300:
            raise RefusedError(f"{method} {path}: {reply.code} {reply.message}")
        return reply.body

    def create(self, made: Json, *, dry_run: bool = False) -> Reply:
        """POST the object to where objects of its kind go."""
        query = {"dryRun": "All"} if dry_run else {}
        return self.ask("POST", path_of(made["kind"], made["metadata"].get("namespace")), made, **query)

    def created(self, made: Json, *, dry_run: bool = False) -> Json:
        """The object as it is stored."""
        reply = self.create(made, dry_run=dry_run)
        if reply.code != 201:
            raise RefusedError(f"{made['kind']} {made['metadata']}: {reply.code} {reply.message}")
        return reply.body

    def items(self, kind: str, namespace: str | None = None) -> list[Json]:
        """All objects of the kind, of the namespace or of the cluster."""
        prefix, plural, _ = PATHS[kind]
        found: list[Json] = self.must("GET", path_of(kind, namespace) if namespace else f"{prefix}/{plural}")["items"]
        return found


def path_of(kind: str, namespace: str | None = None, name: str | None = None) -> str:
    """Where the objects of the kind are, or the one of this name."""
    prefix, plural, namespaced = PATHS[kind]
    folder = f"{prefix}/namespaces/{namespace or 'default'}/{plural}" if namespaced else f"{prefix}/{plural}"
    return f"{folder}/{name}" if name else folder


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """What `look` finds, looking again until it finds something; TimeoutError says what did not come."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(PAUSE)
    return found
