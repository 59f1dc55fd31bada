"""How a decision, the memory and the time to be ready grow with namespaces, containers and overrides."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import yaml

from benchmarks import samples, servers
from benchmarks.request_path import some_quotas, whole
from benchmarks.turns import Figure, Found, against, in_turns, microseconds, run
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook
from webhook.cluster.snapshot import Snapshot
from webhook.policy.file import load

SIZES: Final[dict[str, tuple[int, ...]]] = {
    "namespaces": (1, 100, 10_000),
    "containers": (1, 10, 100),
    "overrides": (10, 500, 5_000),
    "projects with an override": (10, 50, 500),
}
IN_USE: Final = 10  # projects whose Pods come, of those with an override
QUICK = (1, 3)
# Different reviews, more than any cache holds.
POOLS = {"namespaces": 5000, "containers": 300, "overrides": 5000, "projects with an override": 5000}
ROUNDS, SERVERS, REVIEWS = 25, 3, 300


def decisions(size: str, count: int, pool: int, reviews: int) -> Callable[[], Found]:
    """A turn: the next so many reviews of a pool, in this process."""
    policy = load(policy_with(count if size in OVERRIDING else 0), "policy.yaml").policy
    quotas = (msgspec.convert(it, ResourceQuota, dec_hook=decode_hook) for it in some_namespaces(count))
    snapshot = Snapshot(quotas if size == "namespaces" else ())
    always = some_quotas(2)
    pairs = cycle([(BODIES[size](number, count), namespace(number, count)) for number in range(pool)])

    def turn() -> Found:
        chosen = list(islice(pairs, reviews))
        return microseconds(lambda i: whole(chosen[i][0], policy, snapshot.of(chosen[i][1]) or always), reviews)

    return turn


def namespace(number: int, count: int) -> str:
    """One after the other, in no order."""
    return f"p{number * 7919 % count}-development"


def in_a_namespace(number: int, count: int) -> bytes:
    """A review for one of so many namespaces."""
    return samples.review(number, namespace(number, count))


def of_containers(number: int, count: int) -> bytes:
    """A review of a Pod with a task container and sidecars."""
    review = json.loads(samples.review(number))
    containers = review["request"]["object"]["spec"]["containers"]
    task, sidecar = containers
    containers[:] = [task, *({**sidecar, "name": f"sidecar-{index}"} for index in range(count - 1))]
    return json.dumps(review).encode()


def in_a_project(number: int, count: int) -> bytes:
    """A review for one of a few projects, of so many that have an override."""
    return samples.review(number, f"p{number % IN_USE * (count // IN_USE)}-development")


BODIES: Final[dict[str, Callable[[int, int], bytes]]] = {
    "namespaces": in_a_namespace,
    "containers": of_containers,
    "overrides": in_a_project,
    "projects with an override": in_a_namespace,
}
OVERRIDING: Final = ("overrides", "projects with an override")


def some_namespaces(count: int) -> list[samples.Json]:
    """Two quotas for each namespace."""
    return [samples.quota(f"p{number}-development", name) for number in range(count) for name in ("a", "b")]


def policy_with(overrides: int) -> str:
    """The example policy, and so many projects with a maximum of their own."""
    content = yaml.safe_load(servers.POLICY.read_text())
    content["overrides"] = [
        {"project": f"p{number}", "domain": "development", "limits": {"cpu": f"{number % 4 + 2}"}}
        for number in range(overrides)
    ]
    return yaml.safe_dump(content)


def reading(size: str, count: int) -> Callable[[], Found]:
    """A turn: a server whose cluster has so many namespaces, or whose policy has so many overrides."""
    quotas = some_namespaces(count if size == "namespaces" else 1)
    policy = policy_with(count if size == "overrides" else 0)

    def turn() -> Found:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "policy.yaml"
            file.write_text(policy)
            with servers.ours(quotas, file) as server:
                seconds = server.seconds_to_ready()
                return {
                    "start to ready, s": seconds,
                    "RSS, MB": server.megabytes(),
                    "RSS at its most, MB": server.megabytes("VmHWM"),
                }

    return turn


def grown(size: str, turns: Mapping[int, Callable[[], Found]], rounds: int) -> Iterator[Figure]:
    """The smallest is the control."""
    smallest = str(min(turns))
    found = in_turns({str(count): turn for count, turn in turns.items()}, rounds)
    yield from against(smallest, found, f"{size}, {smallest} to ")


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """Decisions in this process, then whole servers."""
    rounds, waits, reviews = (1, 1, 10) if quick else (ROUNDS, SERVERS, REVIEWS)
    pools = dict.fromkeys(POOLS, 10) if quick else POOLS
    sizes = dict.fromkeys(SIZES, QUICK) if quick else SIZES
    for size, counts in sizes.items():
        yield from grown(size, {count: decisions(size, count, pools[size], reviews) for count in counts}, rounds)
    for size in ("namespaces",) if quick else ("namespaces", "overrides"):
        yield from grown(size, {count: reading(size, count) for count in sizes[size]}, waits)


if __name__ == "__main__":
    run(__doc__, "the smallest size", measure)
