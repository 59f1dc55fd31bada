"""The results of rules: Changes to the Pod, and Violations of its quotas."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from webhook.api.patch import unescape
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList, text
from webhook.policy.settings import Outlook

MOST_SHARES: Final = 20  # that a message names of each resource
Rule: TypeAlias = Literal["api-default", "fill", "cpu-limits", "clamp", "tolerate"]


class Change(Struct, frozen=True, gc=False, rename={"before": "from", "after": "to"}):
    """One changed value of the Pod; patch, log, metrics, audit annotation and `review` are all made from it."""

    path: str  # JSON Pointer; "/-" at its end appends to a list
    before: Any  # a JSON value, None for absent
    after: Any  # None for removed
    rule: Rule
    why: str

    @property
    def side(self) -> str:
        """`requests` or `limits`; empty for what is neither, such as `resources` of a group of Ray."""
        side = self.path.partition("/resources/")[2].partition("/")[0]
        return side if side in ("requests", "limits") else ""

    @property
    def resource(self) -> str:
        """The resource whose request or limit was changed; empty for a toleration."""
        return unescape(self.path.partition("/resources/")[2].partition("/")[2])


class Unspecified(Struct, frozen=True):
    """A violation: containers leave out resources that the quota requires."""

    quota: str
    missing: Mapping[str, list[str]]  # resource -> names of containers

    def __str__(self) -> str:
        """Return kube-apiserver's message."""
        parts = (f"{name} for: {','.join(self.missing[name])}" for name in sorted(self.missing))
        return f"failed quota: {self.quota}: must specify {'; '.join(parts)}"


class StatusUnknown(Struct, frozen=True):
    """A violation: the quota controller has not yet counted the use of these resources."""

    quota: str
    resources: list[str]

    def __str__(self) -> str:
        """Return kube-apiserver's message."""
        return f"status unknown for quota: {self.quota}, resources: {','.join(self.resources)}"


class NegativeUsage(Struct, frozen=True):
    """A violation: the Pod requests negative amounts."""

    resources: list[str]

    def __str__(self) -> str:
        """Return kube-apiserver's message."""
        return f"quota usage is negative for resource(s): {','.join(self.resources)}"


class Share(NamedTuple):
    """How much each Pod of a role of a job requests, and how many Pods there are."""

    role: str
    pods: int
    amount: Quantity

    def __str__(self) -> str:
        """Return text such as `workers 8 × 4`."""
        return f"{self.role} {self.amount}" if self.pods == 1 else f"{self.role} {self.pods} × {self.amount}"


class Exceeded(Struct, frozen=True):
    """A violation: the Pod requests more of these resources than the quota has left.

    For a job, `shares` has what its roles request, by resource.
    """

    quota: str
    resources: list[str]
    requested: ResourceList
    used: ResourceList
    limited: ResourceList
    shares: Mapping[str, Sequence[Share]] = {}

    def __str__(self) -> str:
        """Return kube-apiserver's message; Flyte 1 parses it."""
        used, limited = (text(amounts, self.resources) for amounts in (self.used, self.limited))
        requested = ",".join(text(self.requested, [name]) + self._of_roles(name) for name in self.resources)
        return f"exceeded quota: {self.quota}, requested: {requested}, used: {used}, limited: {limited}"

    def _of_roles(self, name: str) -> str:
        shares = self.shares.get(name, ())
        named = [
            *map(str, shares[:MOST_SHARES]),
            *([f"and {len(shares) - MOST_SHARES} more"][: len(shares) > MOST_SHARES]),
        ]
        return f" ({', '.join(named)})" if named else ""


Violation: TypeAlias = Unspecified | StatusUnknown | NegativeUsage | Exceeded


class Verdict(Struct, frozen=True):
    """The violations of a Pod (none if it fits), and its charges by quota.

    If a quota is exceeded, `room` is what a Pod could get now of each charged resource, and `most` what it could get in
    an empty namespace: the least of all quotas. For a resize, both are in addition to what the Pod has.
    """

    violations: tuple[Violation, ...]
    charges: Mapping[str, ResourceList]
    room: ResourceList = EMPTY
    most: ResourceList = EMPTY

    @property
    def refuses(self) -> bool:
        """Whether the webhook refuses the Pod: it leaves negative amounts to the API server's own error."""
        return self.violations != () and not self.is_negative

    @property
    def is_negative(self) -> bool:
        """Whether amounts are negative, which nothing can be said about."""
        return self.violations != () and isinstance(self.violations[0], NegativeUsage)

    @property
    def outlook(self) -> Outlook:
        """The outlook of a refused Pod: "never-fits" where an empty namespace would refuse it too."""
        never = any(
            isinstance(violation, Unspecified)
            or (
                isinstance(violation, Exceeded)
                and any(violation.requested[name] > self.most[name] for name in violation.resources)
            )
            for violation in self.violations
        )
        return "never-fits" if never else "fits-later"
