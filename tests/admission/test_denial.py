"""Each refusal is read as it is meant: by both Flytes, who get it as an error, and by people, who get its words."""

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import workloads
from tests.apiserver import amount, effective
from tests.flyte_model import (
    Refusal,
    compute_resources,
    flyte_1,
    flyte_2,
    is_back_off,
    is_eligible,
    is_quota_exceeded,
)
from tests.vectors import Data, amounts, cases, params, quota_of, regexes
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.api.quantity import QuantityError
from webhook.offline.cases import readable
from webhook.policy.file import load
from webhook.rules import quota

TODAY = "2026-11-25"
thorough = settings(max_examples=60)


def of_the_vectors(given: Data) -> Refusal:
    error = given.get("create_error", given)
    return Refusal(error["http_code"], error["reason"], error.get("message") or error.get("message_contains", ""))


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "backoff.GetComputeResourceAndQuantity")))
def test_this_reads_out_of_a_refusal_what_flyte_1_does(given: Data, expect: Data) -> None:
    assert compute_resources(of_the_vectors(given), given["regex"]) == amounts(expect["exact"])


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "backoff.IsResourceQuotaExceeded")))
def test_this_knows_a_quota_by_what_flyte_1_does(given: Data, expect: Data) -> None:
    assert is_quota_exceeded(of_the_vectors(given)) == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "backoff.IsBackOffError")))
def test_this_backs_off_from_what_flyte_1_does(given: Data, expect: Data) -> None:
    assert is_back_off(of_the_vectors(given)) == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "backoff.isEligible")))
def test_this_takes_for_impossible_what_flyte_1_does(given: Data, expect: Data) -> None:
    assert is_eligible(amounts(given["requested"]), amounts(given["quota"])) == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "PluginManager.launchResource.derived")))
def test_this_makes_of_a_refusal_what_flyte_1_does(given: Data, expect: Data) -> None:
    outcome, code = flyte_1(of_the_vectors(given), given["flyte"])
    assert {"outcome": outcome, "code": code} == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "PluginManager.Handle")))
def test_this_gives_a_task_the_phase_that_flyte_1_does(given: Data, expect: Data) -> None:
    phase, code = flyte_1(of_the_vectors(given), backs_off=given["backoff_controller"])
    assert {"phase": phase, **({"code": code} if code else {})} == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v2.json", "PluginManager.launchResource")))
def test_this_gives_a_task_the_phase_that_flyte_2_does(given: Data, expect: Data) -> None:
    phase, code = flyte_2(of_the_vectors(given))
    assert (phase, code) == (expect["exact"]["phase"], expect["exact"]["code"])


