"""What is wrong with an installation, and with a cluster under its policy: a check for each kind of finding.

A check reads the world and yields what it finds; a check that lacks the objects or the policy yields nothing.
"""

import re
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
import yaml
from cryptography.x509 import Certificate

from webhook.admission.decision import Allowed, Denied, outcome
from webhook.api.limit_range import LimitRange
from webhook.api.pod import Pod, Toleration
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY
from webhook.api.resource_quota import QuotaSpec, ResourceQuota
from webhook.cluster.ledger import Ledger
from webhook.flyte.namespace import NamespacePattern
from webhook.flyte.task import OWNERS, is_flytes, task_of_namespace
from webhook.offline.findings import (
    BACKOFF_OFF,
    FAILING_OPEN,
    FINDING_KINDS,
    FLYTE_TOO_OLD,
    GPU_NAME_UNKNOWN,
    IMPATIENT,
    MATCH_CONDITIONS,
    NAMESPACES_DIFFER,
    PODS_MISSED,
    QUOTA_BELOW_DEFAULT,
    QUOTA_COUNTS_NOTHING,
    RANGE_CONTRADICTS,
    SELECTOR_MISSES,
    SELECTOR_OF_AKS,
    SELECTOR_TWICE,
    TAINT_UNTOLERATED,
    UNREACHABLE,
    UNTRUSTED,
    WEBHOOK_MISSING,
    Finding,
)
from webhook.offline.manifests import Manifest, that_counts
from webhook.offline.review import decide, request_of
from webhook.offline.world import (
    MUTATING,
    VALIDATING,
    Data,
    Deployment,
    Named,
    Node,
    RegisteredWebhook,
    Service,
    Taint,
    WebhookConfiguration,
    World,
)
from webhook.policy.contradictions import contradictions
from webhook.policy.model import Policy
from webhook.policy.yaml_text import Document
from webhook.shared import pem

OUR_SUFFIX: Final = ".flyte-admission.io"  # how the names of our webhooks end
TLS: Final = "flyte-admission-tls"  # the Secret of the certificate
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"  # the label that each namespace has
PROBES: Final[Sequence[Mapping[str, str]]] = (
    {"execution-id": "a"}, {"flyte.org/run": "a"}, {"execution-id": "a", "flyte.org/run": "a"},
)  # fmt: skip
REVIEWED_OPERATIONS: Final = {("CREATE", "pods"): "the creation of Pods", ("UPDATE", "pods/resize"): "resizes of Pods"}
PATHS: Final = {MUTATING: "/mutate", VALIDATING: "/validate"}
AKS: Final = frozenset({"control-plane", "kubernetes.azure.com/managedby"})  # what the enforcer adds terms for
NODE_CONDITIONS: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")  # taints that come and go
IMAGE: Final = re.compile(
    r"(?:.*/)?(flyte(?!-admission)[\w-]*|dask-kubernetes-operator):v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?!\d).*"
)
FAIL_OPEN: Final = re.compile(
    r'^apiserver_admission_webhook_fail_open_count\{[^}]*name="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE
)
FLYTE_2_TIMEOUT: Final = "30s"  # the default of Flyte 2's actions.kubernetes.timeout
FLYTE_1: Final = ("flyteadmin", "propeller")  # of the sections that its ConfigMaps have
PAUSES: Final = 10  # that Flyte 2's client makes within that timeout
File: TypeAlias = tuple[str, Mapping[str, Any]]  # its place, and its options
SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def examine(world: World) -> list[Finding]:
    """Return all findings, errors first."""
    return sorted((it for check in CHECKS for it in check(world)), key=lambda it: it.kind.severity)


def as_data(findings: Sequence[Finding], world: World) -> dict[str, Any]:
    """Return the findings for programs."""
    return {
        "findings": [
            {"id": it.kind.id, "severity": it.kind.severity, "what": it.what, "do": it.kind.do, "see": it.kind.page}
            for it in findings
        ],
        "not_looked_at": world.unseen,
        "not_looked_for": not_looked_for(world),
    }


