"""What is wrong with an installation, and with a cluster under its policy: a check for each kind of finding.

A check reads the world and yields what it finds; a check that lacks the objects or the policy yields nothing.
"""

import re
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final

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
from webhook.flyte.task import OWNERS, is_flytes, task_of_namespace
from webhook.offline.findings import (
    BACKOFF_OFF,
    FAILING_OPEN,
    FLYTE_TOO_OLD,
    GPU_NAME_UNKNOWN,
    IMPATIENT,
    NAMESPACES_DIFFER,
    PODS_MISSED,
    QUOTA_BELOW_DEFAULT,
    QUOTA_COUNTS_NOTHING,
    RANGE_CONTRADICTS,
    SELECTOR_MISSES,
    SELECTOR_OF_AKS,
    SELECTOR_TWICE,
    TAINT_UNTOLERATED,
    UNTRUSTED,
    WEBHOOK_MISSING,
    Finding,
)
from webhook.offline.manifests import Manifest, that_counts
from webhook.offline.review import decide, request_of
from webhook.offline.world import (
    MUTATING,
    VALIDATING,
    Configuration,
    Data,
    Deployment,
    Named,
    Node,
    Taint,
    Webhook,
    World,
)
from webhook.policy.contradictions import contradictions
from webhook.policy.model import Policy
from webhook.policy.yaml_text import Document
from webhook.shared import pem

OURS: Final = ".flyte-admission.io"  # how the names of our webhooks end
TLS: Final = "flyte-admission-tls"  # the Secret of the certificate
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"  # the label that each namespace has
PROBES: Final[Sequence[Mapping[str, str]]] = (
    {"execution-id": "a"}, {"flyte.org/run": "a"}, {"execution-id": "a", "flyte.org/run": "a"},
)  # fmt: skip
AKS: Final = frozenset({"control-plane", "kubernetes.azure.com/managedby"})  # what the enforcer adds terms for
NODE_CONDITIONS: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")  # taints that come and go
IMAGE: Final = re.compile(
    r"(?:.*/)?(flyte(?!-admission)[\w-]*|dask-kubernetes-operator):v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?!\d).*"
)
FAIL_OPEN: Final = re.compile(
    r'^apiserver_admission_webhook_fail_open_count\{[^}]*name="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE
)
TIMEOUT: Final = 30.0  # seconds; the default of Flyte 2's actions.kubernetes.timeout
PAUSES: Final = 10  # that Flyte 2's client makes within that timeout
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
    }


def fail_open(metrics: str) -> Mapping[str, int]:
    """Return how many calls of each webhook the API server let pass without an answer, from its metrics."""
    counts = Counter[str]()
    for name, count in FAIL_OPEN.findall(metrics):
        counts[name] += int(float(count))
    return counts


def _ours(world: World, *kinds: str) -> list[Webhook]:
    configurations = [it for kind in kinds for it in world.all(kind, Configuration)]
    return [it for each in configurations for it in each.webhooks or () if it.name.endswith(OURS)]


def _webhook_missing(world: World) -> Iterator[Finding]:
    for kind in (MUTATING, VALIDATING):
        if world.has(kind) and not _ours(world, kind):
            yield Finding(WEBHOOK_MISSING, f"no {kind} has a webhook *{OURS}")