V1 = {"execution-id": "f1", "project": "p", "domain": "d"}
V2 = {"flyte.org/managed": "true", "flyte.org/run": "r1", "project": "p", "domain": "d"}
RAY = [{"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "r", "uid": "u", "controller": True}]
FLYTE_1 = (
    {"labels": V1},
    {"labels": V1, "ownerReferences": [{"kind": "flyteworkflow", "name": "f1", "uid": "u", "controller": True}]},
    {"labels": V1, "ownerReferences": [{"kind": "RayCluster", "name": "r", "uid": "u", "controller": False}]},
)
FLYTE_2 = (
    {"labels": V2},
    {"labels": V2, "ownerReferences": [{"kind": "TaskAction", "name": "a", "uid": "u", "controller": True}]},
    {"labels": {"flyte.org/run": "r1"}},
)
OPERATORS = ({"labels": V1, "ownerReferences": RAY}, {"labels": V2, "ownerReferences": RAY})

# As they may stand in a Pod that the API server hands over, and in the status of a quota: canonical or echoed.
CPU = ("1m", "100m", "500m", "999m", "1", "1500m", "1.500", "2", "+2", "3", "4", "2e0", "1e3", "1k", "1E")
BYTES = ("1", "64Mi", "500M", "1Gi", "1536Mi", "1.500", "1e9", "1E9", "2G", "2Gi", "3Gi", "1Ti", "128974848000m", "+5")
PAGES = ("2Mi", "4Mi", "6Mi", "1Gi")
COUNTS = ("1", "2", "3", "8", "1k")
ODD = ("0", "1n", "100n", "0.1", "0.5", "1.5", "2.500", "1e0", "4e3", "1.5e3")
OF_A_POD: Mapping[str, st.SearchStrategy[str]] = {
    "cpu": st.sampled_from(CPU),
    "memory": st.sampled_from(BYTES),
    "ephemeral-storage": st.sampled_from(BYTES),
    "hugepages-2Mi": st.sampled_from(PAGES),
    "nvidia.com/gpu": st.sampled_from(COUNTS),
    "nvidia.com/mig-1g.5gb": st.sampled_from(COUNTS),
}
OF_A_QUOTA: Mapping[str, st.SearchStrategy[str]] = {
    "pods": st.sampled_from(("0", *COUNTS)),
    "count/pods": st.sampled_from(("0", *COUNTS)),
    "hugepages-2Mi": st.sampled_from(("0", *PAGES)),
    "requests.nvidia.com/gpu": st.sampled_from(("0", *COUNTS)),
    "requests.nvidia.com/mig-1g.5gb": st.sampled_from(("0", *COUNTS)),
    **{f"{side}cpu": st.sampled_from((*CPU, *ODD)) for side in ("", "requests.", "limits.")},
    **{f"{side}memory": st.sampled_from((*BYTES, *ODD, "1.5Gi")) for side in ("", "requests.", "limits.")},
    **{f"{side}ephemeral-storage": st.sampled_from((*BYTES, *ODD)) for side in ("", "requests.", "limits.")},
}


@st.composite
def containers(draw: st.DrawFn) -> Data:
    """With as much in limits as in requests, or more where that may be."""
    names = draw(st.lists(st.sampled_from([*OF_A_POD]), unique=True, min_size=1, max_size=4))
    limits = {name: draw(OF_A_POD[name]) for name in sorted(names)}
    requests = dict(limits)
    if "cpu" in limits and draw(st.booleans()):
        requests["cpu"] = min(limits["cpu"], draw(OF_A_POD["cpu"]), key=amount)
    return {"resources": {"requests": requests, "limits": limits}}


@st.composite
def quotas(draw: st.DrawFn) -> Data:
    names = sorted(draw(st.lists(st.sampled_from([*OF_A_QUOTA]), unique=True, min_size=1, max_size=5)))
    hard = {name: draw(OF_A_QUOTA[name]) for name in names}
    used = {name: draw(st.just("0") | st.just(hard[name]) | OF_A_QUOTA[name]) for name in names}
    if draw(st.integers(0, 9)) == 0:
        del used[names[0]]  # the quota controller has not come to it yet
    return {
        "metadata": {"name": draw(st.sampled_from(["a", "limits.cpu", "quota"]))},
        "status": {"hard": hard, "used": used},
    }


PODS = st.lists(containers(), min_size=1, max_size=2).map(
    lambda found: [{"name": f"c{i}", **container} for i, container in enumerate(found)]
)
SOME_QUOTAS = st.lists(quotas(), min_size=1, max_size=3, unique_by=lambda it: it["metadata"]["name"])


def request_of(metadata: Data, spec: list[Data]) -> wire.Request:
    pod = {"metadata": {"name": "p", **metadata}, "spec": {"containers": spec}}
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "p",
            "namespace": "n",
            "object": pod,
        },
    }
    return wire.decode(json.dumps(review).encode())