def not_looked_for(world: World) -> list[str]:
    """Return the ids of the findings that lack something that it takes to find them all."""
    others = {"metrics": world.fail_open is not None, "policy": world.policy is not None}
    return [kind.id for kind in FINDING_KINDS if not all(others.get(need, world.has(need)) for need in kind.needs)]


def fail_open(metrics: str) -> Mapping[str, int]:
    """Return how many calls of each webhook the API server let pass without an answer, from its metrics."""
    counts = Counter[str]()
    for name, count in FAIL_OPEN.findall(metrics):
        counts[name] += int(float(count))
    return counts


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s'[: count != 1]}"


def _ours(world: World, *kinds: str) -> list[RegisteredWebhook]:
    configurations = [it for kind in kinds for it in world.all(kind, WebhookConfiguration)]
    return [it for each in configurations for it in each.webhooks or () if it.name.endswith(OUR_SUFFIX)]


def _webhook_missing(world: World) -> Iterator[Finding]:
    for kind in (MUTATING, VALIDATING):
        if world.has(kind) and not _ours(world, kind):
            yield Finding(WEBHOOK_MISSING, f"no {kind} has a webhook *{OUR_SUFFIX}")


def _unreachable(world: World) -> Iterator[Finding]:
    faults = [fault for kind in PATHS for each in _ours(world, kind) for fault in _faults(each, kind, world)]
    yield from (Finding(UNREACHABLE, fault) for fault in dict.fromkeys(faults))


def _faults(webhook: RegisteredWebhook, kind: str, world: World) -> Iterator[str]:
    """Yield why a webhook cannot answer: its path, and the Service that it names, as far as Services could be read."""
    service, url = webhook.client_config.service, webhook.client_config.url or ""
    asked = (service.path if service else urlsplit(url).path) or "/"
    if asked != PATHS[kind]:
        yield f"{webhook.name} of the {kind} asks {asked}, not {PATHS[kind]}"
    if not (service and world.has("Service")):
        return
    place = (service.namespace, service.name)
    name = f"Service {'/'.join(place)}"
    found = [it for it in world.all("Service", Service) if (it.metadata.namespace, it.metadata.name) == place]
    if not found:
        yield f"there is no {name}, which the webhook configurations name"
        return
    if service.port not in [it.port for it in found[0].spec.ports or ()]:
        yield f"the {name} has no port {service.port}, which the webhook configurations name"
    replicas = [it.status.available_replicas for it in _behind(found[0], world)]
    if replicas and not any(replicas):
        yield f"no replica behind the {name} is available"


def _behind(service: Service, world: World) -> Iterator[Deployment]:
    """Yield the Deployments whose Pods the Service selects."""
    selector = (service.spec.selector or {}).items()
    for it in world.all("Deployment", Deployment):
        labels = (it.spec.template.metadata.labels or {}).items()
        if selector and selector <= labels and it.metadata.namespace == service.metadata.namespace:
            yield it


def _failing_open(world: World) -> Iterator[Finding]:
    for name, count in (world.fail_open or {}).items():
        if name.endswith(OUR_SUFFIX) and count:
            what = f"the API server got no answer from {name} {count} times since it started, and let the Pods pass"
            yield Finding(FAILING_OPEN, what)


def _untrusted(world: World) -> Iterator[Finding]:
    secrets = [it.data or {} for it in world.all("Secret", Data) if it.metadata.name == TLS]
    chain = pem.certificates(_decoded(secrets[0].get("tls.crt"))) if secrets else ()
    reasons = Counter(
        why for it in _ours(world, MUTATING, VALIDATING)
        if (why := _distrust(_decoded(it.client_config.ca_bundle), chain, world.now))
    )  # fmt: skip
    for why, count in reasons.items():
        yield Finding(UNTRUSTED, f"{why}, in {_counted(count, 'webhook')}")


def _distrust(bundle: bytes, chain: Sequence[Certificate], now: datetime) -> str:
    """Return why the API server does not trust the webhook; empty if it does, as far as the chain is known."""
    authorities = pem.certificates(bundle)
    if not authorities:
        return "the caBundle is empty or cannot be read"
    valid = [it for it in authorities if it.not_valid_before_utc <= now <= it.not_valid_after_utc]
    if not valid:
        return "no CA in the caBundle is valid today"
    if chain and not pem.trust_anchor(chain, valid):
        return f"the caBundle does not verify the certificate in the Secret {TLS}"
    if chain and now > chain[0].not_valid_after_utc:
        return f"the certificate in the Secret {TLS} has expired"
    return ""