def _failing_open(world: World) -> Iterator[Finding]:
    for name, count in (world.fail_open or {}).items():
        if name.endswith(OURS) and count:
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
        yield Finding(UNTRUSTED, f"{why}, in {count} webhooks")


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
            count, named = sum(it.selects(labels, namespace) for it in webhooks), " and ".join(labels)
            if count == 0:
                yield Finding(SELECTOR_MISSES, f"no webhook of the {kind} selects Pods with {named}")
            if count > 1:
                yield Finding(SELECTOR_TWICE, f"{count} webhooks of the {kind} select Pods with {named}")
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
        if _is_of_flyte(pod) and not any(it.selects(own, of_namespace) for it in webhooks):
            missed.append(f"{namespace}/{pod.metadata.name}")
    if missed:
        yield Finding(PODS_MISSED, f"no webhook selects {len(missed)} Pods of Flyte that run, such as {missed[0]}")


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
    unused: dict[str, list[ResourceQuota]] = defaultdict(list)
    for quota in world.all("ResourceQuota", ResourceQuota):
        spec = msgspec.structs.replace(quota.spec or QuotaSpec(), hard=dict(_hard(quota)))
        unused[quota.metadata.namespace or "default"].append(msgspec.structs.replace(quota, spec=spec, status=None))
    for namespace, policy in _flytes(world, unused):
        decided = _decided(policy, namespace, world, {}, unused[namespace])
        why = decided.message.partition(" is forbidden: ")[2] if isinstance(decided, Denied) else ""
        if why.startswith("exceeded quota"):  # not a resource without a default, which Flyte may fill in
            yield Finding(
                QUOTA_BELOW_DEFAULT, f"{namespace}: one task with the defaults does not fit: {why.partition(';')[0]}"
            )


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
    policy: Policy, namespace: str, world: World, resources: Mapping[str, Any], quotas: Sequence[ResourceQuota] = ()
) -> Allowed | Denied:
    """Decide about a task with these resources, whose launch may be interruptible."""
    labels = {"execution-id": "doctor", "interruptible": "true"}
    metadata = {"name": "task", "namespace": namespace, "labels": labels}
    data = {"metadata": metadata, "spec": {"containers": [{"name": "task", "resources": resources}]}}
    request, _ = request_of(Manifest("Pod", data, Document(data, "doctor"), ()))
    return outcome(decide(request, policy, Ledger(quotas), _day(world)))


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
        yield Finding(TAINT_UNTOLERATED, f"{what} of {len(nodes)} nodes, such as {nodes[0]}")


def _tolerations(policy: Policy, world: World, name: str) -> list[Toleration]:
    """Return what a task gets that asks for one device; a task that is refused gets nothing."""
    decided = _decided(policy, "default", world, {"limits": {name: "1"}})
    return [msgspec.convert(it.after, Toleration) for it in decided.changes if it.rule == "tolerate"]


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    key, operator, value, effect = toleration.identity
    if effect not in ("", taint.effect) or key not in ("", taint.key):
        return False
    return operator == "Exists" or value == (taint.value or "")


def _flyte_options(world: World) -> Iterator[Finding]:
    for where, options in _options(world):
        template = _at(options, "namespace_mapping", "template")
        gpu = _at(options, "plugins", "k8s", "gpu-resource-name")
        if policy := world.policy:
            ours = policy.identification.namespaces.template
            if template and "".join(str(template).split()) != "".join(ours.split()):
                yield Finding(NAMESPACES_DIFFER, f"{where} names namespaces {template}, the policy reads {ours}")
            if gpu and not policy.devices.has(str(gpu)):
                yield Finding(GPU_NAME_UNKNOWN, f"{where} calls GPUs {gpu}, which is no GPU in the policy")
        if str(_at(options, "tasks", "backoff", "base-second")) == "0":
            yield Finding(BACKOFF_OFF, f"{where}: base-second 0 makes a task fail that should wait for its quota")


def _impatient(world: World) -> Iterator[Finding]:
    codes = world.policy.denial_codes if world.policy else None
    if codes is None or 429 not in (codes.fits_later["flyte2"], codes.never_fits["flyte2"]):
        return
    stated = [(where, _at(options, "actions", "kubernetes", "timeout")) for where, options in _options(world)]
    timeouts = [(where, _seconds(str(it))) for where, it in stated if it is not None]
    for where, seconds in timeouts or [("Flyte 2 by default", TIMEOUT)]:
        if 0 < seconds <= PAUSES * codes.retry_after_seconds:
            what = f"{PAUSES} pauses of {codes.retry_after_seconds} s do not fit into the timeout of {seconds:g} s"
            yield Finding(IMPATIENT, f"{what} ({where})")


def _options(world: World) -> Iterator[tuple[str, Mapping[str, Any]]]:
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
    _webhook_missing, _failing_open, _untrusted, _selectors, _flyte_too_old, _pods_missed, _quota_counts_nothing,
    _quota_below_default, _limit_ranges, _taints, _flyte_options, _impatient,
)  # fmt: skip
