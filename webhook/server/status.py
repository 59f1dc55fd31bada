"""What /status and /status.json show: the quotas, the decisions of the last hour, the policy, and the certificate."""

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from webhook.admission.quota_use import NamespaceUse, as_data, use_of
from webhook.server.certificate import ServingCertificate
from webhook.server.state import State
from webhook.shared import clock
from webhook.telemetry.history import Count, Refusal

SHOWN_NAMESPACES: Final = 200  # the fullest are shown


class PolicyStatus(Struct, frozen=True):
    """The policy in use."""

    digest: str
    mode: str  # of the platform; overrides may differ
    problem: str  # why the file as it is now is not in use; empty if it is
    warnings: list[str]


class CacheStatus(Struct, frozen=True):
    """The source of the quotas: a cluster, or manifests in memory."""

    source: str
    synced: bool
    age_seconds: float | None
    problems: dict[str, str]


class CertificateStatus(Struct, frozen=True):
    """The certificate that is served; times in RFC 3339."""

    valid_from: str
    expires: str
    ca_expires: str | None
    untrusted: str


class Status(Struct, frozen=True):
    """The state of one replica."""

    time: str
    draining: bool
    policy: PolicyStatus
    cache: CacheStatus
    certificate: CertificateStatus
    last_hour: list[Count]
    refusals: list[Refusal]
    namespaces: list[NamespaceUse]  # the fullest first
    namespaces_left_out: int


def status(state: State, serving: ServingCertificate) -> Status:
    """Return the status of this replica now."""
    namespaces = use_of((state.cluster or state.ledger).by_namespace(), state.policy.identification)
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
            current.leaf.not_valid_before_utc.isoformat(),
            current.leaf.not_valid_after_utc.isoformat(),
            current.ca.not_valid_after_utc.isoformat() if current.ca else None,
            current.untrusted,
        ),
        last_hour=state.history.counts(),
        refusals=state.history.refusals(),
        namespaces=namespaces[:SHOWN_NAMESPACES],
        namespaces_left_out=max(0, len(namespaces) - SHOWN_NAMESPACES),
    )


def as_json(found: Status) -> dict[str, Any]:
    """Return the status for programs; the namespaces are as in the output of `flyte-admission quota -o json`."""
    return asdict(found) | {"namespaces": list(map(as_data, found.namespaces))}