def answered(metadata: Data, spec: list[Data], found: list[Data], policy: str = "{}") -> Refusal | None:
    """The error that the client gets of the API server; None where the Pod is created."""
    request = request_of(metadata, spec)
    decision = mutate(request, load(policy, "policy.yaml").policy, Constraints([*map(quota_of, found)]), TODAY)
    response = readable(encode(request, decision))["response"]
    if response["allowed"]:
        return None
    status = response["status"]
    message = f'admission webhook "pods.flyte-admission.io" denied the request: {status["message"]}'
    return Refusal(status["code"], status["reason"], message, status.get("details", {}).get("retryAfterSeconds"))


def native(metadata: Data, spec: list[Data], found: list[Data]) -> str:
    """What kube-apiserver says: `test_quota` shows that these are its words."""
    request = request_of(metadata, spec)
    assert request.pod is not None
    pod, _ = workloads.default(request.pod)
    verdict = workloads.check(pod, [*map(quota_of, found)])
    return f'pods "p" is forbidden: {"; ".join(map(str, verdict.violations))}'


def expected(spec: list[Data], found: list[Data]) -> str | None:
    """Whether such a Pod fits, fits later, or never: by the rules of kube-apiserver, in fractions."""
    charges = charged(spec)
    tracked = [(q["status"]["hard"], q["status"]["used"]) for q in found]
    relevant = [(hard, used) for hard, used in tracked if any(map(quota.is_charged, hard))]
    demanded = {name for hard, _ in relevant for name in hard if name in quota.REQUIRED_NAMES}
    if any(unstated(container, name) for container in spec for name in demanded):
        return "never-fits"
    if any(name not in used for hard, used in relevant for name in hard if quota.is_charged(name)):
        return "fits-later"
    over = [
        charges[name] > amount(hard[name])
        for hard, used in relevant
        for name in hard
        if charges.get(name) and amount(used[name]) + charges[name] > amount(hard[name])
    ]
    return "never-fits" if any(over) else "fits-later" if over else None


def unstated(container: Data, name: str) -> bool:
    side, _, resource = name.rpartition(".")
    return resource not in container["resources"][side or "requests"]


def charged(spec: list[Data]) -> dict[str, Fraction]:
    pod = {"spec": {"containers": spec}}
    requests, limits = effective(pod, "requests"), effective(pod, "limits")
    return {
        "pods": Fraction(1),
        "count/pods": Fraction(1),
        **{name: value for name, value in requests.items() if "/" not in name},
        **{f"requests.{name}": value for name, value in requests.items()},
        **{f"limits.{name}": value for name, value in limits.items()},
    }


SIDES = ("requests", "limits")
BUSY = {"metadata": {"name": "a"}, "status": {"hard": {"limits.cpu": "4"}, "used": {"limits.cpu": "1"}}}
EXACTLY = [{"name": "c0", "resources": {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}}]


@thorough
@given(st.sampled_from(FLYTE_1), PODS, SOME_QUOTAS)
@example(FLYTE_1[0], EXACTLY, [BUSY])
def test_flyte_1_waits_for_what_fits_later_and_gives_up_what_never_does(
    metadata: Data, spec: list[Data], found: list[Data]
) -> None:
    error = answered(metadata, spec, found)
    outlook = expected(spec, found)
    if error is None:
        assert outlook is None
        return
    if outlook == "fits-later":
        assert error.code == 403
        assert flyte_1(error) == flyte_1(error, "v1.10.0") == ("WaitingForResources", None)
        assert flyte_1(error, backs_off=False) == ("WaitingForResources", None)
    else:
        for version in ("v1.10.0", "v1.16.6", "v1.16.8"):
            assert flyte_1(error, version) == ("PermanentFailure", "EntityTooLarge")


@thorough
@given(st.sampled_from(FLYTE_2), PODS, SOME_QUOTAS)
def test_the_client_of_flyte_2_asks_again_for_what_fits_later_and_it_gives_up_what_never_does(
    metadata: Data, spec: list[Data], found: list[Data]
) -> None:
    error = answered(metadata, spec, found)
    outlook = expected(spec, found)
    if error is None:
        assert outlook is None
        return
    if outlook == "fits-later":
        assert (error.code, error.reason, error.retry_after) == (429, "TooManyRequests", 2)
        assert flyte_2(error) == ("AsksAgain", None)
    else:
        for version in ("v2.0.14", "v2.0.43"):
            assert flyte_2(error, version) == ("PermanentFailure", "EntityTooLarge")


