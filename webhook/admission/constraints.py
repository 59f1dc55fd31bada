"""What a namespace demands of its Pods, as decisions read it."""

from collections.abc import Sequence

from msgspec import Struct

from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota


class Constraints(Struct, frozen=True):
    """The ResourceQuotas and LimitRanges of a namespace."""

    quotas: Sequence[ResourceQuota] = ()
    limit_ranges: Sequence[LimitRange] = ()
    # Whether the quotas may deny a Pod: not where their figures may be stale. Their demands are met in any case.
    may_deny: bool = True
