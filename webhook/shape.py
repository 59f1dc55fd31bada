"""What the rules read of a Pod, and what they make of that: remembered, for the Pods of a task are all alike.

A rule looks at resources and tolerations and at nothing that differs from one Pod of a task to the next: a name, a
label, an image. So it is asked once for each shape, whatever number of Pods has it. What a Pod is charged for follows
from its shape too; whether its quotas have that, from nothing that could be remembered.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct

from webhook import pod as pods
from webhook.decision import Change, Context, Written
from webhook.flyte import Task
from webhook.memory import remembered
from webhook.pod import Container, Pod, PodSpec, Resources, Toleration
from webhook.rules import MUTATING, clamp, default
from webhook.rules.quota import Asked, asked
from webhook.settings import Settings
from webhook.trace import merged, write

MOST_REMEMBERED: Final = 1024  # shapes
MOST_PARTS: Final = 32  # containers, and tolerations, of a Pod whose shape is remembered
MOST_BYTES: Final = 16 * 1024  # of its changes as they are written
LARGEST_REMEMBERED: Final = 3072  # the size of all its blocks, and the bytes of its tolerations
_encode: Final = msgspec.json.Encoder().encode
_RESOURCES: Final = attrgetter("resources")
_IS_SIDECAR: Final = attrgetter("is_sidecar")


class Shape(Struct, frozen=True, gc=False):
    """All that a rule reads of a new Pod and its task; `sidecars` says of each init container whether it is one."""

    settings: Settings
    primary: str
    interruptible: bool
    containers: tuple[Resources | None, ...]
    init_containers: tuple[Resources | None, ...]
    sidecars: tuple[bool, ...]
    pod: Resources | None
    overhead: Resources | None
    tolerations: tuple[Toleration, ...] | None

    @property
    def is_small(self) -> bool:
        """Whether it may be the key of a cache."""
        blocks = (*self.containers, *self.init_containers, self.pod, self.overhead)
        tolerations = self.tolerations or ()
        if len(blocks) > MOST_PARTS or len(tolerations) > MOST_PARTS:
            return False
        sizes = (*(block.size for block in blocks if block), *(len(_encode(it)) for it in tolerations))
        return sum(sizes) <= LARGEST_REMEMBERED


class Ruled(Struct, frozen=True, gc=False):
    """What became of a shape: the blocks that are others now, by their pointer, all that was changed, what it asks."""

    blocks: Mapping[str, Resources]
    changes: tuple[Change, ...]
    written: Written | None
    asks: Asked


class Standing(Struct, frozen=True, gc=False):
    """What is to be said of a shape as it stands: what is over a maximum, and what it asks for."""

    over: tuple[Change, ...]
    asks: Asked


def ruled(pod: Pod, context: Context) -> Ruled:
    """What the rules make of a Pod that is to be created."""
    return _ruled(_shape(pod, context))


def standing(pod: Pod, context: Context) -> Standing:
    """What the rules would find in a Pod that is to be created as it is."""
    return _standing(_shape(pod, context))


def _shape(pod: Pod, context: Context) -> Shape:
    spec, init = pod.spec, pod.spec.init_containers or ()
    return Shape(
        context.settings,
        context.task.primary,
        context.task.interruptible,
        tuple(map(_RESOURCES, spec.containers)),
        tuple(map(_RESOURCES, init)),
        tuple(map(_IS_SIDECAR, init)),
        spec.resources,
        Resources(spec.overhead) if spec.overhead else None,
        None if spec.tolerations is None else tuple(spec.tolerations),
    )


def _is_small_ruled(made: Ruled, shape: Shape) -> bool:
    return shape.is_small and (made.written is None or made.written.size <= MOST_BYTES)


def _is_small_standing(_: Standing, shape: Shape) -> bool:
    return shape.is_small


@remembered(MOST_REMEMBERED, _is_small_ruled)
def _ruled(shape: Shape) -> Ruled:
    before = pod = _pod_of(shape)
    context = _context_of(shape)
    changes: list[Change] = []
    for name, rule in MUTATING:
        if name not in shape.settings.skips:
            pod, made = rule(pod, context)
            changes += made
    all_changes = merged(changes)
    written = write(before, all_changes, shape.settings.policy) if all_changes else None
    return Ruled(_different(before, pod), all_changes, written, asked(default(pod)[0]))


@remembered(MOST_REMEMBERED, _is_small_standing)
def _standing(shape: Shape) -> Standing:
    pod = _pod_of(shape)
    return Standing(merged(clamp(pod, _context_of(shape))[1]), asked(default(pod)[0]))


def _context_of(shape: Shape) -> Context:
    """What a rule knows of each Pod of the shape."""
    return Context(Task(1, primary=shape.primary, interruptible=shape.interruptible), shape.settings)


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
        overhead=dict(shape.overhead.requests or ()) if shape.overhead else None,
        tolerations=None if shape.tolerations is None else list(shape.tolerations),
    )
    return Pod(spec=spec)


def _different(before: Pod, after: Pod) -> dict[str, Resources]:
    old = {pods.POD_LEVEL: before.spec.resources, **{at: it.resources for at, it in pods.containers(before)}}
    new = {pods.POD_LEVEL: after.spec.resources, **{at: it.resources for at, it in pods.containers(after)}}
    return {at: block for at, block in new.items() if block is not None and block is not old[at]}
