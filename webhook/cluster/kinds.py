"""The kinds of objects that the webhook follows in a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Raw

from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import NamespacedMeta, ResourceQuota
from webhook.api.resources import decode_hook


class Namespaced(Protocol):
    """An object in a namespace."""

    @property
    def metadata(self) -> NamespacedMeta:
        """Its metadata."""

    @property
    def name(self) -> str:
        """`metadata.name`."""


T = TypeVar("T", bound=Namespaced)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind: its name, its resource in URLs, and its decoder."""

    name: str
    resource: str
    decode: Callable[[Raw], T]


QUOTAS: Final[Kind[ResourceQuota]] = Kind(
    "ResourceQuota", "resourcequotas", msgspec.json.Decoder(ResourceQuota, dec_hook=decode_hook).decode
)
LIMIT_RANGES: Final[Kind[LimitRange]] = Kind(
    "LimitRange", "limitranges", msgspec.json.Decoder(LimitRange, dec_hook=decode_hook).decode
)