def _decoded(text: str | None) -> bytes:
    try:
        return b64decode(text or "")
    except ValueError:
        return b""


def _selectors(world: World) -> Iterator[Finding]:
    namespace = {NAMESPACE_NAME: "flytesnacks-development"}
    for kind in (MUTATING, VALIDATING):
        webhooks = _ours(world, kind)
        for labels in PROBES if webhooks else ():
            counts = {what: sum(it.is_called(labels, namespace, *asked) for it in webhooks)
                      for asked, what in REVIEWED_OPERATIONS.items()}  # fmt: skip
            named = f"with {' and '.join(labels)}"
            if missed := [what for what, count in counts.items() if count == 0]:
                yield Finding(SELECTOR_MISSES, f"no webhook of the {kind} is called for {' and '.join(missed)} {named}")
            if (most := max(counts.values())) > 1:
                yield Finding(SELECTOR_TWICE, f"{most} webhooks of the {kind} are called for Pods {named}")
        if conditions := [it.name for it in webhooks if it.match_conditions]:
            what = f"the matchConditions of {' and '.join(conditions)} in the {kind} may leave out Pods"
            yield Finding(MATCH_CONDITIONS, f"{what}; this program does not evaluate them")
        keys = {it.key for each in webhooks if each.namespace_selector for it in each.namespace_selector.terms}
        if added := sorted(keys & AKS):
            yield Finding(
                SELECTOR_OF_AKS, f"AKS has added {' and '.join(added)} to the namespaceSelector of the {kind}"
            )


def _flyte_too_old(world: World) -> Iterator[Finding]:
    for deployment in world.all("Deployment", Deployment):
        for container in deployment.spec.template.spec.containers or ():
            match = IMAGE.fullmatch(container.image)
            version = tuple(map(int, match.groups()[1:])) if match else ()
            where = f"{deployment.metadata.namespace}/{deployment.metadata.name} runs {container.image}"
            if match and match[1] == "dask-kubernetes-operator":
                if version < (2023, 3, 2):
                    yield Finding(FLYTE_TOO_OLD, f"{where}, which puts no labels on its Pods before 2023.3.2")
            elif (2, 0, 0) <= version < (2, 0, 7):
                yield Finding(FLYTE_TOO_OLD, f"{where}, which puts no flyte.org/run on its Pods before 2.0.7")


def _pods_missed(world: World) -> Iterator[Finding]:
    webhooks = _ours(world, MUTATING)
    labels = {it.metadata.name: it.metadata.labels or {} for it in world.all("Namespace", Named)}
    missed = []
    for pod in world.all("Pod", Pod) if webhooks else ():
        namespace = pod.metadata.namespace or "default"
        own = {name: value or "" for name, value in (pod.metadata.labels or {}).items()}
        of_namespace = {NAMESPACE_NAME: namespace, **labels.get(namespace, {})}
        if _is_of_flyte(pod) and not any(it.is_called(own, of_namespace) for it in webhooks):
            missed.append(f"{namespace}/{pod.metadata.name}")
    if missed:
        what = _counted(len(missed), "running Pod")
        yield Finding(PODS_MISSED, f"no webhook selects {what} of Flyte, such as {missed[0]}")


def _is_of_flyte(pod: Pod) -> bool:
    owners = pod.metadata.owner_references or ()
    return is_flytes(pod.metadata) or any(it.controller and (it.kind or "").lower() in OWNERS for it in owners)


def _quota_counts_nothing(world: World) -> Iterator[Finding]:
    for quota in world.all("ResourceQuota", ResourceQuota):
        for name in _hard(quota):
            if counting := that_counts(name):
                what = f"{quota.metadata.namespace}/{quota.name}: {name} counts nothing; {counting} does"
                yield Finding(QUOTA_COUNTS_NOTHING, what)


