"""Measure `flyte-admission scan` and `quota` over a dump of 10,000 Pods, from the start of the process to its end."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import yaml

from benchmarks import samples
from benchmarks.turns import Figure, Found, against, in_turns, run

ROUNDS = 5
PODS = 10_000
IN_YAML = 1_000  # YAML takes long
POLICY = samples.EXAMPLES / "policy.yaml"
READ = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"


def dumped(folder: Path, pods: int, kind: str) -> Path:
    """A List of so many Pods that run in 40 namespaces with quotas, as kubectl prints it."""
    namespaces = [f"project{number}-development" for number in range(40)]
    running = {"status": {"phase": "Running"}}
    items = [samples.pod(number, namespaces[number % 40]) | running for number in range(pods)]
    items += map(samples.quota, namespaces)
    content = {"apiVersion": "v1", "kind": "List", "items": items}
    file = folder / f"{pods}.{kind}"
    text = json.dumps(content, indent=4) if kind == "json" else yaml.dump(content, Dumper=_Plain, sort_keys=False)
    file.write_text(text, encoding="utf-8")
    return file


class _Plain(yaml.SafeDumper):
    """kubectl writes no aliases."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def took(*command: str | Path) -> Found:
    """A turn: the command, which prints nothing here."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return {"start to end, s": time.perf_counter() - start}


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """JSON and YAML, each against Python that reads the JSON."""
    rounds, part = (1, 100) if quick else (ROUNDS, 1)
    with tempfile.TemporaryDirectory() as folder:
        as_json = dumped(Path(folder), PODS // part, "json")
        scan = "-m", "webhook", "scan", "--policy", POLICY, "--filename"
        cases: dict[str, Callable[[], Found]] = {
            "control": partial(took, "-c", READ, as_json),
            f"scan, {PODS // part} Pods in JSON": partial(took, *scan, as_json),
            f"quota, {PODS // part} Pods in JSON": partial(took, "-m", "webhook", "quota", "--filename", as_json),
            f"scan, {IN_YAML // part} Pods in YAML": partial(
                took, *scan, dumped(Path(folder), IN_YAML // part, "yaml")
            ),
        }
        yield from against("control", in_turns(cases, rounds))


if __name__ == "__main__":
    run(__doc__, "Python that reads the same JSON", measure)
