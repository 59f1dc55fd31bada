"""What the rules read of a Pod, and what they make of that: remembered, for the Pods of a task are all alike.

A rule looks at resources and tolerations and at nothing that differs from one Pod of a task to the next: a name, a
label, an image. So it is asked once for each shape, whatever number of Pods has it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from webhook import pod as pods
from webhook.decision import Change, Context, Written
from webhook.flyte import Task
from webhook.pod import Container, Pod, PodSpec, Resources, Toleration
from webhook.rules import MUTATING
from webhook.settings import Settings
from webhook.trace import merged, write

MOST_REMEMBERED: Final = 1024  # shapes
MOST_PARTS: Final = 32  # containers, and tolerations, of a Pod whose shape is remembered


class Shape(NamedTuple):
    """All that a rule reads of a new Pod and its task; `sidecars` says of each init container whether it is one."""

    settings: Settings
    primary: str
    interruptible: bool
    containers: tuple[Resources | None, ...]
    init_containers: tuple[Resources | None, ...]
    sidecars: tuple[bool, ...]
    pod: Resources | None
    tolerations: tuple[Toleration, ...] | None

    @property
    def is_small(self) -> bool:
        """Whether it may be the key of a cache."""
        blocks = (*self.containers, *self.init_containers, self.pod)
        small = all(block is None or block.is_small for block in blocks)
        return small and len(blocks) <= MOST_PARTS and len(self.tolerations or ()) <= MOST_PARTS


class Ruled(Struct, frozen=True, gc=False):
    """What became of a shape: the blocks that are others now, by their pointer, and all that was changed."""

    blocks: Mapping[str, Resources]
    changes: tuple[Change, ...]
    written: Written | None


def ruled(pod: Pod, context: Context) -> Ruled:
    """What the rules make of a Pod that is to be created."""
    spec, init = pod.spec, pod.spec.init_containers or ()
    shape = Shape(
        context.settings,
        context.task.primary,
        context.task.interruptible,
        tuple([container.resources for container in spec.containers]),
        tuple([container.resources for container in init]),
        tuple([container.is_sidecar for container in init]),
        spec.resources,
        None if spec.tolerations is None else tuple(spec.tolerations),
    )
    return _known(shape) if shape.is_small else _ruled(shape)


def _ruled(shape: Shape) -> Ruled:
    before = pod = _pod_of(shape)
    context = Context(Task(1, primary=shape.primary, interruptible=shape.interruptible), shape.settings)
    changes: list[Change] = []
    for name, rule in MUTATING:
        if name not in shape.settings.skips:
            pod, made = rule(pod, context)
            changes += made
    all_changes = merged(changes)
    written = write(all_changes, shape.settings.policy, pods.absent(before)) if changes else None
    return Ruled(_different(before, pod), all_changes, written)


_known: Final = lru_cache(maxsize=MOST_REMEMBERED)(_ruled)


def _pod_of(shape: Shape) -> Pod:
    """A Pod of the shape."""
    init = [
        Container(resources=resources, restart_policy="Always" if sidecar else None)
        for resources, sidecar in zip(shape.init_containers, shape.sidecars, strict=True)
    ]
    spec = PodSpec(
        containers=[Container(resources=resources) for resources in shape.containers],
        init_containers=init,
        resources=shape.pod,
        tolerations=None if shape.tolerations is None else list(shape.tolerations),
    )
    return Pod(spec=spec)


def _different(before: Pod, after: Pod) -> dict[str, Resources]:
    old = {pods.POD_LEVEL: before.spec.resources, **{at: it.resources for at, it in pods.containers(before)}}
    new = {pods.POD_LEVEL: after.spec.resources, **{at: it.resources for at, it in pods.containers(after)}}
    return {at: block for at, block in new.items() if block is not None and block is not old[at]}
