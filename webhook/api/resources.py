"""The `resources` of a container, or of a Pod as a whole, and how they are decoded."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from webhook.api import quantity
from webhook.api.bounds import Amounts
from webhook.api.quantity import Quantity, QuantityError
from webhook.api.resource_list import EMPTY, ResourceList

LARGEST_MEMOISED: Final = 2048  # bytes of a block of `resources`; an ordinary one has 200


class Resources:
    """`resources` of a container, or of the Pod as a whole; immutable, and cheap as part of the key of a memo.

    Clusters repeat themselves: the same few blocks come with every Pod of a task, so those from the wire are shared.
    """

    __slots__ = ("_hash", "_key", "limits", "requests")

    requests: Mapping[str, Quantity] | None
    limits: Mapping[str, Quantity] | None
    _key: tuple[object, ...]  # made when it is first compared

    def __init__(
        self, requests: Mapping[str, Quantity] | None = None, limits: Mapping[str, Quantity] | None = None
    ) -> None:
        """Take the two maps; None is an absent map, or null."""
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
        """The characters of its names and amounts."""
        sides = (self.requests or EMPTY, self.limits or EMPTY)
        return sum(len(name) + len(str(value)) for side in sides for name, value in side.items())

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from every other: 1000m and 1 do not stand for each other in what people read.

        An absent map is not an empty one: a patch has to add it.
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


def decode_hook(kind: type, value: object) -> object:
    """msgspec's hook for our own types on the wire; floats reach it as their text."""
    if kind is Resources:
        block = _encode(value)
        return (_memoised if len(block) <= LARGEST_MEMOISED else _resources)(block)
    if kind is Quantity:
        return quantity.from_json(value)
    raise NotImplementedError(kind)


class _Block(Struct):
    requests: Amounts[Any] | None = None
    limits: Amounts[Any] | None = None


def _resources(block: bytes) -> Resources:
    try:
        found = _decode_block(block)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ValueError(f"{where.strip('.`')}: {what}" if where else what) from error
    return Resources(_quantities("requests", found.requests), _quantities("limits", found.limits))


_memoised: Final = lru_cache(maxsize=1024)(_resources)
_encode: Final = msgspec.json.Encoder().encode
_decode_block: Final = msgspec.json.Decoder(_Block, float_hook=str).decode


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