@thorough
@given(st.sampled_from(OPERATORS), PODS, SOME_QUOTAS)
def test_an_operator_gets_what_the_api_server_would_say(metadata: Data, spec: list[Data], found: list[Data]) -> None:
    error = answered(metadata, spec, found)
    if error is None:
        assert expected(spec, found) is None
        return
    assert (error.code, error.reason, error.retry_after) == (403, "Forbidden", None)
    said = error.message.partition("denied the request: ")[2]
    assert said.startswith(f"{native(metadata, spec, found)}; ")


LISTS = re.compile(r"(?<=requested: )[^ ]*(?=, used:)|(?<=used: )[^ ]*(?=, limited:)|(?<=limited:)  ?[^ ;]*")
WHOLE = re.compile(r" *([^=,]+=[0-9]+([numkMGTPE]|[KMGTPE]i)?,)*[^=,]+=[0-9]+([numkMGTPE]|[KMGTPE]i)?")


def is_whole(message: str) -> bool:
    """Whether all amounts are whole numbers with or without a suffix."""
    return all(map(WHOLE.fullmatch, LISTS.findall(message)))


@thorough
@given(st.sampled_from(FLYTE_1), PODS, SOME_QUOTAS)
def test_flyte_1_gets_the_words_of_the_api_server_wherever_it_would_not_misread_them(
    metadata: Data, spec: list[Data], found: list[Data]
) -> None:
    error = answered(metadata, spec, found)
    if error is None or error.code != 403:
        return
    assert is_whole(error.message)
    said = error.message.partition("denied the request: ")[2]
    original = native(metadata, spec, found)
    if flyte_1(error._replace(message=original)) == ("WaitingForResources", None) and is_whole(original):
        assert said.startswith(f"{original}; ")
    assert said.count("; short by ") + said.count("; the quota controller ") == 1


@thorough
@given(st.sampled_from((*FLYTE_1, *FLYTE_2, *OPERATORS)), PODS, SOME_QUOTAS)
def test_nothing_that_flyte_1_cuts_out_of_a_refusal_makes_it_panic(
    metadata: Data, spec: list[Data], found: list[Data]
) -> None:
    error = answered(metadata, spec, found)
    if error is None:
        return
    try:
        for regex in regexes("flyte_v1.json"):
            compute_resources(error, regex)
    except QuantityError as panic:
        pytest.fail(f"{panic} in {error.message}")


NEEDED = {
    "pods",
    "count/pods",
    *(f"{side}{name}" for side in ("", "requests.", "limits.") for name in ("cpu", "memory")),
}


def listed(text: str) -> dict[str, str]:
    """Amounts by name out of a sentence."""
    return dict(pair.split("=") for pair in text.split(", "))


def sized(spec: list[Data], most: Mapping[str, Fraction]) -> list[Data]:
    """The task with as much of what it asks for as these names of a quota allow, in one container: of none, nothing."""
    asked = charged(spec)
    names = sorted({name for container in spec for name in container["resources"]["limits"]})
    requests, limits = {}, {}
    for name in names:
        of_limits = [most[key] for key in (f"limits.{name}",) if key in most]
        of_requests = [most[key] for key in (name, f"requests.{name}") if key in most]
        if name in ("cpu", "memory", "ephemeral-storage"):
            limits[name] = min(of_limits, default=max([*of_requests, asked[f"limits.{name}"]]))
            requests[name] = min([*of_requests, limits[name]])
        else:
            limits[name] = requests[name] = min(of_requests, default=asked[f"requests.{name}"])
    sizes = {
        side: {name: f"{value * 1000}m" for name, value in found.items() if requests[name]}
        for side, found in (("requests", requests), ("limits", limits))
    }
    return [{"name": "c0", "resources": sizes}]


