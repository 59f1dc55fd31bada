"""Matches Pods with the scopes of a quota.

Source: podMatchesScopeFunc in kubernetes `pkg/quota/v1/evaluator/core/pods.go`.
"""

from collections.abc import Iterable

from webhook.api.resource_quota import ScopeRequirement
from webhook.rules.effective import BEST_EFFORT
from webhook.rules.workload import Workload


def in_scopes(scopes: Iterable[ScopeRequirement], workload: Workload, qos_class: str) -> bool:
    """Return whether all scopes match the Pod, which has this QoS class."""
    return all(in_scope(scope, workload, qos_class) for scope in scopes)


def in_scope(scope: ScopeRequirement, workload: Workload, qos_class: str) -> bool:
    """Return whether the scope matches the Pod, which has this QoS class; an unknown scope never matches."""
    match scope.scope_name:
        case "Terminating":
            return workload.is_terminating
        case "NotTerminating":
            return not workload.is_terminating
        case "BestEffort":
            return qos_class == BEST_EFFORT
        case "NotBestEffort":
            return qos_class != BEST_EFFORT
        case "PriorityClass":
            return _in_priority_class(scope, workload.priority_class)
        case "CrossNamespacePodAffinity":
            return workload.crosses_namespaces
    return False


def _in_priority_class(scope: ScopeRequirement, name: str) -> bool:
    """Match like a label selector on {PriorityClass: name}, or on no label where the Pod has no class."""
    match scope.operator:
        case "Exists":
            return name != ""
        case "DoesNotExist":
            return name == ""
        case "In":
            return name != "" and name in (scope.values or ())
        case "NotIn":
            return name == "" or name not in (scope.values or ())
    return False
