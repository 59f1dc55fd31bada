"""Pod creates (dry run) through a real kube-apiserver, by what is asked about them; a namespace for each case."""

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from benchmarks import load, samples, servers
from benchmarks.load import Target
from benchmarks.samples import Json
from benchmarks.turns import Figure, Found, against, in_turns, run
from tests.e2e.client import Client, wait_for
from tests.e2e.controlplane import binaries, processes
from tests.e2e.controlplane.processes import ControlPlane

POLICY: Final = Path(__file__).resolve().parent / "policy.yaml"
ROUNDS, CREATES = 7, {1: 150, 50: 600}
NONE, CONSTANT, ANNOTATING, PATCHING = "none", "constant", "constant-annotation", "constant-patch"
OURS, SHIPPED, IN_PROCESS, ASKED_ONCE = "webhook", "webhook-validating-too", "policy", "policy-never-reinvoked"
CASES: Final = (NONE, CONSTANT, ANNOTATING, PATCHING, OURS, SHIPPED, IN_PROCESS, ASKED_ONCE)
UNCHANGED: Final = (NONE, CONSTANT, ANNOTATING)  # which leave resources and tolerations as they come
RIVALS: Final = (OURS, SHIPPED, IN_PROCESS, ASKED_ONCE)
LEAST: Final = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}]  # the least that a patch may do
HARD: Final = {"count/pods": "90k", "requests.nvidia.com/gpu": "90k"}  # which nobody has to state in a container
REGISTRATION: Final = "/apis/admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class Cases:
    """A control plane in which each case has a namespace of its own."""

    plane: ControlPlane
    admin: Client

    def create(self, case: str, number: int = 0) -> Json:
        """The Pod as it would be stored."""
        return self.admin.created({**samples.pod(number, case), "kind": "Pod"}, dry_run=True)

    def target(self, case: str) -> Target:
        """Where Pods of the case are created."""
        url = f"{self.plane.url}/api/v1/namespaces/{case}/pods?dryRun=All"
        return Target(url, self.plane.ca, 201, f"Authorization: Bearer {self.plane.token}\r\n")

    def register(self, kind: str, case: str, target: Target, path: str = "/mutate") -> None:
        """Have the API server ask the webhook about Pods of the case."""
        ca_bundle = base64.b64encode(target.ca.read_bytes()).decode()
        webhook = {
            "name": f"{case}.benchmark.flyte.org",
            "clientConfig": {"url": target.url.removesuffix("/mutate") + path, "caBundle": ca_bundle},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
            **({"reinvocationPolicy": "IfNeeded"} if kind.startswith("mutating") else {}),
        }
        made = {"metadata": {"name": case}, "webhooks": [webhook]}
        self.admin.must("POST", f"{REGISTRATION}/{kind}", made)

    def add_namespaces(self) -> None:
        """One for each case, with a quota that has room for all."""
        for case in CASES:
            self.admin.created({"kind": "Namespace", "metadata": {"name": case}})
            quota = {"metadata": {"name": "q", "namespace": case}, "spec": {"hard": HARD}}
            self.admin.created({"kind": "ResourceQuota", **quota})
            wait_for("the quota to be in force", lambda case=case: self._quota(case))  # type: ignore[misc]

    def _quota(self, namespace: str) -> bool:
        return "hard" in self.admin.items("ResourceQuota", namespace)[0].get("status", {})

    def add_policy(self) -> None:
        """The CEL policy and its binding, as it is and as it would be if no later plugin changed a Pod."""
        for case, reinvocation in ((IN_PROCESS, "IfNeeded"), (ASKED_ONCE, "Never")):
            policy, binding = yaml.safe_load_all(POLICY.read_text())
            policy["metadata"]["name"] = binding["metadata"]["name"] = binding["spec"]["policyName"] = case
            policy["spec"]["reinvocationPolicy"] = reinvocation
            labels = {"kubernetes.io/metadata.name": case}
            binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] = labels
            self.admin.must("POST", f"{REGISTRATION}/mutatingadmissionpolicies", policy)
            self.admin.must("POST", f"{REGISTRATION}/mutatingadmissionpolicybindings", binding)

    def check(self) -> None:
        """Return once each case does with a Pod what it is there for."""
        for case in CASES:
            before = 6 if case in UNCHANGED else 4
            wait_for(f"{case} to be in force", lambda c=case, b=before: self._cpu(c) == str(b))  # type: ignore[misc]
        for number in range(samples.SHAPES):
            decided = {case: essence(self.create(case, number)) for case in CASES}
            if any(decided[case] != decided[PATCHING] for case in RIVALS):
                sys.exit(f"not the same is done: {json.dumps(decided, indent=1)}")

    def _cpu(self, case: str) -> str:
        return str(self.create(case)["spec"]["containers"][0]["resources"]["limits"]["cpu"])


