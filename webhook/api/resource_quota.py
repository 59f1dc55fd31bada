"""A ResourceQuota, as far as a Pod is checked against it."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.wire import Wire

Charges: TypeAlias = Mapping[str, ResourceList]  # name of a quota -> what one Pod takes of it


class ScopeRequirement(Wire, frozen=True):
    """One term of `scopeSelector.matchExpressions`."""

    scope_name: str
    operator: str = "Exists"
    values: list[str] | None = None


class ScopeSelector(Wire, frozen=True):
    """`spec.scopeSelector`."""

    match_expressions: list[ScopeRequirement] | None = None


class QuotaMeta(Wire, frozen=True):
    """`metadata` of a ResourceQuota."""

    name: str = ""
    namespace: str | None = None
    resource_version: str | None = None


class QuotaSpec(Wire, frozen=True):
    """`spec` of a ResourceQuota; `hard` there is a wish, only `status.hard` is enforced."""

    hard: dict[str, Quantity] | None = None
    scopes: list[str] | None = None
    scope_selector: ScopeSelector | None = None


class QuotaStatus(Wire, frozen=True):
    """`status` of a ResourceQuota: what is enforced, and what is used of it."""

    hard: dict[str, Quantity] | None = None
    used: dict[str, Quantity] | None = None


class ResourceQuota(Wire, frozen=True):
    """A v1 ResourceQuota."""

    metadata: QuotaMeta = QuotaMeta()
    spec: QuotaSpec | None = None
    status: QuotaStatus | None = None

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def hard(self) -> ResourceList:
        """What is enforced."""
        return (self.status and self.status.hard) or EMPTY

    @property
    def used(self) -> ResourceList:
        """What is charged already."""
        return (self.status and self.status.used) or EMPTY

    @property
    def scopes(self) -> Sequence[ScopeRequirement]:
        """What a Pod must be for this quota to count it: `spec.scopes` and `spec.scopeSelector`, all of them."""
        if self.spec is None or not (self.spec.scopes or self.spec.scope_selector):
            return ()
        scopes, selector = self.spec.scopes, self.spec.scope_selector
        return [*map(ScopeRequirement, scopes or ()), *((selector and selector.match_expressions) or ())]
