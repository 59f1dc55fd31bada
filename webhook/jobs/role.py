"""A distributed job as its operator sees it: roles, each of some Pods of one template, and its place in the object."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from webhook.api.pod import Container, ObjectMeta, Pod, containers
from webhook.api.quantity import parse
from webhook.api.resources import Resources
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


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
            if pointer not in self.added:
                yield self.at + pointer, container

    def written(self, after: Workload, changes: Sequence[Change]) -> list[Change]:
        """Return the changes of the object that make the changes of its Pods, which are `after` them.

        What the operator adds cannot be changed in the object: its Pods are reviewed once more when they are created.
        """
        kept = (change for change in changes if change.path.partition("/resources/")[0] not in self.fixed)
        own = [replace(change, path=self.in_object(change.path)) for change in kept]
        return [*own, *self.consequences(after, changes)]

    def consequences(self, after: Workload, changes: Sequence[Change]) -> Iterable[Change]:  # noqa: ARG002
        """Return the changes of what follows from the Pods elsewhere in the object."""
        return ()

    def beside(self, after: Workload, written: Sequence[Change]) -> Iterable[Change]:  # noqa: ARG002
        """Return what has to be stated once the object has the changes: it changes no Pod, and is not recorded."""
        return ()

    def before(self, pod: Pod, claimed: Sequence[Change]) -> "Role":  # noqa: ARG002
        """Return the role with the Pod as it was before the claimed changes, and what follows from it likewise."""
        return replace(self, pod=pod)

    def in_object(self, path: str) -> str:
        """Return where in the object a value of the Pod stands."""
        return self.at + path

    def in_pod(self, path: str) -> str:
        """Return where in the Pod a value of the object stands; empty for one that is not of this role."""
        return path.removeprefix(self.at) if path.startswith(f"{self.at}/spec/") else ""

    def absent(self, before: Workload) -> Collection[str]:
        """Return the JSON Pointers of the parents in the object that a patch may have to add first."""
        return {self.at + pointer for pointer in before.absent}


class Job(Struct, frozen=True):
    """An object from which an operator makes Pods."""

    kind: str
    metadata: ObjectMeta
    roles: tuple[Role, ...]
    is_suspended: bool = False  # waits until somebody, such as Kueue, lets it start


def block_of(requests: Mapping[str, str], limits: Mapping[str, str]) -> Resources:
    """Return the resources of a container that an operator adds, as its source states them."""
    return Resources(*({name: parse(text) for name, text in side.items()} for side in (requests, limits)))
