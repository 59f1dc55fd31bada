"""The ResourceQuotas that cannot be read, and that nothing is decided by."""

from collections.abc import Iterable

from webhook.api.resource_quota import QuotaMeta
from webhook.cluster.quota_answers import Unreadable
from webhook.telemetry import logs


class Skipped:
    """Those of the cluster at present; each is named in the log once while the reason stays the same."""

    def __init__(self) -> None:
        """None yet."""
        self._why: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._why)

    def replace(self, found: Iterable[Unreadable]) -> None:
        """Keep these, and no others."""
        before, self._why = self._why, {}
        for each in found:
            self._note(each, before)

    def put(self, found: Unreadable) -> None:
        """Keep this one too."""
        self._note(found, self._why)

    def remove(self, meta: QuotaMeta) -> None:
        """Forget it: it can be read, or is gone."""
        self._why.pop(_key(meta), None)

    def _note(self, found: Unreadable, before: dict[tuple[str, str], str]) -> None:
        key = _key(found.metadata)
        if before.get(key) != found.why:
            namespace, name = key
            logs.warning("ResourceQuota left out, it cannot be read", namespace=namespace, name=name, reason=found.why)
        self._why[key] = found.why


def _key(meta: QuotaMeta) -> tuple[str, str]:
    return meta.namespace or "", meta.name
