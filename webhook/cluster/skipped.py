"""The objects of one kind that cannot be read, and are left out of decisions."""

from collections.abc import Iterable
from typing import Final

from webhook.api.resource_quota import NamespacedMeta
from webhook.cluster.quota_answers import Unreadable
from webhook.telemetry import logs

MOST_NAMED: Final = 100  # of one list; the metric counts all


class Skipped:
    """The objects that are skipped at present; the log names each once for each reason."""

    def __init__(self, *, of_quotas: bool) -> None:
        self._of_quotas = of_quotas
        self._why: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._why)

    def replace(self, found: Iterable[Unreadable]) -> None:
        """Replace all of them, after a list."""
        before, self._why = self._why, {}
        for number, each in enumerate(found):
            self._note(each, before, log=number < MOST_NAMED)

    def put(self, found: Unreadable) -> None:
        """Add one, or replace it."""
        self._note(found, self._why, log=True)

    def remove(self, meta: NamespacedMeta) -> None:
        """Remove one: it can be read, or is deleted."""
        self._why.pop(_key(meta), None)

    def _note(self, found: Unreadable, before: dict[tuple[str, str], str], *, log: bool) -> None:
        key = _key(found.metadata)
        if log and before.get(key) != found.why:
            namespace, name = key
            logs.warning(
                "ResourceQuota left out, it cannot be read"
                if self._of_quotas
                else "LimitRange left out, it cannot be read",
                namespace=namespace,
                name=name,
                reason=found.why,
            )
        self._why[key] = found.why


def _key(meta: NamespacedMeta) -> tuple[str, str]:
    return meta.namespace or "", meta.name
