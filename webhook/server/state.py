"""What the endpoints share and what may change while they run: the policy, the quotas, and what is said of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from webhook.api.pod import ObjectMeta
from webhook.api.resource_quota import Charges, ResourceQuota
from webhook.policy.file import LoadedPolicy
from webhook.policy.model import Policy
from webhook.shared.clock import today
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics


class Quotas(Protocol):
    """Where the quotas of a namespace come from, and where an admitted Pod is charged."""

    def quotas(self, namespace: str, meta: ObjectMeta, *, resize: bool = False) -> Sequence[ResourceQuota]:
        """The quotas that the Pod is checked against."""

    def charge(self, namespace: str, meta: ObjectMeta, charges: Charges, *, resize: bool = False) -> None:
        """Take note that the Pod was admitted."""


class Cluster(Protocol):
    """What keeps the quotas like those of a cluster, behind which they may be."""

    @property
    def synced(self) -> bool:
        """Whether all of them have been read at least once."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What cannot be read at present -> why."""

    async def live(self, namespace: str) -> Sequence[ResourceQuota] | None:
        """The namespace's quotas as they are after this call; None where that cannot be told in time."""

    async def run(self) -> None:
        """Follow the cluster until cancelled."""

    async def close(self) -> None:
        """Give the connections to it up."""


@dataclass(slots=True)
class Service:
    """What the endpoints share and what may change while they run."""

    policy: Policy
    quotas: Quotas
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False
    digest: str = ""  # of the policy's file
    policy_problem: str = ""  # why the policy file as it is now is not in use
    cluster: Cluster | None = None  # where the quotas come from, unless they are kept here

    def __post_init__(self) -> None:
        """The policy it starts with is the first that was read."""
        self.metrics.policy_read(self.digest)

    def use_policy(self, loaded: LoadedPolicy) -> None:
        """Decide by this policy from now on."""
        self.policy, self.digest, self.policy_problem = loaded.policy, loaded.policy.digest, ""
        self.metrics.policy_read(loaded.policy.digest)
        told = (*loaded.warnings, *loaded.policy.expired(today()))
        logs.info("policy in use", digest=loaded.policy.digest, warnings=told)

    def keep_policy(self, problem: str) -> None:
        """Go on with the last good policy, and say why, once."""
        if problem != self.policy_problem:
            self.policy_problem = problem
            self.metrics.policy_refused()
            logs.warning("policy not in use, the last good one is kept", problems=problem.splitlines())

    def readiness(self) -> tuple[str, int]:
        """Return what /readyz says and with which status: that something is wrong, for anybody may ask.

        What is wrong is in the log.
        """
        if self.draining:
            return "draining\n", 503
        policy = "policy: not in use, see the log\n" if self.policy_problem else ""
        quotas = "quotas: cannot be read, see the log\n" if self.cluster and self.cluster.problems else ""
        if self.cluster and not self.cluster.synced:
            return f"quotas: not known yet\n{quotas}{policy}", 503
        return f"ok\n{policy}{quotas}", 200