WITH_DISK = [{"name": "c0", "resources": {side: {"memory": "1", "ephemeral-storage": "1"} for side in SIDES}}]
NO_DISK = {
    "metadata": {"name": "a"},
    "status": {"hard": {"ephemeral-storage": "1"}, "used": {"ephemeral-storage": "1"}},
}
FINE = {"metadata": {"name": "a"}, "status": {"hard": {"limits.cpu": "1500100n"}, "used": {"limits.cpu": "0"}}}


@thorough
@given(st.sampled_from((*FLYTE_1, *FLYTE_2, *OPERATORS)), PODS, SOME_QUOTAS)
@example(FLYTE_1[0], EXACTLY, [FINE])
@example(FLYTE_1[0], WITH_DISK, [NO_DISK])
def test_the_largest_task_that_fits_now_fits_and_nothing_larger_does(
    metadata: Data, spec: list[Data], found: list[Data]
) -> None:
    error = answered(metadata, spec, found)
    if error is None or not (
        said := re.search("the largest task that fits now: ([^;]*);|no task fits now", error.message)
    ):
        return
    if said[1] is None:
        left = [
            (q["status"]["hard"], q["status"]["used"], name) for q in found for name in NEEDED & {*q["status"]["hard"]}
        ]
        assert any(amount(hard[name]) - amount(used[name]) < Fraction(1, 1000) for hard, used, name in left)
        return
    most = {name: amount(value) for name, value in listed(said[1]).items()}
    assert answered(metadata, sized(spec, most), found) is None, said[0]
    for name in most:
        step = Fraction(1, 1000) if name.endswith("cpu") else Fraction(1)
        larger = {key: value + step if key == name else 2 * value + step for key, value in most.items()}
        assert answered(metadata, sized(spec, larger), found) is not None, (name, said[0])


@thorough
@given(st.sampled_from((*FLYTE_1, *FLYTE_2, *OPERATORS)), PODS, SOME_QUOTAS)
def test_with_so_much_more_in_the_quotas_the_task_would_fit(
    metadata: Data, spec: list[Data], found: list[Data]
) -> None:
    error = answered(metadata, spec, found)
    if error is None or not (said := re.search("; short by ([^ ;]*)(; | even with)", error.message)):
        return
    short = {name: amount(value) for name, value in listed(said[1]).items()}
    alone = said[2] == " even with"

    def raised(by: Mapping[str, Fraction]) -> list[Data]:
        return [
            {
                "metadata": q["metadata"],
                "status": {
                    "hard": {
                        name: f"{(amount(value) + by.get(name, Fraction(0))) * 10**9}n"
                        for name, value in q["status"]["hard"].items()
                    },
                    "used": {name: "0" if alone else value for name, value in q["status"]["used"].items()},
                },
            }
            for q in found
        ]

    assert all(short.values())
    assert answered(metadata, spec, raised(short)) is None, said[0]
    for name, value in short.items():
        assert answered(metadata, spec, raised({**short, name: value - Fraction(1, 10**9)})) is not None


def spec_of(**limits: str) -> list[Data]:
    resources = {name.replace("_", "-"): value for name, value in limits.items()}
    resources = {("nvidia.com/gpu" if name == "gpu" else name): value for name, value in resources.items()}
    return [{"name": "c0", "resources": {"requests": dict(resources), "limits": resources}}]


def quota_named(name: str, **amounts_of: Any) -> Data:
    hard = {key: hard for key, (_, hard) in amounts_of["of"].items()}
    used = {key: used for key, (used, _) in amounts_of["of"].items() if used is not None}
    return {"metadata": {"name": name}, "status": {"hard": hard, "used": used}}


WAIT = "wait for other tasks to end, or ask for less"
LESS = "ask for less, or have an admin raise the quota"
CPU_3_OF_4 = quota_named("project-quota", of={"limits.cpu": ("3", "4")})


