"""The state that endpoints and followers share: the policy, the quotas, and whether they are usable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota
from webhook.api.version import Version
from webhook.cluster.ledger import Ledger
from webhook.cluster.reservations import Reservations
from webhook.policy.file import LoadedPolicy
from webhook.policy.model import Policy
from webhook.shared.clock import today
from webhook.telemetry import logs
from webhook.telemetry.history import History
from webhook.telemetry.metrics import Metrics


class Cluster(Protocol):
    """The informer of a cluster's quotas and LimitRanges; its cache may be stale."""

    @property
    def synced(self) -> bool:
        """Whether all quotas have been read at least once."""

    @property
    def kubernetes(self) -> Version:
        """The version of the API server, as far as it is known."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What cannot be read at present, and why."""

    def age(self) -> float:
        """Return the seconds since the API server last sent something."""

    def quotas(self, namespace: str) -> Sequence[ResourceQuota]:
        """Return the cached quotas of the namespace, by name."""

    def limit_ranges(self, namespace: str) -> Sequence[LimitRange]:
        """Return the cached LimitRanges of the namespace, by name."""

    def by_namespace(self) -> Mapping[str, Sequence[ResourceQuota]]:
        """Return the cached quotas of all namespaces."""

    @property
    def reservations(self) -> Reservations:
        """What was let through, and may not be in the quotas yet."""

    async def live(self, namespace: str, wait: float = 0) -> Sequence[ResourceQuota] | None:
        """Read the namespace's quotas from the API server, after a wait; None if that fails or takes too long."""

    async def run(self) -> None:
        """Follow the cluster until cancelled."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class State:
    """The state of the server, which may change while it runs."""

    policy: Policy
    ledger: Ledger  # the quotas, if there is no cluster
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False
    digest: str = ""  # of the policy's file
    policy_warnings: tuple[str, ...] = ()
    policy_problem: str = ""  # why the policy file as it is now is not in use
    history: History = field(default_factory=History)
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        """Count the first policy."""
        self.metrics.policy_read(self.digest)

    def use_policy(self, loaded: LoadedPolicy) -> None:
        """Use this policy from now on; log and count it."""
        self.policy, self.digest, self.policy_problem = loaded.policy, loaded.policy.digest, ""
        self.policy_warnings = loaded.warnings
        self.metrics.policy_read(loaded.policy.digest)
        logs.info("policy in use", digest=loaded.policy.digest, warnings=loaded.warnings_on(today()))

    def keep_policy(self, problem: str) -> None:
        """Keep the last good policy; log and count each new problem once."""
        if problem != self.policy_problem:
            self.policy_problem = problem
            self.metrics.policy_refused()
            logs.warning("policy not in use, the last good one is kept", problems=problem.splitlines())

    def readiness(self) -> tuple[str, int]:
        """Return the text and the status of /readyz.

        Anybody may read it, so it says only that something is wrong; the log says what.
        """
        if self.draining:
            return "draining\n", 503
        policy = "policy: not in use, see the log\n" if self.policy_problem else ""
        quotas = "quotas: cannot be read, see the log\n" if self.cluster and self.cluster.problems else ""
        if self.cluster and not self.cluster.synced:
            return f"quotas: not known yet\n{quotas}{policy}", 503
        return f"ok\n{policy}{quotas}", 200
