"""A cluster as `doctor` sees it: objects as far as the checks read them, and what could not be looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from webhook.api.limit_range import LimitRange
from webhook.api.pod import Pod
from webhook.api.quantity import Quantity
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook
from webhook.api.wire import Wire, plainly
from webhook.offline.manifests import Manifest
from webhook.policy.model import Policy

Amounts = dict[str, Quantity]


class Meta(Wire, frozen=True):
    """`metadata`, as far as it is read."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Term(Wire, frozen=True):
    """One of `matchExpressions`."""

    key: str
    operator: str
    values: list[str] | None = None

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether the term selects an object with these labels."""
        if self.operator in ("Exists", "DoesNotExist"):
            return (self.key in labels) == (self.operator == "Exists")
        found = labels.get(self.key) in (self.values or ())
        return found == (self.operator == "In")


class LabelSelector(Wire, frozen=True):
    """A label selector; an empty one selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Term] | None = None

    @property
    def terms(self) -> list[Term]:
        """All terms, which are ANDed."""
        equal = (self.match_labels or {}).items()
        return [*(Term(key, "In", [value]) for key, value in equal), *(self.match_expressions or ())]

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether it selects an object with these labels."""
        return all(term.selects(labels) for term in self.terms)


class ServiceReference(Wire, frozen=True):
    """The Service of a webhook."""

    name: str = ""
    namespace: str = ""
    path: str | None = None
    port: int = 443


class ClientConfig(Wire, frozen=True):
    """How the API server reaches a webhook."""

    ca_bundle: str | None = None  # base64 of PEM
    service: ServiceReference | None = None
    url: str | None = None


class WebhookRule(Wire, frozen=True):
    """The operations and resources that call a webhook; `*` matches all."""

    operations: list[str] | None = None
    api_groups: list[str] | None = None
    api_versions: list[str] | None = None
    resources: list[str] | None = None
    scope: str | None = None

    def covers(self, operation: str, resource: str) -> bool:
        """Return whether it is for this operation on `pods`, or on a subresource of theirs such as `pods/resize`.

        Source: k8s.io/apiserver `pkg/admission/plugin/webhook/predicates/rules/rules.go`.
        """
        kind, slash, part = resource.partition("/")
        names = {f"{a}/{b}" for a in (kind, "*") for b in (part, "*")} | ({resource, "*"} if not slash else set())
        wanted = (
            (self.operations, {operation, "*"}), (self.api_groups, {"", "*"}), (self.api_versions, {"v1", "*"}),
            (self.resources, names),
        )  # fmt: skip
        return self.scope != "Cluster" and all(accepted.intersection(stated or ()) for stated, accepted in wanted)


class RegisteredWebhook(Wire, frozen=True):
    """One webhook of a configuration."""

    name: str
    rules: list[WebhookRule] | None = None
    client_config: ClientConfig = ClientConfig()
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    match_conditions: list[dict[str, str]] | None = None

    def is_called(
        self, pod: Mapping[str, str], namespace: Mapping[str, str], operation: str = "CREATE", resource: str = "pods"
    ) -> bool:
        """Return whether it is called for a Pod with these labels in a namespace with those; matchConditions aside."""
        of_pod, of_namespace = self.object_selector or LabelSelector(), self.namespace_selector or LabelSelector()
        is_covered = any(rule.covers(operation, resource) for rule in self.rules or ())
        return is_covered and of_pod.selects(pod) and of_namespace.selects(namespace)


class WebhookConfiguration(Wire, frozen=True):
    """A webhook configuration, mutating or validating."""

    metadata: Meta
    webhooks: list[RegisteredWebhook] | None = None


class Named(Wire, frozen=True):
    """An object of which only the metadata is read, such as a Namespace."""

    metadata: Meta


class Data(Wire, frozen=True):
    """A ConfigMap or a Secret."""

    metadata: Meta
    data: dict[str, str] | None = None


class Port(Wire, frozen=True):
    """A port of a Service."""

    port: int


class ServiceSpec(Wire, frozen=True):
    """`spec` of a Service."""

    ports: list[Port] | None = None
    selector: dict[str, str] | None = None


class Service(Wire, frozen=True):
    """A Service."""

    metadata: Meta
    spec: ServiceSpec = ServiceSpec()


class Taint(Wire, frozen=True):
    """A taint of a node."""

    key: str
    effect: str
    value: str | None = None

    def __str__(self) -> str:
        """Return it as kubectl writes it."""
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


class NodeSpec(Wire, frozen=True):
    """`spec` of a Node."""

    taints: list[Taint] | None = None


class NodeStatus(Wire, frozen=True):
    """`status` of a Node."""

    allocatable: Amounts | None = None


class Node(Wire, frozen=True):
    """A Node."""

    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Image(Wire, frozen=True):
    """A container of a Deployment."""

    image: str = ""


class Containers(Wire, frozen=True):
    """`spec.template.spec` of a Deployment."""

    containers: list[Image] | None = None


class Template(Wire, frozen=True):
    """`spec.template` of a Deployment."""

    metadata: Meta = Meta()
    spec: Containers = Containers()


class DeploymentSpec(Wire, frozen=True):
    """`spec` of a Deployment."""

    template: Template = Template()


class DeploymentStatus(Wire, frozen=True):
    """`status` of a Deployment."""

    available_replicas: int = 0


class Deployment(Wire, frozen=True):
    """A Deployment."""

    metadata: Meta
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


MUTATING: Final = "MutatingWebhookConfiguration"
VALIDATING: Final = "ValidatingWebhookConfiguration"
READ_KINDS: Final[Mapping[str, type[Wire]]] = {
    MUTATING: WebhookConfiguration,
    VALIDATING: WebhookConfiguration,
    "Service": Service,
    "Namespace": Named,
    "Pod": Pod,
    "ResourceQuota": ResourceQuota,
    "LimitRange": LimitRange,
    "Node": Node,
    "Deployment": Deployment,
    "ConfigMap": Data,
    "Secret": Data,
}
W = TypeVar("W", bound=Wire)


@dataclass(slots=True)
class World:
    """The objects of a cluster by kind, and what else the checks read."""

    now: datetime
    policy: Policy | None = None
    fail_open: Mapping[str, int] | None = None  # calls of each webhook that the API server let pass without an answer
    unseen: list[str] = field(default_factory=list)  # what could not be looked at, and why
    _objects: dict[str, list[Wire]] = field(default_factory=dict)

    def add(self, kind: str, manifests: Iterable[Manifest]) -> None:
        """Take over all objects of a kind; Pods that have ended are left out, and what cannot be read is unseen."""
        found = self._objects.setdefault(kind, [])
        for manifest in manifests:
            try:
                if not manifest.has_ended:
                    found.append(msgspec.convert(manifest.data, READ_KINDS[kind], dec_hook=decode_hook))
            except msgspec.ValidationError as error:
                self.unseen.append(str(manifest.problem(plainly(str(error)))))

    def has(self, kind: str) -> bool:
        """Return whether the objects of the kind have been read, be there any or not."""
        return kind in self._objects

    def all(self, kind: str, struct: type[W]) -> list[W]:
        """Return the objects of the kind; none where they could not be read."""
        return [each for each in self._objects.get(kind, ()) if isinstance(each, struct)]