@pytest.mark.parametrize(
    ("metadata", "spec", "found", "answer", "message"),
    [
        (
            FLYTE_1[0], spec_of(cpu="2"), [CPU_3_OF_4], (403, "Forbidden", None),
            ("exceeded quota: project-quota, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4; "
            f"short by limits.cpu=1; the largest task that fits now: limits.cpu=1; {WAIT}"),
        ),
        (  # the same for Flyte 2: its client waits
            FLYTE_2[0], spec_of(cpu="2"), [CPU_3_OF_4], (429, "TooManyRequests", 2),
            ("exceeded quota: project-quota, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4; "
            f"short by limits.cpu=1; the largest task that fits now: limits.cpu=1; {WAIT}"),
        ),
        (
            OPERATORS[1], spec_of(cpu="2"), [CPU_3_OF_4], (403, "Forbidden", None),
            ("exceeded quota: project-quota, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4; "
            f"short by limits.cpu=1; the largest task that fits now: limits.cpu=1; {WAIT}"),
        ),
        (  # exactly the quota: Flyte 1 takes requested = limited for never, unless it cannot read the latter
            FLYTE_1[0], spec_of(cpu="4"), [CPU_3_OF_4], (403, "Forbidden", None),
            ("exceeded quota: project-quota, requested: limits.cpu=4, used: limits.cpu=3, limited:  limits.cpu=4; "
            f"short by limits.cpu=3; the largest task that fits now: limits.cpu=1; {WAIT}"),
        ),
        (  # to an operator as kube-apiserver has it
            OPERATORS[0], spec_of(cpu="4"), [CPU_3_OF_4], (403, "Forbidden", None),
            ("exceeded quota: project-quota, requested: limits.cpu=4, used: limits.cpu=3, limited: limits.cpu=4; "
            f"short by limits.cpu=3; the largest task that fits now: limits.cpu=1; {WAIT}"),
        ),
        (
            FLYTE_1[0], spec_of(cpu="5"), [CPU_3_OF_4], (413, "RequestEntityTooLarge", None),
            ("exceeded quota: project-quota, requested: limits.cpu=5, used: limits.cpu=3, limited: limits.cpu=4; "
            "never fits: at most limits.cpu=4; short by limits.cpu=1 with nothing else running; "
            f"the largest task that fits now: limits.cpu=1; {LESS}"),
        ),
        (  # GPUs, which Flyte 1 would wait for without end
            FLYTE_1[0], spec_of(gpu="16"), [quota_named("gpus", of={"requests.nvidia.com/gpu": ("6", "8")})],
            (413, "RequestEntityTooLarge", None),
            ("exceeded quota: gpus, requested: requests.nvidia.com/gpu=16, used: requests.nvidia.com/gpu=6, "
            "limited: requests.nvidia.com/gpu=8; never fits: at most requests.nvidia.com/gpu=8; "
            "short by requests.nvidia.com/gpu=8 with nothing else running; "
            f"the largest task that fits now: requests.nvidia.com/gpu=2; {LESS}"),
        ),
        (  # as a quota may be written, and as Flyte 1 would misread it
            FLYTE_1[0], spec_of(memory="1Gi"), [quota_named("q", of={"limits.memory": ("1.5Gi", "2.25Gi")})],
            (403, "Forbidden", None),
            ("exceeded quota: q, requested: limits.memory=1Gi, used: limits.memory=1536Mi, "
            "limited: limits.memory=2304Mi; "
            f"short by limits.memory=256Mi; the largest task that fits now: limits.memory=768Mi; {WAIT}"),
        ),
        (
            FLYTE_1[0], spec_of(cpu="2"), [quota_named("q", of={"pods": ("3", "3")})], (403, "Forbidden", None),
            ("exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3; "
            f"short by pods=1; no task fits now; {WAIT}"),
        ),
        (
            FLYTE_2[0], spec_of(cpu="2"), [quota_named("q", of={"requests.memory": ("1", "2")})],
            (413, "RequestEntityTooLarge", None),
            ("failed quota: q: must specify requests.memory for: c0; "
            "set them in the task, or have an admin set defaults for them"),
        ),
        (
            FLYTE_1[0], spec_of(cpu="2"), [quota_named("q", of={"limits.cpu": (None, "4")})], (403, "Forbidden", None),
            ("status unknown for quota: q, resources: limits.cpu, which is no exceeded quota yet; "
            "the quota controller has not counted them yet; try again"),
        ),
        (
            OPERATORS[0], spec_of(cpu="2"), [quota_named("q", of={"limits.cpu": (None, "4")})],
            (403, "Forbidden", None),
            ("status unknown for quota: q, resources: limits.cpu; "
            "the quota controller has not counted them yet; try again"),
        ),
        (
            FLYTE_1[0], spec_of(cpu="2", memory="2Gi"),
            [
                quota_named("a", of={"limits.cpu": ("3", "4"), "limits.memory": ("7Gi", "8Gi")}),
                quota_named("b", of={"limits.cpu": ("9", "10"), "pods": ("1", "5")}),
            ],
            (403, "Forbidden", None),
            ("exceeded quota: a, requested: limits.cpu=2,limits.memory=2Gi, used: limits.cpu=3,limits.memory=7Gi, "
            "limited: limits.cpu=4,limits.memory=8Gi; "
            "exceeded quota: b, requested: limits.cpu=2, used: limits.cpu=9, limited: limits.cpu=10; "
            "short by limits.cpu=1, limits.memory=1Gi; "
            f"the largest task that fits now: limits.cpu=1, limits.memory=1Gi; {WAIT}"),
        ),
    ],
)  # fmt: skip
def test_a_refusal_in_full(
    metadata: Data, spec: list[Data], found: list[Data], answer: tuple[int, str, int | None], message: str
) -> None:
    error = answered(metadata, spec, found)
    assert error is not None
    assert (error.code, error.reason, error.retry_after) == answer
    assert error.message.partition("denied the request: ")[2] == f'pods "p" is forbidden: {message}'


