"""Requests a second and latency over TLS and keep-alive: closed loops, an open loop, and the memory after all that."""

from collections.abc import Callable, Iterator
from itertools import product

from benchmarks import load, samples, servers
from benchmarks.servers import Server
from benchmarks.turns import Figure, Found, against, in_turns, run

CONNECTIONS = (1, 8, 64)
RATES = (250, 1000)  # requests a second of the open loops
PERCENTILES = (50, 99, 99.9)
ROUNDS, REQUESTS, OPEN_SECONDS = 7, 2500, 3


def closed(server: Server, reviews: samples.Reviews, connections: int) -> Callable[[], Found]:
    """A turn of so many clients, each of which waits for its answer."""
    target = server.target()

    def turn() -> Found:
        bodies = reviews()
        found = load.closed(target, bodies, connections, server.cpu_seconds)
        return {"requests/s": found.rate, "p50, ms": found.percentile(50), "p99, ms": found.percentile(99),
                "cpu, us a request": found.cpu / len(bodies) * 1e6}  # fmt: skip

    return turn


def opened(server: Server, bodies: list[bytes], rate: int) -> Callable[[], Found]:
    """A turn of requests that come at their time."""
    target = server.target()

    def turn() -> Found:
        found = load.opened(target, bodies, rate)
        latencies = {f"p{percent:g}, ms": found.percentile(percent) for percent in PERCENTILES}
        return {**latencies, "client late, p99, ms": found.delay}

    return turn


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """Each load in its own turns."""
    rounds, asked = (1, 10) if quick else (ROUNDS, REQUESTS)
    with servers.side_by_side() as running:
        for connections, (shapes, reviews) in product(CONNECTIONS, samples.SERIES.items()):
            turns = {name: closed(server, reviews(asked), connections) for name, server in running.items()}
            yield from against("control", in_turns(turns, rounds), f"closed, {connections} connections, {shapes}: ")
        for rate in RATES:
            bodies = [samples.review(number) for number in range(10 if quick else rate * OPEN_SECONDS)]
            turns = {name: opened(server, bodies, rate) for name, server in running.items()}
            yield from against("control", in_turns(turns, rounds), f"open, {rate}/s: ")
        memory = {name: [{"RSS, MB": server.megabytes()}] for name, server in running.items()}
        yield from against("control", memory, "after the load: ")


if __name__ == "__main__":
    run(__doc__, "a constant Starlette route, served the same way", measure)