def _hard(quota: ResourceQuota) -> Mapping[str, Quantity]:
    return quota.hard or (quota.spec and quota.spec.hard) or EMPTY


def _quota_below_default(world: World) -> Iterator[Finding]:
    unused = Ledger(map(_unused, world.all("ResourceQuota", ResourceQuota)), world.all("LimitRange", LimitRange))
    for namespace, policy in _flytes(world, unused.by_namespace()):
        decided = _decided(policy, namespace, world, {}, unused)
        why = decided.message.partition(" is forbidden: ")[2] if isinstance(decided, Denied) else ""
        if why.startswith("exceeded quota"):  # not a resource without a default, which Flyte may fill in
            yield Finding(
                QUOTA_BELOW_DEFAULT, f"{namespace}: one task with the defaults does not fit: {why.partition(';')[0]}"
            )


def _unused(quota: ResourceQuota) -> ResourceQuota:
    spec = msgspec.structs.replace(quota.spec or QuotaSpec(), hard=dict(_hard(quota)))
    return msgspec.structs.replace(quota, spec=spec, status=None)


def _flytes(world: World, namespaces: Mapping[str, Any]) -> Iterator[tuple[str, Policy]]:
    """Yield those of the namespaces that have tasks of Flyte, by their name or by the Pods there, with the policy."""
    if not (policy := world.policy):
        return
    running = {pod.metadata.namespace for pod in world.all("Pod", Pod) if _is_of_flyte(pod)}
    for namespace in sorted(namespaces):
        task = task_of_namespace(namespace, policy.identification)
        if namespace in running or task.project or task.domain:
            yield namespace, policy


def _decided(
    policy: Policy, namespace: str, world: World, resources: Mapping[str, Any], ledger: Ledger
) -> Allowed | Denied:
    """Decide about a task with these resources, whose launch may be interruptible."""
    labels = {"execution-id": "doctor", "interruptible": "true"}
    metadata = {"name": "task", "namespace": namespace, "labels": labels}
    data = {"metadata": metadata, "spec": {"containers": [{"name": "task", "resources": resources}]}}
    request, _ = request_of(Manifest("Pod", data, Document(data, "doctor"), ()))
    return outcome(decide(request, policy, ledger, _day(world)))


def _day(world: World) -> str:
    return world.now.date().isoformat()


def _limit_ranges(world: World) -> Iterator[Finding]:
    ranges: dict[str, list[LimitRange]] = defaultdict(list)
    for each in world.all("LimitRange", LimitRange):
        ranges[each.metadata.namespace or "default"].append(each)
    for namespace, policy in _flytes(world, ranges):
        for line in contradictions(policy, ranges[namespace], _day(world)):
            yield Finding(RANGE_CONTRADICTS, line.replace(" warning:", ""))


def _taints(world: World) -> Iterator[Finding]:
    if not (policy := world.policy):
        return
    tolerations = lru_cache(maxsize=None)(partial(_tolerations, policy, world))
    found: dict[str, list[str]] = defaultdict(list)
    for node in world.all("Node", Node):
        devices = [
            name for name, count in (node.status.allocatable or {}).items() if count and policy.devices.has(name)
        ]
        for taint in node.spec.taints or ():
            if taint.effect == "PreferNoSchedule" or taint.key.startswith(NODE_CONDITIONS):
                continue
            for name in devices:
                if not any(_tolerates(it, taint) for it in tolerations(name)):
                    found[f"no toleration of the policy for {name} matches the taint {taint}"].append(
                        node.metadata.name
                    )
    for what, nodes in found.items():
        yield Finding(TAINT_UNTOLERATED, f"{what} of {_counted(len(nodes), 'node')}, such as {nodes[0]}")


def _tolerations(policy: Policy, world: World, name: str) -> list[Toleration]:
    """Return what a task gets that asks for one device; a task that is refused gets nothing."""
    decided = _decided(policy, "default", world, {"limits": {name: "1"}}, Ledger(()))
    return [msgspec.convert(it.after, Toleration) for it in decided.changes if it.rule == "tolerate"]


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    key, operator, value, effect = toleration.identity
    if effect not in ("", taint.effect) or key not in ("", taint.key):
        return False
    return operator == "Exists" or value == (taint.value or "")


