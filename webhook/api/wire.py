"""The base of all Kubernetes objects in JSON."""

from msgspec import Struct


class Wire(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A Kubernetes object in JSON: camelCase names, absent fields omitted."""
