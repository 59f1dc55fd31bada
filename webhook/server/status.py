"""What /status and /status.json show: the quotas, the decisions of the last hour, the policy, and the certificate."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from webhook.api.quantity import ZERO
from webhook.api.resource_quota import ResourceQuota
from webhook.flyte.namespace import NamespacePattern
from webhook.rules.quota import headroom
from webhook.server.certificate import ServingCertificate
from webhook.server.state import State
from webhook.shared import clock
from webhook.telemetry.history import Count, Refusal

MOST_NAMESPACES: Final = 200  # the fullest are shown


class Amount(Struct, frozen=True, rename="camel"):
    """One resource of a quota; amounts as Kubernetes writes them."""

    resource: str
    hard: str
    used: str
    free: str
    used_percent: float  # of hard; 100 where hard is 0


class Quota(Struct, frozen=True, rename="camel"):
    """One ResourceQuota."""

    name: str
    scopes: list[str]
    amounts: list[Amount]


class Namespace(Struct, frozen=True, rename="camel"):
    """The quotas of one namespace, and what one more Pod that all of them count could have."""

    namespace: str
    project: str
    domain: str
    used_percent: float  # of the fullest resource
    quotas: list[Quota]
    next_pod: dict[str, str]


class PolicyStatus(Struct, frozen=True, rename="camel"):
    """The policy in use."""

    digest: str
    mode: str  # of the platform; overrides may differ
    problem: str  # why the file as it is now is not in use; empty if it is
    warnings: list[str]


class CacheStatus(Struct, frozen=True, rename="camel"):
    """The source of the quotas: a cluster, or manifests in memory."""

    source: str
    synced: bool
    age_seconds: float | None
    problems: dict[str, str]


class CertificateStatus(Struct, frozen=True, rename="camel"):
    """The certificate that is served; times in RFC 3339."""

    expires: str
    ca_expires: str | None
    untrusted: str


class Status(Struct, frozen=True, rename="camel"):
    """The state of one replica."""

    time: str
    draining: bool
    policy: PolicyStatus
    cache: CacheStatus
    certificate: CertificateStatus
    last_hour: list[Count]
    refusals: list[Refusal]
    namespaces: list[Namespace]
    namespaces_left_out: int


def status(state: State, serving: ServingCertificate) -> Status:
    """Return the status of this replica now."""
    namespaces, left_out = by_use(
        (state.cluster or state.ledger).by_namespace(), state.policy.identification.namespaces
    )
    cluster, current = state.cluster, serving.current
    return Status(
        time=clock.now().replace(microsecond=0).isoformat(),
        draining=state.draining,
        policy=PolicyStatus(
            state.digest,
            state.policy.settings_of(()).mode,
            state.policy_problem,
            [*state.policy_warnings, *state.policy.expired(clock.today())],
        ),
        cache=CacheStatus("manifests", synced=True, age_seconds=None, problems={})
        if cluster is None
        else CacheStatus("cluster", cluster.synced, round(cluster.age(), 1), dict(cluster.problems)),
        certificate=CertificateStatus(
            current.leaf.not_valid_after_utc.isoformat(),
            current.ca.not_valid_after_utc.isoformat() if current.ca else None,
            current.untrusted,
        ),
        last_hour=state.history.counts(),
        refusals=state.history.refusals(),
        namespaces=namespaces,
        namespaces_left_out=left_out,
    )


def by_use(quotas: Mapping[str, Sequence[ResourceQuota]], names: NamespacePattern) -> tuple[list[Namespace], int]:
    """Return the namespaces, the fullest first, and the number of those that are left out."""
    found = [_namespace(namespace, its, *names.read(namespace)) for namespace, its in quotas.items() if its]
    found.sort(key=lambda each: (-each.used_percent, each.namespace))
    return found[:MOST_NAMESPACES], max(0, len(found) - MOST_NAMESPACES)


def _namespace(namespace: str, quotas: Sequence[ResourceQuota], project: str, domain: str) -> Namespace:
    shown = [Quota(quota.name, _scopes(quota), [*_amounts(quota)]) for quota in quotas]
    fullest = max((amount.used_percent for quota in shown for amount in quota.amounts), default=0.0)
    room = headroom(quotas)
    return Namespace(namespace, project, domain, fullest, shown, {name: str(left) for name, left in room.items()})


def _scopes(quota: ResourceQuota) -> list[str]:
    return [f"{it.scope_name} {it.operator} {','.join(it.values or ())}".strip() for it in quota.scopes]


def _amounts(quota: ResourceQuota) -> Iterator[Amount]:
    for name, hard in sorted(quota.hard.items()):
        used = quota.used.get(name, ZERO)
        percent = round(min(100.0, 100 * used.nano / hard.nano), 1) if hard.nano > 0 else 100.0
        yield Amount(name, str(hard), str(used), str(max(hard - used, ZERO)), percent)
