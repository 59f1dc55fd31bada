"""How the cost of a quota decision grows with the quotas of the namespace and the containers of the Pod.

Each figure is a ratio to the smallest case (1 quota, 1 container), measured in turns with it in the same run.
Prints a table, writes results/quota.json.
"""

import json
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from webhook import pod as pods
from webhook.rules import default, quota
from webhook.snapshot import ResourceQuota

QUOTAS, CONTAINERS = (1, 10, 100), (1, 3, 20)
ROUNDS, REPEATS = 15, 40


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
    return [msgspec.convert(quota, ResourceQuota, dec_hook=pods.decode_hook) for quota in found]


def decision(quotas: int, containers: int) -> Callable[[], None]:
    """Decide about several Pods, one after the other."""
    found = some_quotas(quotas)
    reviewed = [a_pod(containers, number) for number in range(REPEATS)]

    def decide() -> None:
        for pod in reviewed:
            if quota.check(default(pod)[0], found).violations:
                raise SystemExit("the quotas were meant to have room")

    return decide


def seconds(step: Callable[[], None]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print, write."""
    cases = {case: decision(*case) for case in product(QUOTAS, CONTAINERS)}
    control = decision(1, 1)
    rounds: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    alone: list[float] = []
    for _ in range(ROUNDS):
        for case, step in cases.items():
            base = seconds(control)
            alone.append(base)
            rounds[case].append(seconds(step) / base)
    microseconds = statistics.median(alone) / REPEATS * 1e6
    print(f"one decision with 1 quota and 1 container: {microseconds:.1f} us; the others as multiples of it")
    print(f"{'quotas':>8}" + "".join(f"{count:>6} containers" for count in CONTAINERS))
    ratios = {case: statistics.median(found) for case, found in rounds.items()}
    for quotas in QUOTAS:
        print(f"{quotas:>8}" + "".join(f"{ratios[quotas, containers]:>17.1f}" for containers in CONTAINERS))
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    content = {
        "microseconds": microseconds,
        "ratios": {f"{q} quotas, {c} containers": r for (q, c), r in ratios.items()},
    }
    (results / "quota.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
