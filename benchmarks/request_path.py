"""What one review of 9 KB costs: each stage of /mutate, and the whole request against a constant route."""

import json
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Raw

from benchmarks import samples, servers, throughput
from benchmarks.turns import Figure, Found, against, in_turns, microseconds, run
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.applied import applied
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.admission.decision import Allowed
from webhook.admission.wire import Request
from webhook.api.pod import Pod
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import NO_RESOURCES, Resources, decode_hook
from webhook.api.wire import Wire
from webhook.flyte.task import Task, identify
from webhook.policy.file import load
from webhook.policy.model import Policy
from webhook.rules import quota
from webhook.rules.workload import workload_of

TODAY = "2026-11-25"
WHOLE, LIBRARY = "whole decision", "of it, msgspec alone"
ROUNDS, BODIES, REQUESTS = 15, 300, 1500


class AskedAbout(Wire, frozen=True):
    """The request of a review, as far as it is a Pod."""

    uid: str
    object: Pod


class Review(Wire, frozen=True):
    """An AdmissionReview that asks."""

    request: AskedAbout


class Answered(Wire, frozen=True):
    """The response of a review."""

    uid: str
    allowed: bool
    audit_annotations: dict[str, Raw]
    patch_type: str
    patch: bytes


class Answer(Wire, frozen=True):
    """An AdmissionReview that answers."""

    response: Answered
    api_version: str
    kind: str


def some_policy() -> Policy:
    """The policy of the examples."""
    return load(servers.POLICY.read_text(), "policy.yaml").policy


def some_quotas(count: int = 1) -> list[ResourceQuota]:
    """So many quotas with room for the Pods."""
    made = [samples.quota(name=f"quota-{number}") for number in range(count)]
    return [msgspec.convert(quota, ResourceQuota, dec_hook=decode_hook) for quota in made]


def whole(body: bytes, policy: Policy, quotas: Sequence[ResourceQuota]) -> bytes:
    """From the body to the answer."""
    request = wire.decode(body)
    decision = mutate(request, policy, Constraints(quotas), TODAY)
    if not isinstance(decision, Allowed) or not decision.changes:
        raise SystemExit(f"the Pod was meant to be changed: {decision}")
    return encode(request, decision)


def pod_of(request: Request) -> Pod:
    """The Pod under review, which all of the samples have."""
    return request.pod or Pod()


def task_of(request: Request, policy: Policy) -> Task:
    """Return whose Pod it is, which is Flyte's for all of the samples."""
    task = identify(pod_of(request), request.namespace, policy.identification)
    if task is None:
        raise SystemExit("the Pod was meant to be one of Flyte's")
    return task


def libraries_part(bodies: Sequence[bytes], answers: Sequence[bytes]) -> Callable[[int], object]:
    """What msgspec does for one decision: read a review, without what is ours in it, and write its answer."""
    ours = {Resources: NO_RESOURCES, Quantity: ZERO}
    decode = msgspec.json.Decoder(Review, dec_hook=lambda kind, _: ours[kind], float_hook=str).decode
    encode = msgspec.json.Encoder().encode
    read = [msgspec.json.decode(answer, type=Answer) for answer in answers]
    return lambda i: (decode(bodies[i]), encode(read[i]))


def stages(count: int) -> dict[str, Callable[[], Found]]:
    """A turn each: all reviews, one after the other."""
    policy, quotas = some_policy(), some_quotas()
    bodies = [samples.review(number) for number in range(count)]
    new = samples.new(count)
    requests = [wire.decode(body) for body in bodies]
    tasks = [task_of(request, policy) for request in requests]
    settings = [policy.settings(task, samples.NAMESPACE, TODAY) for task in tasks]
    workloads = [workload_of(pod_of(r), t, s) for r, t, s in zip(requests, tasks, settings, strict=True)]
    made = [applied(workload) for workload in workloads]
    decisions = [d for r in requests if isinstance(d := mutate(r, policy, Constraints(quotas), TODAY), Allowed)]

    answers = [whole(body, policy, quotas) for body in bodies]

    def unlike() -> Found:
        fresh = new()
        return microseconds(lambda i: whole(fresh[i], policy, quotas), count)

    steps: dict[str, Callable[[int], object]] = {
        "control": lambda i: json.loads(bodies[i]),
        "decode": lambda i: wire.decode(bodies[i]),
        "identify": lambda i: task_of(requests[i], policy),
        "settings": lambda i: policy.settings(tasks[i], samples.NAMESPACE, TODAY),
        "workload": lambda i: workload_of(pod_of(requests[i]), tasks[i], settings[i]),
        "rules, a known shape": lambda i: applied(workloads[i]),
        "quota": lambda i: quota.check_quotas([quota.Asked(made[i].workload, made[i].cost, ["", ""])], quotas),
        "encode, with the patch": lambda i: encode(requests[i], decisions[i]),
        LIBRARY: libraries_part(bodies, answers),
        WHOLE: lambda i: whole(bodies[i], policy, quotas),
    }
    turns: dict[str, Callable[[], Found]] = {
        name: lambda step=step: microseconds(step, count)  # type: ignore[misc] # a default has no type of its own
        for name, step in steps.items()
    }
    return {**turns, f"{WHOLE}, a new shape": unlike}


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """The stages in this process, the whole request in servers."""
    rounds, count, asked = (1, 10, 10) if quick else (ROUNDS, BODIES, REQUESTS)
    found = in_turns(stages(count), rounds)
    both = zip(found[WHOLE], found[LIBRARY], strict=True)
    found["of it, Python of our own"] = [{"us": whole["us"] - library["us"]} for whole, library in both]
    yield from against("control", found)
    with servers.side_by_side() as running:
        for shapes, reviews in samples.SERIES.items():
            turns = {name: throughput.closed(server, reviews(asked), 1) for name, server in running.items()}
            yield from against("control", in_turns(turns, rounds), f"whole request, {shapes}: ")


if __name__ == "__main__":
    run(__doc__, "json.loads of the review for a stage, a constant Starlette route for the whole request", measure)
