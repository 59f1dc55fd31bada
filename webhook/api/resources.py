"""The `resources` of a container or of a Pod as a whole, and their decoder."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from webhook.api import quantity
from webhook.api.bounds import AmountMap
from webhook.api.quantity import Quantity, QuantityError
from webhook.api.resource_list import EMPTY, ResourceList

MAX_MEMOISED_BYTES: Final = 2048  # bytes of a block of `resources`; an ordinary one has 200


class Resources:
    """`resources` of a container or of the Pod as a whole: immutable, and cheap to hash as part of a cache key.

    All Pods of a task have the same few blocks, so decoded blocks are shared.
    """

    __slots__ = ("_hash", "_key", "limits", "requests")

    requests: Mapping[str, Quantity] | None
    limits: Mapping[str, Quantity] | None
    _key: tuple[object, ...]  # computed at the first comparison

    def __init__(
        self, requests: Mapping[str, Quantity] | None = None, limits: Mapping[str, Quantity] | None = None
    ) -> None:
        """Keep the two maps; None stands for an absent map or null."""
        self.requests = requests
        self.limits = limits

    @property
    def used(self) -> set[str]:
        """The names with a quantity other than zero."""
        return {
            name for values in (self.requests, self.limits) if values for name, value in values.items() if value.nano
        }

    @property
    def size(self) -> int:
        """The number of characters in its names and quantities."""
        sides = (self.requests or EMPTY, self.limits or EMPTY)
        return sum(len(name) + len(str(value)) for side in sides for name, value in side.items())

    @property
    def key(self) -> tuple[object, ...]:
        """The key for equality and hash: 1000m differs from 1, because people read the text.

        An absent map differs from an empty one: a patch has to add it.
        """
        try:
            return self._key
        except AttributeError:
            self._key = tuple(None if side is None else _identity(side) for side in (self.requests, self.limits))
            self._hash = hash(self._key)
            return self._key

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Resources) else NotImplemented

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            return hash(self.key)

    def __repr__(self) -> str:
        return f"Resources({self.requests}, {self.limits})"


def _identity(side: ResourceList) -> frozenset[object]:
    return frozenset([(name, value.identity) for name, value in side.items()])


NO_RESOURCES: Final = Resources()


def absent(pointer: str, block: Resources | None) -> Iterator[str]:
    """Yield the pointers of what the container at `pointer` lacks of `resources` and its two maps."""
    found = block or NO_RESOURCES
    if block is None:
        yield f"{pointer}/resources"
    if found.requests is None:
        yield f"{pointer}/resources/requests"
    if found.limits is None:
        yield f"{pointer}/resources/limits"


def decode_hook(kind: type, value: object) -> object:
    """Decode Resources and Quantity as a msgspec `dec_hook`; floats arrive as their text."""
    if kind is Resources:
        block = _encode(value)
        return (_memoised if len(block) <= MAX_MEMOISED_BYTES else _resources)(block)
    if kind is Quantity:
        return quantity.from_json(value)
    raise NotImplementedError(kind)


class _WireResources(Struct):
    requests: AmountMap[Any] | None = None
    limits: AmountMap[Any] | None = None


def _resources(block: bytes) -> Resources:
    try:
        found = _decode_wire(block)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ValueError(f"{where.strip('.`')}: {what}" if where else what) from error
    return Resources(_quantities("requests", found.requests), _quantities("limits", found.limits))


_memoised: Final = lru_cache(maxsize=1024)(_resources)
_encode: Final = msgspec.json.Encoder().encode
_decode_wire: Final = msgspec.json.Decoder(_WireResources, float_hook=str).decode


def _quantities(side: str, values: dict[str, Any] | None) -> dict[str, Quantity] | None:
    if values is None:
        return None
    quantities = {}
    for name, value in values.items():
        try:
            quantities[name] = quantity.from_json(value)
        except QuantityError as error:
            raise ValueError(f"{side}[{name.encode('unicode_escape').decode()}]: {error}") from error
    return quantities
