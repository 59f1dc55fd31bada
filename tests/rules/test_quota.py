"""A Pod is charged, matched and refused as kube-apiserver does it, in its words: its vectors, and their edges."""

from typing import Any

import msgspec
import pytest

from tests import workloads
from tests.vectors import Data, amounts, cases, params, pod_of, quota_of, texts
from webhook.api import resource_list
from webhook.api.pod import Pod
from webhook.api.resource_quota import ResourceQuota, ScopeRequirement
from webhook.rules import quota
from webhook.rules.findings import Exceeded, NegativeUsage, StatusUnknown, Unspecified, Verdict, Violation

FILE = "quota.json"


def checked(pod: Pod, quotas: list[ResourceQuota], old: Pod | None = None) -> Verdict:
    return workloads.check(pod, quotas, old)


def in_scope(scope: ScopeRequirement, pod: Pod) -> bool:
    return workloads.in_scope(scope, pod)


def dying(case: Data) -> bool:
    """Deleted and past its grace: no such Pod is created or resized."""
    return "deletionTimestamp" in case["input"]["pod"].get("metadata", {})


def left_out(case: Data) -> bool:
    """Requests that are not put to this rule, and configuration of kube-apiserver that no webhook sees."""
    given = case["input"]
    # admission.decode passes on CREATE of pods and UPDATE of pods/resize, nothing else.
    foreign = (given["operation"], given["subresource"]) not in (("CREATE", ""), ("UPDATE", "resize"))
    # "insufficient quota to consume/match": limitedResources of the AdmissionConfiguration.
    configured = "insufficient quota to" in case["expect"].get("message", "")
    return foreign or configured


@pytest.mark.parametrize(("given", "expect"), params(c for c in cases(FILE, "usage") if not dying(c)))
def test_usage_and_qos_are_those_of_kubernetes(given: Data, expect: Data) -> None:
    pod = pod_of(given["pod"])
    if given.get("applyDefaults"):
        pod, _ = workloads.default(pod)
    assert (texts(workloads.usage(pod)), workloads.qos(pod)) == (expect["usage"], expect["qos"])


@pytest.mark.parametrize(
    ("given", "expect"),
    params(c for c in cases(FILE, "aggregateRequestsLimits") if "quotaUsage" in c["expect"]),
)
def test_effective_resources_are_charged(given: Data, expect: Data) -> None:
    assert texts(workloads.usage(pod_of(given["pod"]))) == expect["quotaUsage"]


@pytest.mark.parametrize(("given", "expect"), params(cases(FILE, "constraints")))
def test_what_a_quota_demands_of_every_container_is_named(given: Data, expect: Data) -> None:
    demanding = quota_of(a_quota("q", dict.fromkeys(given["required"], "1E")))
    assert [str(violation) for violation in checked(pod_of(given["pod"]), [demanding]).violations] == (
        [f"failed quota: q: {expect['error']}"] if expect["error"] else []
    )


@pytest.mark.parametrize(("given", "expect"), params(cases(FILE, "scopes")))
def test_scopes_match_the_pods_that_kubernetes_matches(given: Data, expect: Data) -> None:
    pod = pod_of(given["pod"])
    matched = [term for term in given["selectors"] if in_scope(msgspec.convert(term, ScopeRequirement), pod)]
    assert matched == expect["matched"]


@pytest.mark.parametrize(("given", "expect"), params(c for c in cases(FILE, "admission") if not left_out(c)))
def test_the_decision_is_that_of_kubernetes(given: Data, expect: Data) -> None:
    quotas = [quota_of(data) for data in given["quotas"]]
    old = pod_of(given["oldPod"]) if "oldPod" in given else None
    verdict = checked(pod_of(given["pod"]), quotas, old)
    assert (not verdict.violations) == expect["allowed"]
    if expect["allowed"]:
        used = {
            q.name: {**q.used, **resource_list.add(q.used, verdict.charges[q.name])}
            for q in quotas
            if verdict.charges.get(q.name)
        }
        assert {name: texts(value) for name, value in used.items()} == expect["newUsed"]
    else:
        # Kubernetes names the first; in the vectors that is the first by name, as it is here.
        assert expect["message"].endswith(f" is forbidden: {verdict.violations[0]}")


@pytest.mark.parametrize(
    ("given", "expect"),
    params(cases(FILE, "usageStats")),
)
def test_the_usage_of_a_namespace_is_the_sum_over_its_pods(given: Data, expect: Data) -> None:
    scopes = [ScopeRequirement(name) for name in given.get("scopes", ())]
    scopes += msgspec.convert(given.get("scopeSelector", []), list[ScopeRequirement])
    used = amounts({})
    for data in given["pods"]:
        pod = pod_of(data)
        if all(in_scope(scope, pod) for scope in scopes):
            used = resource_list.add(used, workloads.usage(pod))
    assert texts(used) == expect["used"]


