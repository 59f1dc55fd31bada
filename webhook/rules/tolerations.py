"""Tolerate the taints of the GPUs and other extended resources that the Pod uses."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from webhook import pod as pods
from webhook.decision import Change, Context
from webhook.pod import Pod, Toleration
from webhook.resource_list import is_extended


def tolerate(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with tolerations for what it uses, for being interruptible, and of every task; none twice.

    A resource without configuration gets what kubernetes' ExtendedResourceToleration plugin would add.
    """
    if context.old is not None:
        return pod, []
    present = {toleration.identity for toleration in pod.spec.tolerations or ()}
    added: list[Toleration] = []
    changes: list[Change] = []
    for toleration, why in _wanted(pod, context):
        if toleration.identity not in present:
            present.add(toleration.identity)
            added.append(toleration)
            changes.append(_change(toleration, why))
    if not added:
        return pod, []
    spec = replace(pod.spec, tolerations=[*(pod.spec.tolerations or ()), *added])
    return replace(pod, spec=spec), changes


def _wanted(pod: Pod, context: Context) -> Iterator[tuple[Toleration, str]]:
    """GetPodTolerations and AddTolerationsForExtendedResources of Flyte's flytek8s, for every container."""
    configured = context.settings.tolerations
    for name in _used(pod):
        for toleration in configured.by_resource.get(name, ()):
            yield toleration, f"the Pod uses {name}"
        if name not in configured.by_resource if configured.extended is None else name in configured.extended:
            for toleration in _by_its_name(name):
                yield toleration, f"the Pod uses {name}"
    if context.task.interruptible:
        for toleration in configured.interruptible:
            yield toleration, "the task is interruptible"
    for toleration in configured.always:
        yield toleration, "every task has it"


def _used(pod: Pod) -> list[str]:
    """The resources, sorted, that some container asks for with a quantity other than zero."""
    return sorted(
        {name for _, container in pods.containers(pod) if container.resources for name in container.resources.used}
    )


def _by_its_name(name: str) -> tuple[Toleration, ...]:
    return (Toleration(key=name, operator="Exists", effect="NoSchedule"),) if is_extended(name) else ()


def _change(toleration: Toleration, why: str) -> Change:
    return Change("/spec/tolerations/-", None, msgspec.to_builtins(toleration), "tolerate", why)
