"""What stands for the executor of Flyte 2: a client with its libraries, which handles their errors as it does."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.client import Json
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.flyte.programs import Programs
from tests.e2e.pods import FLYTE_2, pod

LABELS = {**FLYTE_2, "flyte.org/action": "a0", "run": "r4k7h2", "action": "a0", "attempt": "1", "task-name": "train"}
OWNER = {"apiVersion": "flyte.org/v1", "kind": "TaskAction", "name": "r4k7h2-a0", "uid": "1", "controller": True}


@dataclass
class Run:
    """What one client did, line by line, with the seconds since it began."""

    process: subprocess.Popen[str]

    def steps(self, seconds: float) -> list[tuple[float, str]]:
        """All that it did, once it has ended."""
        output, _ = self.process.communicate(timeout=seconds)
        return [(it["seconds"], it["what"]) for it in map(json.loads, output.splitlines())]


@dataclass(frozen=True)
class Executor:
    """What starts clients."""

    plane: ControlPlane
    programs: Programs
    folder: Path

    @contextmanager
    def asking(self, namespace: str, cpu: str, *options: str) -> Iterator[Run]:
        """A client that creates a Pod of so much cpu, until the end of the block."""
        made = task(namespace, cpu)
        file = self.folder / "pod.json"
        file.write_text(json.dumps(made))
        command = [
            str(self.programs.flyte2 / "client"),
            f"--kubeconfig={self.plane.kubeconfig}",
            f"--pod={file}",
            *options,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Run(process)
            finally:
                process.kill()


def task(namespace: str, cpu: str) -> Json:
    amounts = {"cpu": cpu, "memory": "1Gi", "ephemeral-storage": "1Gi"}
    made = pod(namespace, "r4k7h2-a0", LABELS, {"requests": amounts, "limits": amounts})
    made["metadata"]["ownerReferences"] = [OWNER]
    return made