@pytest.mark.parametrize(
    ("verdicts", "metadata", "cpu", "answer"),
    [
        ({"fits_later": {"flyte1": 429}}, FLYTE_1[0], "2", (429, "TooManyRequests", 2)),
        ({"fits_later": {"flyte1": 429}, "retry_after_seconds": 5}, FLYTE_1[0], "2", (429, "TooManyRequests", 5)),
        ({"fits_later": {"flyte1": 429}}, FLYTE_2[0], "2", (429, "TooManyRequests", 2)),
        ({"fits_later": {"flyte2": 403}}, FLYTE_2[0], "2", (403, "Forbidden", None)),
        ({"fits_later": {"operator": 429}}, OPERATORS[0], "2", (429, "TooManyRequests", 2)),
        ({"never_fits": {"flyte1": 422}}, FLYTE_1[0], "5", (422, "Invalid", None)),
        ({"never_fits": {"flyte1": 422}}, FLYTE_2[0], "5", (413, "RequestEntityTooLarge", None)),
        ({"never_fits": {"flyte1": 422}}, OPERATORS[0], "5", (403, "Forbidden", None)),
        ({"never_fits": {"operator": 413}}, OPERATORS[0], "5", (413, "RequestEntityTooLarge", None)),
        ({"never_fits": {"flyte1": 422}}, FLYTE_1[0], "2", (403, "Forbidden", None)),
    ],
)
def test_the_policy_has_the_table_of_verdicts(
    verdicts: Data, metadata: Data, cpu: str, answer: tuple[int, str, int | None]
) -> None:
    error = answered(metadata, spec_of(cpu=cpu), [CPU_3_OF_4], json.dumps({"verdicts": verdicts}))
    assert error is not None
    assert (error.code, error.reason, error.retry_after) == answer


