"""The use of ResourceQuotas, with the tasks that hold most of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from webhook.admission.quota_use import Holder, NamespaceUse, use_of
from webhook.api import resource_list
from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resource_quota import ResourceQuota
from webhook.cluster.ledger import Ledger
from webhook.offline.review import counted
from webhook.offline.running import RunningPod
from webhook.policy.model import Policy


def usage(
    quotas: Iterable[ResourceQuota], pods: Iterable[RunningPod], policy: Policy, today: str
) -> list[NamespaceUse]:
    """Return the namespaces that have quotas, the fullest first."""
    ledger = Ledger(quotas)
    running: dict[str, list[RunningPod]] = defaultdict(list)
    for pod in pods:
        if pod.request.pod:
            running[pod.request.namespace].append(pod)
    found = use_of(ledger.by_namespace(), policy.identification)
    in_audit = policy.in_mode("audit")
    return [_with_holders(it, running[it.namespace], ledger, in_audit, today) for it in found]


def _with_holders(
    found: NamespaceUse, pods: Iterable[RunningPod], ledger: Ledger, in_audit: Policy, today: str
) -> NamespaceUse:
    held: dict[str, ResourceList] = defaultdict(dict)
    count = Counter[str]()
    for pod in pods:
        name = pod.task.name or pod.task.workflow or pod.request.object_name
        charges = counted(pod.request, in_audit, ledger, today).values()
        held[name] = resource_list.add(held[name], reduce(resource_list.maximum, charges, EMPTY))
        count[name] += 1
    fullest = found.fullest.name
    holders = [Holder(name, count[name], amounts) for name, amounts in held.items()]
    holders.sort(key=lambda it: (-it.held.get(fullest, ZERO).nano, it.task))
    return replace(found, holders=holders)
