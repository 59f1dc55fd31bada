"""What a cluster demands of the Pods of a namespace, as decisions read it."""

from collections.abc import Sequence

from msgspec import Struct

from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota
from webhook.api.version import NEWEST, Version


class Constraints(Struct, frozen=True):
    """The ResourceQuotas and LimitRanges of a namespace, and the version of the API server."""

    quotas: Sequence[ResourceQuota] = ()
    limit_ranges: Sequence[LimitRange] = ()
    kubernetes: Version = NEWEST
    # Whether the quotas may deny a Pod: not where their figures may be stale. Their demands are met in any case.
    may_deny: bool = True
