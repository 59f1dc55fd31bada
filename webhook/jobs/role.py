"""A distributed job as its operator sees it: roles, each of some Pods of one template, and its place in the object."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from webhook.api.pod import Container, ObjectMeta, Pod, containers
from webhook.api.quantity import parse
from webhook.api.resources import Resources
from webhook.api.wire import Wire
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

# What an object states about the Pods of a role beside their template: texts and whole numbers, by JSON Pointer.
Stated: TypeAlias = Mapping[str, str | int]


class Role(Struct, frozen=True):
    """Pods of a job that are alike; a Pod is a job of one role, which stands at the root.

    `pod` is what the operator makes: the containers of the template in their order, and behind them those that the
    operator adds.
    """

    name: str
    pod: Pod
    at: str = ""  # JSON Pointer of the template in the object
    count: int = 1  # Pods; of an elastic role, the fewest that it runs with
    most: int = 1  # Pods that it may grow to
    are_workers: bool = False  # whether the author chooses how many
    added: frozenset[str] = frozenset()  # pointers in `pod` of the containers that are not in the template
    is_ours: bool = True  # whether the rules apply to its Pods: not where they have no label of Flyte's
    stated: Stated = {}  # beside the template
    notes: tuple[str, ...] = ()  # what the webhook cannot read, and so leaves as it is

    @property
    def fixed(self) -> frozenset[str]:
        """The pointers in `pod` of the containers that no patch of the object reaches."""
        return self.added

    def named(self, text: str) -> str:
        """Return the text with the name of the role before it, for a job."""
        return f"{self.name}: {text}" if self.name else text

    def containers(self) -> Iterable[tuple[str, Container]]:
        """Yield each container of the template with its JSON Pointer in the object."""
        for pointer, container in containers(self.pod):
            if pointer not in self.added and (place := self.in_object(pointer)):
                yield place, container

    def written(self, after: Workload, changes: Sequence[Change]) -> list[Change]:
        """Return the changes of the object that make the changes of its Pods, which are `after` them.

        What the operator adds cannot be changed in the object: its Pods are reviewed once more when they are created.
        """
        kept = (change for change in changes if change.path.partition("/resources/")[0] not in self.fixed)
        own = [replace(change, path=place) for change in kept if (place := self.in_object(change.path))]
        return [*own, *self.consequences(after, changes)]

    def consequences(self, after: Workload, changes: Sequence[Change]) -> Iterable[Change]:  # noqa: ARG002
        """Return the changes of what follows from the Pods elsewhere in the object."""
        return ()

    def settled(self, after: Workload) -> Workload:
        """Return the Workload of the Pods that are made of the changed object; `after` is that of the rules."""
        return after

    def beside(self, after: Workload, written: Sequence[Change]) -> Iterable[Change]:  # noqa: ARG002
        """Return what has to be stated once the object has the changes: it changes no Pod, and is not recorded."""
        return ()

    def before(self, pod: Pod, claimed: Sequence[Change]) -> "Role":
        """Return the role with the Pod as it was before the claimed changes, and with what was stated before them."""
        return replace(self, pod=pod, stated=undone(self.stated, claimed))

    def in_object(self, path: str) -> str:
        """Return where in the object a value of the Pod stands; empty for nowhere."""
        return self.at + path

    def in_pod(self, path: str) -> str:
        """Return where in the Pod a value of the object stands; empty for one that is not of this role."""
        return path.removeprefix(self.at) if path.startswith(f"{self.at}/spec/") else ""

    def absent(self, before: Workload) -> Collection[str]:
        """Return the JSON Pointers of the parents in the object that a patch may have to add first."""
        return {place for pointer in before.absent if (place := self.in_object(pointer))}


class Job(Struct, frozen=True):
    """An object from which an operator makes Pods."""

    metadata: ObjectMeta
    roles: tuple[Role, ...]
    is_suspended: bool = False  # waits until somebody, such as Kueue, lets it start


class JobSpec(Wire, frozen=True):
    """`spec` of a job, of one kind."""

    suspend: bool | None = None

    @property
    def is_suspended(self) -> bool:
        """Whether the job waits until somebody lets it start."""
        return bool(self.suspend)

    @abstractmethod
    def roles(self) -> Iterable[Role]:
        """Return the roles of the job."""


def block_of(requests: Mapping[str, str], limits: Mapping[str, str]) -> Resources:
    """Return the resources of a container that an operator adds, as its source states them."""
    return Resources(*({name: parse(text) for name, text in side.items()} for side in (requests, limits)))


def undone(stated: Stated, claimed: Iterable[Change]) -> Stated:
    """Return what was stated before the claimed changes; a value that is not the outcome of one stays."""
    known = {change.path: change for change in claimed}
    before: dict[str, str | int] = {}
    for path, value in stated.items():
        change = known.get(path)
        if change is None or change.after != value or not isinstance(change.before, type(value) | None):
            before[path] = value
        elif change.before is not None:
            before[path] = change.before
    return before
