"""Says what is accepted in place of a key that is not, and how to name a value to a reader."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

# Of difflib's ratio: how alike a name must be to one that is known to be probably meant, and to be meant among many
# others: more than accelerator-devices and accelerator-device-classes, which are both keys of Flyte's.
ALIKE: Final = 0.7
NEARLY_THE_SAME: Final = 0.85


# Keys of the file (flyteadmin task_resource_provider.go, flytectl with an underscore, and the short forms that users
# write), and the names in Kubernetes.
SPELLINGS: Final = {
    "cpu": "cpu",
    "memory": "memory",
    "mem": "memory",
    "ephemeralStorage": "ephemeral-storage",
    "ephemeral_storage": "ephemeral-storage",
    "ephemeral-storage": "ephemeral-storage",
    "storage": "ephemeral-storage",
    "gpu": "gpu",
}


def closest(name: str, known: Iterable[str], alike: float = ALIKE) -> str:
    """Return the known name that is probably meant; empty if none is."""
    by_lower = {each.lower(): each for each in known}
    return next((by_lower[found] for found in get_close_matches(name.lower(), by_lower, 1, alike)), "")


def has_odd_blank(name: str) -> bool:
    """Return whether there is a blank in the name that looks like a space, and is none."""
    return any(character.isspace() and character != " " for character in name)


def unknown_key(name: str, accepted: Iterable[str], others: str = "") -> str:
    """Return what is wrong with an unknown key; `others` describes what else is accepted."""
    if has_odd_blank(name):
        return "a blank that is not a space; use spaces"
    accepted = list(accepted)
    near = closest(name, accepted)
    meant = f"did you mean {near}? " if near else ""
    return f"unknown key; {meant}accepted: {', '.join([*accepted, *([others] if others else [])])}"


def shown(value: object) -> str:
    """Return the value as a reader of YAML knows it."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a map"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
    return repr(value)
