"""How the cost of a quota decision grows with the quotas of the namespace and the containers of the Pod."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import msgspec

from benchmarks.turns import Figure, Found, against, in_turns, microseconds, run
from webhook.api import pod as pods
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook
from webhook.flyte.task import Task
from webhook.policy.settings import Settings
from webhook.rules import quota
from webhook.rules.defaulting import default
from webhook.rules.workload import workload_of

QUOTAS, CONTAINERS = (1, 10, 100), (1, 3, 20)
ROUNDS, PODS = 15, 40


def a_pod(containers: int, number: int) -> pods.Pod:
    """A Pod that asks for cpu, memory and a GPU in each container; its amounts vary with the number."""
    amounts = {"cpu": f"{100 + number % 50}m", "memory": f"{1 + number % 9}Gi", "nvidia.com/gpu": "1"}
    resources = {"requests": amounts, "limits": amounts}
    spec = {"containers": [{"name": f"c{index}", "resources": resources} for index in range(containers)]}
    return pods.decode(json.dumps({"metadata": {"name": f"p{number}"}, "spec": spec}).encode())


def some_quotas(count: int) -> list[ResourceQuota]:
    """Quotas that count the Pod and have room for it, two of three with a scope."""
    hard = {"limits.cpu": "900", "limits.memory": "9000Gi", "requests.nvidia.com/gpu": "900", "pods": "900"}
    used = dict.fromkeys(hard, "1")
    found: list[dict[str, Any]] = [
        {
            "metadata": {"name": f"q{number}"},
            "spec": {"scopes": [[], ["NotTerminating"], ["NotBestEffort"]][number % 3]},
            "status": {"hard": hard, "used": used},
        }
        for number in range(count)
    ]
    return [msgspec.convert(quota, ResourceQuota, dec_hook=decode_hook) for quota in found]


def decisions(quotas: int, containers: int) -> Callable[[], Found]:
    """A turn: decide about several Pods, one after the other."""
    found = some_quotas(quotas)
    reviewed, names = [a_pod(containers, number) for number in range(PODS)], ["c"] * containers

    def decide(number: int) -> None:
        workload = default(workload_of(reviewed[number], Task(1), Settings()))[0]
        if quota.check_quotas([quota.Asked(workload, quota.cost_of(workload), names)], found).violations:
            raise SystemExit("the quotas were meant to have room")

    return lambda: microseconds(decide, PODS)


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """All sizes by turns."""
    sizes = [(1, 1), (1, 3)] if quick else list(product(QUOTAS, CONTAINERS))
    turns = {f"{quotas} quotas, {containers} containers": decisions(quotas, containers) for quotas, containers in sizes}
    yield from against("control", in_turns({"control": decisions(1, 1), **turns}, 1 if quick else ROUNDS))


if __name__ == "__main__":
    run(__doc__, "one quota and one container", measure)