def test_no_more_vectors_than_these_are_left_out() -> None:
    usage, admission = (cases(FILE, group) for group in ("usage", "admission"))
    assert (len(usage), len([c for c in usage if dying(c)])) == (83, 3)
    assert (len(admission), len([c for c in admission if left_out(c)])) == (156, 12)


def a_quota(name: str, hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> Data:
    status = {"hard": hard, "used": dict.fromkeys(hard, "0") if used is None else used}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


def pod_with(**requests: str) -> Data:
    return {"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}


@pytest.mark.parametrize(
    ("pod", "quotas", "violations", "worded"),
    [
        (pod_with(cpu="1"), [], (), []),
        (pod_with(cpu="1"), [a_quota("q", {"cpu": "1"})], (), []),
        (  # a quota without a name that Pods are charged under counts no Pod
            pod_with(cpu="1"),
            [a_quota("q", {"services": "0", "limits.nvidia.com/gpu": "0", "nvidia.com/gpu": "0"}, {})],
            (),
            [],
        ),
        (  # spec.hard is a wish
            pod_with(cpu="1"),
            [{"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "0"}}, "status": {}}],
            (),
            [],
        ),
        (  # everything that is exceeded is named, by name
            pod_with(cpu="2", memory="2Gi"),
            [
                a_quota("z", {"cpu": "1500m", "memory": "1Gi", "pods": "5"}, {"cpu": "1", "memory": "0", "pods": "1"}),
                a_quota("fits", {"pods": "1"}),
                a_quota("a", {"pods": "3"}, {"pods": "3"}),
            ],
            (
                Exceeded("a", ["pods"], amounts({"pods": "1"}), amounts({"pods": "3"}), amounts({"pods": "3"})),
                Exceeded(
                    "z",
                    ["cpu", "memory"],
                    amounts({"pods": "1", "cpu": "2", "memory": "2Gi"}),
                    amounts({"pods": "1", "cpu": "1", "memory": "0"}),
                    amounts({"pods": "5", "cpu": "1500m", "memory": "1Gi"}),
                ),
            ),
            [
                "exceeded quota: a, requested: pods=1, used: pods=3, limited: pods=3",
                "exceeded quota: z, requested: cpu=2,memory=2Gi, used: cpu=1,memory=0, limited: cpu=1500m,memory=1Gi",
            ],
        ),
        (  # what must be specified, and what is not counted yet, goes before what is exceeded
            pod_with(cpu="2"),
            [
                a_quota("a", {"cpu": "1"}),
                a_quota("b", {"memory": "1Gi", "limits.cpu": "1"}),
                a_quota("c", {"pods": "1", "cpu": "4"}, {"cpu": "1"}),
            ],
            (
                Unspecified("b", {"limits.cpu": ["c"], "memory": ["c"]}),
                StatusUnknown("c", ["cpu", "pods"]),
            ),
            [
                "failed quota: b: must specify limits.cpu for: c; memory for: c",
                "status unknown for quota: c, resources: cpu,pods",
            ],
        ),
        (
            pod_with(cpu="-1"),
            [a_quota("q", {"cpu": "1"})],
            (NegativeUsage(["cpu", "requests.cpu"]),),
            ["quota usage is negative for resource(s): cpu,requests.cpu"],
        ),
        (  # no class, no match
            {"spec": {"containers": [{}], "priorityClassName": "low"}},
            [
                a_quota(
                    "q",
                    {"pods": "0"},
                    scopeSelector={
                        "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                    },
                )
            ],
            (),
            [],
        ),
        ({"spec": {"containers": [{}]}}, [a_quota("q", {"pods": "0"}, scopes=["Terminating"])], (), []),
        ({"spec": {"containers": [{}]}}, [a_quota("q", {"pods": "0"}, scopes=["VolumeAttributesClass"])], (), []),
    ],
    ids=[
        *("no quota", "equal", "uncounted names", "spec.hard", "all exceeded", "flaws first", "negative"),
        *("class", "terminating", "unknown scope"),
    ],
)
def test_every_reason_is_given_in_the_words_of_kubernetes(
    pod: Data, quotas: list[Data], violations: tuple[Violation, ...], worded: list[str]
) -> None:
    found = checked(pod_of(pod), [quota_of(data) for data in quotas]).violations
    assert (found, [str(violation) for violation in found]) == (violations, worded)


def stored(data: Data) -> Pod:
    return pod_of({**data, "metadata": {"resourceVersion": "1"}})


@pytest.mark.parametrize(
    ("new", "old", "counted", "charged"),
    [
        (pod_with(cpu="3", memory="1Gi"), pod_with(cpu="1", memory="2Gi"), {}, {"cpu": "2"}),
        (pod_with(cpu="1"), pod_with(cpu="1"), {}, {}),
        (pod_with(cpu="1"), pod_with(cpu="2"), {}, {}),
        (pod_with(cpu="1", memory="1Gi"), pod_with(cpu="1"), {}, {"requests.memory": "1Gi"}),
        (  # a quota that did not count the old Pod is charged the new one in full
            pod_with(cpu="1"),
            {"spec": {**pod_with(cpu="1")["spec"], "activeDeadlineSeconds": 5}},
            {"scopes": ["NotTerminating"]},
            {"cpu": "1", "pods": "1"},
        ),
    ],
)
def test_a_resize_is_charged_for_what_it_adds(new: Data, old: Data, counted: Data, charged: dict[str, str]) -> None:
    hard = {"pods": "9", "cpu": "9", "requests.memory": "9Gi"} if "memory" in str(new) else {"pods": "9", "cpu": "9"}
    verdict = checked(pod_of(new), [quota_of(a_quota("q", hard, **counted))], stored(old))
    assert (verdict.violations, texts(verdict.charges["q"])) == ((), charged)


def test_an_old_pod_that_was_never_stored_is_no_discount() -> None:
    verdict = checked(pod_of(pod_with(cpu="2")), [quota_of(a_quota("q", {"cpu": "9"}))], pod_of(pod_with(cpu="1")))
    assert texts(verdict.charges["q"]) == {"cpu": "2"}


def test_a_resize_is_refused_for_what_it_adds() -> None:
    counted = quota_of(a_quota("q", {"cpu": "4", "pods": "1"}, {"cpu": "2", "pods": "1"}))
    verdict = checked(pod_of(pod_with(cpu="5")), [counted], stored(pod_with(cpu="2")))
    assert [str(violation) for violation in verdict.violations] == [
        "exceeded quota: q, requested: cpu=3, used: cpu=2, limited: cpu=4"
    ]


@pytest.mark.parametrize(
    ("name", "expect"),
    [
        *((name, True) for name in ("pods", "count/pods", "cpu", "requests.memory", "limits.ephemeral-storage")),
        *((name, True) for name in ("hugepages-2Mi", "requests.hugepages-1Gi", "requests.nvidia.com/gpu")),
        ("requests.deviceclass.resource.kubernetes.io/gpu", True),
        *((name, False) for name in ("services", "count/services", "nvidia.com/gpu", "limits.nvidia.com/gpu")),
        *((name, False) for name in ("requests.foo.kubernetes.io/x", "requests.storage", "limits.hugepages-2Mi", "")),
    ],
)
def test_a_quota_counts_pods_under_these_names(name: str, expect: bool) -> None:  # noqa: FBT001
    assert quota.is_charged(name) is expect


TERM = {"topologyKey": "zone", "labelSelector": {}}


@pytest.mark.parametrize(
    ("affinity", "expect"),
    [
        (None, False),
        ({}, False),
        ({"podAffinity": {}, "podAntiAffinity": None}, False),
        ({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}, False),
        ({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**TERM, "namespaces": []}]}}, False),
        ({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**TERM, "namespaces": ["a"]}]}}, True),
        ({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaceSelector": {}}]}}, True),
        (
            {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 1, "podAffinityTerm": None},
                        {"weight": 1, "podAffinityTerm": {**TERM, "namespaceSelector": {"matchLabels": {"a": "b"}}}},
                    ]
                }
            },
            True,
        ),
    ],
)
def test_affinity_to_other_namespaces_is_a_scope(affinity: Data | None, expect: bool) -> None:  # noqa: FBT001
    pod = pod_of({"spec": {"containers": [{}], "affinity": affinity}})
    assert in_scope(ScopeRequirement("CrossNamespacePodAffinity"), pod) is expect


@pytest.mark.parametrize(
    ("operator", "values", "matched"),
    [
        ("Exists", None, {"high", "low"}),
        ("DoesNotExist", None, {None, ""}),
        ("In", ["high"], {"high"}),
        ("In", None, set()),
        ("NotIn", ["high"], {"low", None, ""}),
        ("NotIn", None, {"high", "low", None, ""}),
        ("Gt", ["1"], set()),
    ],
)
def test_a_priority_class_is_matched_as_a_label_is(
    operator: str, values: list[str] | None, matched: set[str | None]
) -> None:
    scope = ScopeRequirement("PriorityClass", operator, values)
    names = ("high", "low", None, "")
    assert {n for n in names if in_scope(scope, pod_of({"spec": {"priorityClassName": n}}))} == matched
