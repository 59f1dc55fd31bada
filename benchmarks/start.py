"""From the start of the process to ready, what importing the program takes, and the memory at rest."""

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import samples, servers
from benchmarks.load import closed
from benchmarks.turns import Figure, Found, against, in_turns, run

ROUNDS = 7
OURS = "import webhook.server.run, webhook.server.certificate, webhook.cluster.informer, webhook.cli.serve"
CONTROL = "import uvicorn, uvloop, httptools, starlette.applications, ssl"


def imported(code: str) -> Found:
    """A turn: Python, the imports, and its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return {"python and imports, s": time.perf_counter() - start}


def constant() -> Found:
    """A turn of the control, which is ready once it has answered."""
    with servers.control() as server:
        closed(server.target(), [samples.review(0)], 1)
        return {"start to ready, s": time.perf_counter() - server.started, "RSS, MB": server.megabytes()}


def webhook() -> Found:
    """A turn of ours, which is ready once it has the quotas of the cluster."""
    with servers.ours() as server:
        return {"start to ready, s": server.seconds_to_ready(), "RSS, MB": server.megabytes()}


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """Imports alone, then whole servers."""
    rounds = 1 if quick else ROUNDS
    imports = {"control": lambda: imported(CONTROL), "webhook": lambda: imported(OURS)}
    yield from against("control", in_turns(imports, rounds))
    yield from against("control", in_turns({"control": constant, "webhook": webhook}, rounds))


if __name__ == "__main__":
    run(__doc__, "a constant Starlette route on the same server", measure)
