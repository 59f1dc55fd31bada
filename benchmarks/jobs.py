"""Measure a decision about a job of each kind, against those about one Pod of each of its roles."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jsonpointer

from benchmarks.turns import Figure, Found, against, in_turns, microseconds, run
from tests.golden import GOLDEN, Case
from tests.jobs import spark_operator
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.jobs.role import Role
from webhook.policy.file import load

TODAY = "2026-11-25"
ROUNDS, REVIEWS = 15, 100
KINDS = ("ray-job", "spark-application", "dask-job", "pytorch-job", "tf-job", "mpi-job", "job-set")


def pod_of(job: dict[str, Any], role: Role) -> dict[str, Any]:
    """A Pod of the role as its operator creates it; Spark's is made of fields, not of a template."""
    found = jsonpointer.resolve_pointer(job, role.at)
    spec = found.get("spec") or spark_operator.pod(job, role.name)["spec"]
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": "j", "uid": "u", "controller": True}
    return {"metadata": {**job["metadata"], "ownerReferences": [owner]}, "spec": spec}


def wired(review: dict[str, Any]) -> bytes:
    """The review as Go writes it."""
    return json.dumps(review, separators=(",", ":")).encode()


def reviews_of_pods(review: dict[str, Any]) -> list[bytes]:
    """A review for one Pod of each role."""
    job = review["request"]["object"]
    roles = wire.decode(wired(review)).roles
    resource = {"group": "", "version": "v1", "resource": "pods"}
    made = [review["request"] | {"resource": resource, "object": pod_of(job, role)} for role in roles if role.is_ours]
    return [wired({**review, "request": request}) for request in made]


def decisions(case: Case, bodies: Sequence[bytes]) -> Callable[[], Found]:
    """A turn: decode, decide, and encode each of the reviews, some times."""
    policy = load(case.text("policy.yaml"), "policy.yaml").policy
    constraints = Constraints(case.ledger.quotas("flytesnacks-development", wire.decode(bodies[0]).meta))

    def decide(_: int) -> None:
        for body in bodies:
            request = wire.decode(body)
            encode(request, mutate(request, policy, constraints, TODAY))

    return lambda: microseconds(decide, REVIEWS)


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """Each kind, by the golden case of a job that is lowered."""
    for kind in KINDS:
        case = Case(GOLDEN / f"{kind}-clamped")
        body, pods = wired(case.review), reviews_of_pods(case.review)
        turns = {"control": decisions(case, pods), f"{kind}, {len(pods)} roles": decisions(case, [body])}
        yield from against("control", in_turns(turns, 1 if quick else ROUNDS))


if __name__ == "__main__":
    run(__doc__, "one Pod of each of its roles", measure)
