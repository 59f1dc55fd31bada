"""The use of ResourceQuotas, with the tasks that hold most of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce

from webhook.admission.quota_use import Holder, NamespaceUse, use_of
from webhook.api import resource_list
from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resource_quota import ResourceQuota
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import Identification
from webhook.offline.review import counted
from webhook.offline.running import RunningPod


def usage(quotas: Iterable[ResourceQuota], pods: Iterable[RunningPod], how: Identification) -> list[NamespaceUse]:
    """Return the namespaces that have quotas, the fullest first."""
    by_namespace = Ledger(quotas).by_namespace()
    running: dict[str, list[RunningPod]] = defaultdict(list)
    for each in pods:
        running[each.request.namespace].append(each)
    found = use_of(by_namespace, how)
    return [_with_holders(it, running[it.namespace], by_namespace[it.namespace]) for it in found]


def _with_holders(found: NamespaceUse, pods: Iterable[RunningPod], quotas: Sequence[ResourceQuota]) -> NamespaceUse:
    held: dict[str, ResourceList] = defaultdict(dict)
    count = Counter[str]()
    for each in pods:
        if each.pod:  # a job is charged for its Pods alone
            name = each.task.name or each.task.workflow or each.request.object_name
            charges = counted(each.pod, quotas).values()
            held[name] = resource_list.add(held[name], reduce(resource_list.maximum, charges, EMPTY))
            count[name] += 1
    fullest = found.fullest.name
    holders = [Holder(name, count[name], amounts) for name, amounts in held.items()]
    holders.sort(key=lambda it: (-it.held.get(fullest, ZERO).nano, it.task))
    return replace(found, holders=holders)
