"""Removes or raises cpu limits where the policy says so: the kernel throttles a container at its limit on an idle node.

The rule runs before the maxima lower what is over them. It holds back where a limit is demanded, or where something
depends on it, and notes why.
"""

from webhook.api.quantity import NANO
from webhook.policy.settings import CpuLimits, Ratio
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.effective import GUARANTEED, computed_qos
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload

CPU = "cpu"


def loosen(workload: Workload) -> tuple[Workload, list[Change]]:
    """Remove the cpu limits of all containers, or raise them to the ratio of their requests.

    Where `spec.resources` has cpu, they stay without a note: an earlier review may have filled it in.
    """
    how, level = workload.settings.cpu_limits, workload.pod_resources
    if how == "keep" or not any(block.limits.get(CPU) for block in workload.blocks):
        return workload, []
    if why := _held_back(workload):
        return workload.noting(f"cpu limits are kept: {why}"), []
    if CPU in (level.requests or ()) or CPU in (level.limits or ()):
        return workload, []
    return apply_edits(workload, (_loosen(block, how) for block in workload.blocks))


def _loosen(block: Block, how: CpuLimits) -> EditedBlock:
    edit = Edit(block.pointer, block.resources, "cpu-limits")
    request, limit = edit.requests.get(CPU), edit.limits.get(CPU)
    if edit.is_negative or not request or not limit:
        return edit.result()
    if isinstance(how, Ratio):
        if limit < (least := how.of(request)):
            edit.set_limit(CPU, least, f"under {how} times the request")
    else:
        edit.remove("limits", CPU, "cpu_limits: remove")
    return edit.result()


def _held_back(workload: Workload) -> str:
    """Return why the limits stay as they are; empty where they need not."""
    if workload.old is not None:
        return "this is a resize"
    if workload.is_operated:
        return "an operator made the Pod, and may have made a command line from them"
    if workload.settings.pod_limits.get(CPU):
        return "pod_limits bounds the cpu of all containers together"
    if CPU in workload.counted_limits:
        return "a ResourceQuota counts limits.cpu"
    if workload.demands_limit(CPU):
        return "a LimitRange bounds or demands them"
    if workload.settings.keeps_exclusive_cpus and _has_exclusive_cpus(workload):
        return "the Pod is Guaranteed with whole cpus"
    return ""


def _has_exclusive_cpus(workload: Workload) -> bool:
    """Return whether the static policy of the kubelet's CPU manager gives a container cpus of its own."""
    requests = [block.requests.get(CPU) for block in workload.blocks]
    is_whole = any(request and request.nano % NANO == 0 for request in requests)
    return is_whole and computed_qos(workload) == GUARANTEED