def test_an_owner_that_is_not_in_control_is_no_operator() -> None:
    error = answered(FLYTE_1[2], spec_of(cpu="5"), [CPU_3_OF_4])
    assert error is not None
    assert error.code == 413


@pytest.mark.parametrize("kind", ["RayCluster", "SparkApplication", "PyTorchJob", "ReplicaSet", "Job", "JobSet"])
@pytest.mark.parametrize("labels", [V1, V2])
def test_whoever_controls_the_pod_but_flyte_is_an_operator(kind: str, labels: Data) -> None:
    owner = {"kind": kind, "name": "o", "uid": "u", "controller": True}
    error = answered({"labels": labels, "ownerReferences": [owner]}, spec_of(cpu="5"), [CPU_3_OF_4])
    assert error is not None
    assert error.code == 403


@pytest.mark.parametrize(
    ("kind", "labels", "code"),
    [
        ("flyteworkflow", V1, 403), ("FlyteWorkflow", V1, 403), ("flyteworkflow", {**V1, **V2}, 403),
        ("TaskAction", V2, 429), ("taskaction", V2, 429), ("TaskAction", {**V1, **V2}, 429), ("TaskAction", V1, 429),
    ],
)  # fmt: skip
def test_flytes_own_owner_says_which_flyte_gets_the_answer_whatever_the_labels(
    kind: str, labels: Data, code: int
) -> None:
    owner = {"kind": kind, "name": "o", "uid": "u", "controller": True}
    error = answered({"labels": labels, "ownerReferences": [owner]}, spec_of(cpu="2"), [CPU_3_OF_4])
    assert error is not None
    assert error.code == code


def test_the_retry_after_is_where_the_api_server_takes_it_from() -> None:
    request = request_of(FLYTE_2[0], spec_of(cpu="2"))
    decision = mutate(request, load("{}", "policy.yaml").policy, Constraints([quota_of(CPU_3_OF_4)]), TODAY)
    status = msgspec.json.decode(encode(request, decision))["response"]["status"]
    assert status["details"] == {"retryAfterSeconds": 2}


@pytest.mark.parametrize(
    ("cpu", "used", "message"),
    [
        (
            "6", "5",
            ("exceeded quota: q, requested: limits.cpu=4, used: limits.cpu=5, limited: limits.cpu=8; short by "
            f"limits.cpu=1; the most that it can grow by now: limits.cpu=3; {WAIT}"),
        ),
        (
            "9", "5",
            ("exceeded quota: q, requested: limits.cpu=7, used: limits.cpu=5, limited: limits.cpu=8; never fits: "
            "it can grow by at most limits.cpu=6; short by limits.cpu=1 with nothing else running; "
            f"the most that it can grow by now: limits.cpu=3; {LESS}"),
        ),
        (
            "3", "8",
            ("exceeded quota: q, requested: limits.cpu=1, used: limits.cpu=8, limited: limits.cpu=8; short by "
            f"limits.cpu=1; it cannot grow now; {WAIT}"),
        ),
    ],
)  # fmt: skip
def test_a_pod_that_cannot_grow_is_told_by_how_much_it_can(cpu: str, used: str, message: str) -> None:
    """Of two cpu; no Flyte resizes, so whoever does gets the native text."""
    meta = {"name": "p", "resourceVersion": "7", **FLYTE_1[0]}
    pods = [{"metadata": meta, "spec": {"containers": spec_of(cpu=size)}} for size in (cpu, "2")]
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": "UPDATE",
            "subResource": "resize",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "n",
            "object": pods[0],
            "oldObject": pods[1],
        },
    }
    request = wire.decode(json.dumps(review).encode())
    found = quota_of(quota_named("q", of={"limits.cpu": (used, "8")}))
    decision = mutate(request, load("{}", "policy.yaml").policy, Constraints([found]), TODAY)
    status = readable(encode(request, decision))["response"]["status"]
    assert (status["code"], status["message"]) == (403, f'pods "p" is forbidden: {message}')
