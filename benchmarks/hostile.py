"""Measure Pods that are built to be slow, against decoding the same amount of plain JSON."""

import json
from collections.abc import Callable, Iterator, Mapping

from benchmarks import samples, servers
from benchmarks.turns import Figure, Found, against, in_turns, microseconds, run
from tests import hostile
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.policy.file import load
from webhook.policy.model import Policy

TODAY = "2026-11-25"
ROUNDS, BYTES = 9, 100_000
LEAST = 20_000  # bytes: what any review costs is not counted as that of a small one
PODS: Mapping[str, Callable[[], samples.Json]] = {
    **{name: make for name, (make, _) in hostile.OVERSIZED.items()},
    **hostile.ORDINARY,
    "20 containers of 24 limits": lambda: hostile.limits(24, "1", of=20),
}


def plain(size: int) -> bytes:
    """JSON of that size as Pods are full of it: names and values."""
    return json.dumps(
        [{"name": f"FLYTE_{n}", "value": "a value of an environment"} for n in range(size // 60)]
    ).encode()


def decoding() -> Found:
    """A turn of the control: decode plain JSON, for each 100 KB of it."""
    body = plain(BYTES)
    return microseconds(lambda _: json.loads(body), 20)


def deciding(policy: Policy, body: bytes) -> Callable[[], Found]:
    """A turn: a whole decision, for each 100 KB of its review."""

    def decide(_: int) -> None:
        request = wire.decode(body)
        encode(request, mutate(request, policy, Constraints(), TODAY))

    return lambda: {"us": microseconds(decide, 3)["us"] * BYTES / max(len(body), LEAST)}


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """Each Pod in turn."""
    policy = load(servers.POLICY.read_text(), "policy.yaml").policy
    turns = {name[:34]: deciding(policy, hostile.review(make())) for name, make in PODS.items()}
    yield from against("control", in_turns({"control": decoding, **turns}, 1 if quick else ROUNDS))


if __name__ == "__main__":
    run(__doc__, "json.loads of plain JSON, each for 100 KB", measure)
