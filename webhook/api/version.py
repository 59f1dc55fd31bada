"""The version of Kubernetes, as far as decisions depend on it."""

import re
from typing import Final, NamedTuple

_MINOR: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?!\d)")


class Version(NamedTuple):
    """A minor version of Kubernetes."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return text such as `1.37`."""
        return f"{self.major}.{self.minor}"


NEWEST: Final = Version(1, 37)  # that the tests run with; it stands for a version that is not known
# Since then the API server completes `spec.resources` after the webhooks instead of before them, limits too, and an
# empty one does not decide the QoS class (PodLevelResourcesFixDefaulting, PodLevelResourcesFixKubeletQOSClass).
POD_LEVEL_FIXED: Final = Version(1, 37)


def parse(text: str) -> Version:
    """Return the version that a text such as `1.36`, `1.37+` or `v1.37.2` begins with; ValueError for another text."""
    match = _MINOR.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a version of Kubernetes; write one such as {NEWEST}")
    return Version(int(match[1]), int(match[2]))