def _flyte_options(world: World) -> Iterator[Finding]:
    files = [*_options(world)]
    for where, seconds in _stated(files, "tasks", "backoff", "base-second"):
        if str(seconds) == "0":
            yield Finding(BACKOFF_OFF, f"{where}: base-second 0 makes a task fail that should wait for its quota")
    if world.policy:
        yield from _names(files, world.policy)
        yield from _impatient(files, world.policy)


def _names(files: Sequence[File], policy: Policy) -> Iterator[Finding]:
    """Yield where Flyte's names of namespaces, domains and GPUs are not those of the policy."""
    ours, flytes = policy.identification.namespaces, NamespacePattern()
    is_flyte_1 = any(_at(options, section) is not None for _, options in files for section in FLYTE_1)
    for where, template in _stated(files, "namespace_mapping", "template", default=is_flyte_1 and flytes.template):
        if "".join(str(template).split()) != "".join(ours.template.split()):
            yield Finding(NAMESPACES_DIFFER, f"{where} names namespaces {template}, the policy reads {ours.template}")
    for where, domains in _stated(files, "domains", default=is_flyte_1 and [{"id": it} for it in flytes.domains]):
        listed = [_at(it, "id") for it in (domains if isinstance(domains, list) else [domains])]
        if unknown := [str(it) for it in listed if it is not None and str(it) not in ours.domains]:
            yield Finding(NAMESPACES_DIFFER, f"{where} has domains that the policy does not: {', '.join(unknown)}")
    for where, gpu in _stated(files, "plugins", "k8s", "gpu-resource-name"):
        if not policy.devices.has(str(gpu)):
            yield Finding(GPU_NAME_UNKNOWN, f"{where} calls GPUs {gpu}, which is no GPU in the policy")


def _impatient(files: Sequence[File], policy: Policy) -> Iterator[Finding]:
    codes = policy.denial_codes
    if 429 not in (codes.fits_later["flyte2"], codes.never_fits["flyte2"]):
        return
    for where, timeout in _stated(files, "actions", "kubernetes", "timeout", default=FLYTE_2_TIMEOUT):
        if 0 < _seconds(str(timeout)) <= PAUSES * codes.retry_after_seconds:
            what = f"{PAUSES} pauses of {codes.retry_after_seconds} s do not fit into the timeout of {timeout}"
            yield Finding(IMPATIENT, f"{what} ({where})")


def _stated(files: Sequence[File], *path: str, default: Any = None) -> list[tuple[str, Any]]:
    """Return what the files of Flyte state there, each with its place, else the default of Flyte if there is one."""
    found = [(where, _at(options, *path)) for where, options in files]
    return [it for it in found if it[1] not in (None, "")] or ([("Flyte by default", default)] if default else [])


def _options(world: World) -> Iterator[File]:
    """Yield the YAML files of the ConfigMaps, each with its place, but for our own."""
    for each in world.all("ConfigMap", Data):
        for file, text in (each.data or {}).items():
            try:
                options = yaml.safe_load(text)
            except (yaml.YAMLError, ValueError, RecursionError):
                continue
            if isinstance(options, dict) and file != "policy.yaml":
                yield f"{each.metadata.namespace}/{each.metadata.name}/{file}", options


def _at(options: Any, *path: str) -> Any:
    """Return what stands at the path, whose keys Flyte reads in upper and lower case alike; None if nothing does."""
    for step in path:
        lowered = {str(key).lower(): value for key, value in options.items()} if isinstance(options, dict) else {}
        options = lowered.get(step)
    return options


def _seconds(duration: str) -> float:
    """Return the seconds of a duration of Go, such as 1m30s."""
    return sum(float(count) * SECONDS[unit] for count, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", duration))


CHECKS: Final[tuple[Callable[[World], Iterator[Finding]], ...]] = (
    _webhook_missing, _unreachable, _failing_open, _untrusted, _selectors, _flyte_too_old, _pods_missed,
    _quota_counts_nothing, _quota_below_default, _limit_ranges, _taints, _flyte_options,
)  # fmt: skip
