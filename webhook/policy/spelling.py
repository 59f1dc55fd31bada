"""Says what is accepted in place of a key that is not, and how to name a value to a reader."""

from collections.abc import Iterable
from difflib import get_close_matches

ALIKE = 0.7  # of difflib's ratio: above it a name is probably meant


def closest(name: str, known: Iterable[str], alike: float = ALIKE) -> str:
    """Return the known name that is probably meant; empty if none is."""
    by_lower = {each.lower(): each for each in known}
    return next((by_lower[found] for found in get_close_matches(name.lower(), by_lower, 1, alike)), "")


def unknown_key(name: str, accepted: Iterable[str], others: str = "") -> str:
    """Return what is wrong with an unknown key; `others` describes what else is accepted."""
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
