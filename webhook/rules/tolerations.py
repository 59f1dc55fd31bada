"""Tolerate the taints of the GPUs and other extended resources that the Pod uses."""

from functools import lru_cache

import msgspec
from msgspec.structs import replace

from webhook import pod as pods
from webhook.decision import Change, Context
from webhook.pod import Pod, Toleration
from webhook.resource_list import is_extended


def tolerate(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with the configured tolerations of what it uses, appended after its own, none twice.

    A resource without configuration gets what kubernetes' ExtendedResourceToleration plugin would add.
    """
    if context.old is not None:
        return pod, []
    present = {toleration.identity for toleration in pod.spec.tolerations or ()}
    added: list[Toleration] = []
    changes: list[Change] = []
    for name in _used(pod):
        for toleration in context.settings.tolerations.get(name, _by_default(name)):
            if toleration.identity not in present:
                present.add(toleration.identity)
                added.append(toleration)
                changes.append(_change(toleration, name))
    if not added:
        return pod, []
    spec = replace(pod.spec, tolerations=[*(pod.spec.tolerations or ()), *added])
    return replace(pod, spec=spec), changes


def _used(pod: Pod) -> list[str]:
    """The resources, sorted, that some container asks for with a quantity other than zero."""
    return sorted(
        {name for _, container in pods.containers(pod) if container.resources for name in container.resources.used}
    )


@lru_cache(maxsize=1024)
def _by_default(name: str) -> tuple[Toleration, ...]:
    return (Toleration(key=name, operator="Exists", effect="NoSchedule"),) if is_extended(name) else ()


@lru_cache(maxsize=1024)
def _change(toleration: Toleration, name: str) -> Change:
    after = msgspec.to_builtins(toleration)
    return Change("/spec/tolerations/-", None, after, "tolerate", f"the Pod uses {name}")
