"""What Kubernetes objects have in common as JSON."""

from msgspec import Struct


class Wire(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A Kubernetes object as JSON: camelCase names, absent fields left out."""