def essence(pod: Json) -> Json:
    """What all that change a Pod agree on: resources and tolerations."""
    spec = pod["spec"]
    tolerations = sorted(json.dumps(toleration, sort_keys=True) for toleration in spec["tolerations"])
    return {"resources": [container["resources"] for container in spec["containers"]], "tolerations": tolerations}


def answer(target: Target, pod: Json) -> bytes:
    """What our webhook answers about the Pod, with UID for the request's uid."""
    review = json.loads(samples.review(0))
    review["request"] |= {"object": pod, "dryRun": True, "uid": "UID", "namespace": NONE}
    return load.answer(target, json.dumps(review).encode())


def least(answered: bytes) -> bytes:
    """The same answer, but that its patch is the least there may be."""
    review = json.loads(answered)
    review["response"]["patch"] = base64.b64encode(json.dumps(LEAST).encode()).decode()
    return json.dumps(review).encode()


def creates(cases: Cases, case: str, clients: int, count: int) -> Callable[[], Found]:
    """A turn: so many clients at once."""
    target = cases.target(case)
    bodies = [json.dumps(samples.pod(number, case)).encode() for number in range(count)]

    def turn() -> Found:
        found = load.closed(target, bodies, clients)
        p50 = {f"p50 at {clients}, ms": found.percentile(50)}
        return p50 if clients == 1 else {**p50, f"creates/s at {clients}": found.rate}

    return turn


def added(found: Mapping[str, Sequence[Found]]) -> dict[str, list[Found]]:
    """What each case adds to the latency without any, round by round."""
    base = [amounts["p50 at 1, ms"] for amounts in found[NONE]]
    return {
        case: [{"added p50 at 1, ms": r["p50 at 1, ms"] - b} for r, b in zip(rounds, base, strict=True)]
        for case, rounds in found.items()
        if case != NONE
    }


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """One client, then many."""
    rounds = 1 if quick else ROUNDS
    with ExitStack() as stack:
        cases = started(stack)
        for clients, count in CREATES.items():
            turns = {case: creates(cases, case, clients, 20 if quick else count) for case in CASES}
            found = in_turns(turns, rounds)
            yield from against(NONE, found, "to none: ")
            if clients == 1:
                more = added(found)
                yield from against(CONSTANT, more, "to constant: ")
                for control in (ANNOTATING, PATCHING):
                    yield from against(control, {case: more[case] for case in (control, *RIVALS)}, f"to {control}: ")
            else:
                for control in (IN_PROCESS, ASKED_ONCE):
                    yield from against(control, {case: found[case] for case in RIVALS}, f"to {control}: ")


def started(stack: ExitStack) -> Cases:
    """Everything that is asked, and the API server that asks it."""
    plane = stack.enter_context(processes.running(binaries.find(os.environ)))
    cases = Cases(plane, plane.client())
    stack.callback(cases.admin.close)
    cases.add_namespaces()
    ours = stack.enter_context(servers.ours(kubeconfig=plane.kubeconfig))
    ours.seconds_to_ready()
    constant = stack.enter_context(servers.control())
    answered = answer(ours.target(), cases.create(NONE))
    annotating = stack.enter_context(servers.control(least(answered)))
    patching = stack.enter_context(servers.control(answered))
    asked = {CONSTANT: constant, ANNOTATING: annotating, PATCHING: patching, OURS: ours, SHIPPED: ours}
    for case, server in asked.items():
        cases.register("mutatingwebhookconfigurations", case, server.target())
    cases.register("validatingwebhookconfigurations", SHIPPED, ours.target(), "/validate")
    cases.add_policy()
    cases.check()
    return cases


if __name__ == "__main__":
    run(__doc__, "named in each row: no webhook, a constant one, or the CEL policy", measure)
