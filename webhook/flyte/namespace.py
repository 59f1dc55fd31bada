"""Project and domain from the name of a namespace, which flyteadmin makes of them by a template.

Source: v1 flyteadmin `pkg/runtime/namespace_config_provider.go`. A task author can set labels, but not the template.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PROJECT: Final = "{{ project }}"
DOMAIN: Final = "{{ domain }}"
MAX_NAMESPACE_LENGTH: Final = 63  # characters that a namespace may have: it is a DNS label
_PLACEHOLDER: Final = re.compile(f"({re.escape(PROJECT)}|{re.escape(DOMAIN)})")


@dataclass(frozen=True, slots=True)
class NamespacePattern:
    """The template and domains that namespaces are named by; the defaults are those of flyteadmin."""

    template: str = f"{PROJECT}-{DOMAIN}"
    domains: tuple[str, ...] = ("development", "staging", "production")

    def read(self, namespace: str) -> tuple[str, str]:
        """Return project and domain, each empty where the namespace does not contain it.

        Where two domains match, the longer one wins: x-pre-production is domain pre-production, not production.
        """
        found = _memoised if len(namespace) <= MAX_NAMESPACE_LENGTH else _read
        return found(namespace, self.template, self.domains)


def _read(namespace: str, template: str, domains: tuple[str, ...]) -> tuple[str, str]:
    match = _pattern(template, domains).fullmatch(namespace)
    found = match.groupdict() if match else {}
    return found.get("project", ""), found.get("domain", "")


_memoised: Final = lru_cache(maxsize=4096)(_read)


@lru_cache(maxsize=16)
def _pattern(template: str, domains: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(map(re.escape, sorted(domains, key=len, reverse=True)))
    groups = {PROJECT: "(?P<project>.+?)", DOMAIN: f"(?P<domain>{longest_first})"}
    again = {PROJECT: "(?P=project)", DOMAIN: "(?P=domain)"}
    pattern = ""
    for piece in _PLACEHOLDER.split(template):
        pattern += groups.pop(piece, "") or again.get(piece, re.escape(piece))
    return re.compile(pattern)
