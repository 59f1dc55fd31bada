"""The part of a ResourceQuota that Pods are checked against."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from webhook.api.bounds import QuotaAmountMap
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.wire import Wire

Charges: TypeAlias = Mapping[str, ResourceList]  # name of a quota -> what one Pod is charged


class ScopeRequirement(Wire, frozen=True):
    """One term of `scopeSelector.matchExpressions`."""

    scope_name: str
    operator: str = "Exists"
    values: list[str] | None = None


class ScopeSelector(Wire, frozen=True):
    """`spec.scopeSelector`."""

    match_expressions: list[ScopeRequirement] | None = None


class NamespacedMeta(Wire, frozen=True):
    """`metadata` of a ResourceQuota or LimitRange."""

    name: str = ""
    namespace: str | None = None
    resource_version: str | None = None


class QuotaSpec(Wire, frozen=True):
    """`spec` of a ResourceQuota; its `hard` is only desired, Kubernetes enforces `status.hard`."""

    hard: QuotaAmountMap[Quantity] | None = None
    scopes: list[str] | None = None
    scope_selector: ScopeSelector | None = None


class QuotaStatus(Wire, frozen=True):
    """`status` of a ResourceQuota: the enforced amounts, and their use."""

    hard: QuotaAmountMap[Quantity] | None = None
    used: QuotaAmountMap[Quantity] | None = None


class ResourceQuota(Wire, frozen=True):
    """A v1 ResourceQuota."""

    metadata: NamespacedMeta = NamespacedMeta()
    spec: QuotaSpec | None = None
    status: QuotaStatus | None = None

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def version(self) -> int:
        """`metadata.resourceVersion`, which is larger the newer it is; 0 for what is not a number."""
        version = self.metadata.resource_version or ""
        return int(version) if version.isdecimal() else 0

    @property
    def hard(self) -> ResourceList:
        """The enforced amounts, empty when absent."""
        return (self.status and self.status.hard) or EMPTY

    @property
    def used(self) -> ResourceList:
        """The amounts already charged, empty when absent."""
        return (self.status and self.status.used) or EMPTY

    @property
    def scopes(self) -> Sequence[ScopeRequirement]:
        """The scopes that a Pod must all match for this quota to count it: `spec.scopes` and `spec.scopeSelector`."""
        if self.spec is None or not (self.spec.scopes or self.spec.scope_selector):
            return ()
        scopes, selector = self.spec.scopes, self.spec.scope_selector
        return [*map(ScopeRequirement, scopes or ()), *((selector and selector.match_expressions) or ())]
