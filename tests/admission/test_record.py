"""What was changed is on the Pod, in the audit log and in warnings; the Pod as it came is to be had from it."""

import base64
import copy
import json
import re
from typing import Any

import jsonpatch
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.apiserver import amount, defaulted, handed_over
from tests.vectors import Data
from webhook.admission import record as trace
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.policy.file import load
from webhook.rules.findings import Change

TODAY = "2026-11-25"
ANNOTATION = "flyte-admission.io/changes"
GPU = "nvidia.com/gpu"
MOST = 256 * 1024  # of all annotations: TotalAnnotationSizeLimitB of apimachinery
POLICY = json.dumps(
    {
        "task_resources": {
            "defaults": {"cpu": "500m", "memory": "1Gi", "gpu": 1},
            "limits": {"cpu": 2, "memory": "2Gi", "gpu": 2, "ephemeralStorage": "5Gi"},
        },
        "secondary_defaults": {"cpu": "100m"},
        "plugins": {"k8s": {"default-tolerations": [{"key": "flyte", "operator": "Exists"}]}},
        "warnings": True,
    }
)


def review_of(pod: Data) -> bytes:
    request = {
        "uid": "u",
        "operation": "CREATE",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "flytesnacks-development",
        "object": pod,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def response_to(pod: Data, policy: str = POLICY) -> Data:
    request = wire.decode(review_of(pod))
    decision = mutate(request, load(policy, "policy.yaml").policy, Constraints(), TODAY)
    response: Data = json.loads(encode(request, decision))["response"]
    return response


def reviewed(pod: Data, policy: str = POLICY) -> Data:
    """The Pod as it is stored."""
    response = response_to(pod, policy)
    if "patch" not in response:
        return pod
    patched: Data = jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))
    return patched


def put_back(pod: Data) -> Data:
    """The Pod as its author made it, from what is noted on it."""
    pod = copy.deepcopy(pod)
    note = (pod["metadata"].get("annotations") or {}).pop(ANNOTATION, None)
    for change in json.loads(note)["changes"] if note else ():
        before, after = change["from"], change["to"]
        if change["path"] == "/spec/tolerations/-":
            pod["spec"]["tolerations"].remove(after)
            continue
        where, _, place = change["path"].partition("/resources/")
        side, _, name = place.partition("/")
        name = name.replace("~1", "/").replace("~0", "~")
        _, _, kind, container = where.split("/") if where != "/spec" else ("", "", "", "")
        holder = next(it for it in pod["spec"][kind] if it["name"] == container) if kind else pod["spec"]
        assert holder["resources"][side][name] == after
        if before is None:
            del holder["resources"][side][name]
        else:
            holder["resources"][side][name] = before
    return pod


def without_empty(value: Any) -> Any:
    """With absent, null and empty for the same, as the API server has them."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [])}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


AMOUNTS = {
    "cpu": ["0", "1m", "100m", "1", "1500m", "1.500", "2", "3", "4e0", "64"],
    "memory": ["0", "64Mi", "1Gi", "2Gi", "1e9", "3Gi", "1Ti"],
    "ephemeral-storage": ["1Gi", "10Gi"],
    GPU: ["0", "1", "2", "8"],
    "example.com/a~b": ["1", "2"],
}
BLOCKS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        side: st.none()
        | st.fixed_dictionaries({}, optional={name: st.sampled_from(of) for name, of in AMOUNTS.items()})
        for side in ("requests", "limits")
    },
)
TOLERATIONS = st.sampled_from(
    [
        {"key": "flyte", "operator": "Exists"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3},
        {"key": "own"},
    ]
)


@st.composite
def pods(draw: st.DrawFn) -> Data:
    spec: Data = {}
    for kind, prefix, least in (("containers", "c", 1), ("initContainers", "i", 0)):
        found = draw(st.lists(BLOCKS, min_size=least, max_size=3))
        spec[kind] = [{"name": f"{prefix}{index}", "image": "i", "resources": it} for index, it in enumerate(found)]
    spec["containers"][0]["name"] = "p"  # Flyte gives the container that runs the task the name of its Pod
    if draw(st.booleans()):
        spec["tolerations"] = draw(st.none() | st.lists(TOLERATIONS, max_size=3))
    if draw(st.booleans()):
        cpu = draw(st.sampled_from(AMOUNTS["cpu"]))
        spec["resources"] = {"limits": {"cpu": cpu}, "requests": {"cpu": cpu}}
    metadata: Data = {"name": "p", "labels": {"execution-id": "f1"}}
    if draw(st.booleans()):
        metadata["annotations"] = draw(st.none() | st.just({"primary_container_name": "c1", "own": "note"}))
    return {"metadata": metadata, "spec": spec}


thorough = settings(max_examples=50)


@thorough
@given(pods())
def test_the_pod_as_it_came_can_be_had_from_the_annotation_alone(pod: Data) -> None:
    assert without_empty(put_back(reviewed(pod))) == without_empty(pod)


SIDECAR = {"name": "istio-proxy", "image": "istio", "resources": {"limits": {"cpu": "8", GPU: "4"}}}


@thorough
@given(pods(), st.booleans(), st.sampled_from(["containers", "initContainers"]))
def test_also_where_a_sidecar_got_in_front_between_two_reviews(pod: Data, raises: bool, kind: str) -> None:  # noqa: FBT001
    assume("resources" not in pod["spec"])  # what is shared out then depends on the sidecar too
    once = reviewed(pod)
    once["spec"][kind] = [copy.deepcopy(SIDECAR), *(once["spec"].get(kind) or ())]
    expect = copy.deepcopy(pod)
    expect["spec"][kind] = [copy.deepcopy(SIDECAR), *(expect["spec"].get(kind) or ())]
    if raises:  # and something of ours was changed again in between
        for container in once["spec"]["containers"][-1:]:
            resources = container["resources"] or {}
            container["resources"] = {**resources, "limits": {**(resources.get("limits") or {}), "cpu": "32"}}
    twice = reviewed(once)
    back = put_back(twice)
    note = json.loads(twice["metadata"]["annotations"][ANNOTATION])
    if raises and not any(c["path"].endswith(f"/{once['spec']['containers'][-1]['name']}/resources/limits/cpu") for c in
                          note["changes"]):  # fmt: skip
        pytest.fail("what was clamped the second time is noted")
    last = expect["spec"]["containers"][-1]["name"]
    for found in (back, expect):
        if raises:  # what came in between is not the author's
            touched = next(it for it in found["spec"]["containers"] if it["name"] == last)
            ((touched.get("resources") or {}).get("limits") or {}).pop("cpu", None)
    assert without_empty(back) == without_empty(expect)
    assert reviewed(twice) == twice


def test_the_first_value_is_the_one_that_is_kept() -> None:
    pod: Data = {
        "metadata": {"labels": {"execution-id": "f1"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "8"}, "requests": {"cpu": "8"}}}]},
    }
    once = reviewed(pod)
    once["spec"]["containers"].append({"name": "late", "resources": {"limits": {"cpu": "8"}}})
    note = json.loads(reviewed(once)["metadata"]["annotations"][ANNOTATION])
    (limit,) = (change for change in note["changes"] if change["path"].endswith("/c/resources/limits/cpu"))
    assert (limit["from"], limit["to"], limit["why"]) == ("8", "2", "over the maximum 2")


def test_a_claim_of_what_the_rules_would_not_leave_hides_nothing() -> None:
    pod = claiming({**LIMIT, "from": None, "to": "64"})
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "64"
    changes = json.loads(response_to(pod)["auditAnnotations"]["changes"])["changes"]
    assert ("64", "2") in {(change["from"], change["to"]) for change in changes if change["path"] == LIMIT["path"]}


@pytest.mark.parametrize("note", ["rubbish", json.dumps({"policy": "x", "omitted": 7, "changes": []})])
def test_a_record_on_a_pod_that_needs_no_change_is_taken_away(note: str) -> None:
    pod = reviewed({"metadata": {"labels": {"execution-id": "f1"}}, "spec": {"containers": [{"name": "c"}]}})
    pod["metadata"]["annotations"][ANNOTATION] = note
    later = reviewed(pod)
    assert ANNOTATION not in later["metadata"]["annotations"]
    assert "auditAnnotations" not in response_to(pod)


def test_what_another_webhook_has_changed_since_is_told_as_it_was_found() -> None:
    asked = {"cpu": "8"}
    pod: Data = {
        "metadata": {"labels": {"execution-id": "f1"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": asked, "requests": asked}}]},
    }
    once = reviewed(pod)
    once["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "32"  # by another webhook
    note = json.loads(reviewed(once)["metadata"]["annotations"][ANNOTATION])
    (limit,) = (change for change in note["changes"] if change["path"].endswith("/limits/cpu"))
    assert (limit["from"], limit["to"], limit["why"]) == ("32", "2", "over the maximum 2")


def containers_of(count: int) -> Data:
    """A Pod with very much to note."""
    many = [{"name": f"c{index}", "resources": {"limits": {"cpu": "8"}}} for index in range(count)]
    return {"metadata": {"labels": {"execution-id": "f1"}}, "spec": {"containers": many}}


def size(annotations: dict[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


def test_a_note_that_is_too_long_says_how_many_changes_it_leaves_out() -> None:
    pod = containers_of(100)
    pod["metadata"]["annotations"] = {"own": "x" * (MOST - 4096)}
    response = response_to(pod)
    note = json.loads(reviewed(pod)["metadata"]["annotations"][ANNOTATION])
    changes = json.loads(response["auditAnnotations"]["changes"])["changes"]
    assert note == {"policy": load(POLICY, "p").policy.digest, "omitted": len(changes)}


def test_a_number_of_changes_is_taken_away_by_the_next_review_for_an_author_may_have_written_it() -> None:
    pod = containers_of(100)
    pod["metadata"]["annotations"] = {"own": "x" * (MOST - 4096)}
    noted = reviewed(pod)
    assert [*noted["metadata"]["annotations"]] == ["own", ANNOTATION]
    assert [*reviewed(noted)["metadata"]["annotations"]] == ["own"]
    assert "auditAnnotations" not in response_to(noted)


def test_a_record_of_the_authors_is_taken_away_where_there_is_no_room_for_ours() -> None:
    pod = containers_of(1)
    pod["metadata"]["annotations"] = {"own": "x" * (MOST - len(ANNOTATION) - 10), ANNOTATION: "mine"}
    assert [*reviewed(pod)["metadata"]["annotations"]] == ["own"]


@pytest.mark.parametrize("short_by", [0, 1])
@pytest.mark.parametrize("letter", ["x", "ü"])
def test_the_annotations_fill_their_room_to_the_byte_and_no_further(short_by: int, letter: str) -> None:
    pod = containers_of(1)
    note = reviewed(pod)["metadata"]["annotations"]
    room = MOST - size(note) - len("own") + short_by
    own = letter * (room // len(letter.encode())) + "y" * (room % len(letter.encode()))
    pod["metadata"]["annotations"] = {"own": own}
    annotations = reviewed(pod)["metadata"]["annotations"]
    assert size(annotations) <= MOST
    assert json.loads(annotations[ANNOTATION]).get("omitted", 0) == (0 if short_by == 0 else 8)


def test_where_there_is_no_room_at_all_the_pod_is_changed_all_the_same() -> None:
    pod = containers_of(1)
    pod["metadata"]["annotations"] = {"own": "x" * (MOST - 10)}
    stored = reviewed(pod)
    assert stored["metadata"] == pod["metadata"]
    assert stored["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "2"
    assert "changes" in response_to(pod)["auditAnnotations"]


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "null", "[]", "{}", "{", '{"policy": 1}', '{"policy": "a", "changes": [{}]}', "[" * 5000, "\u2028", None],
)
def test_an_annotation_of_the_authors_own_is_overwritten(garbage: str | None) -> None:
    pod = containers_of(1)
    pod["metadata"]["annotations"] = {ANNOTATION: garbage}
    stored = reviewed(pod)
    note = json.loads(stored["metadata"]["annotations"][ANNOTATION])
    assert (len(note["changes"]), note.get("omitted")) == (8, None)
    del pod["metadata"]["annotations"]
    assert without_empty(put_back(stored)) == without_empty(pod)


def test_a_resize_notes_nothing_on_the_pod_but_in_the_audit_log() -> None:
    old = containers_of(1)
    old["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    review = json.loads(review_of(containers_of(1)))
    review["request"] |= {"operation": "UPDATE", "subResource": "resize", "oldObject": old}
    request = wire.decode(json.dumps(review).encode())
    decision = mutate(request, load(POLICY, "policy.yaml").policy, Constraints(), TODAY)
    response = json.loads(encode(request, decision))["response"]
    assert [it["path"] for it in json.loads(base64.b64decode(response["patch"]))] == [
        "/spec/containers/0/resources/limits/cpu"
    ]
    assert len(json.loads(response["auditAnnotations"]["changes"])["changes"]) == 1


QUALIFIED = re.compile("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
NAMES = st.text(min_size=1, max_size=80).filter(lambda name: name.isprintable() or "\n" in name)


@thorough
@given(pods(), st.sampled_from(["enforce", "warn", "audit"]), st.data())
def test_audit_annotations_and_warnings_are_as_the_api_server_wants_them(
    pod: Data, mode: str, data: st.DataObject
) -> None:
    for container in pod["spec"]["containers"]:  # before validation, a name may be anything
        container["name"] = data.draw(NAMES)
    pod["spec"]["containers"] *= data.draw(st.integers(1, 12))
    exempt = {"match": {"project": "flytesnacks"}, "skip": ["fill"], "reason": "because", "until": "2030-01-01"}
    policy = json.loads(POLICY) | {"mode": mode, "exemptions": [exempt] if data.draw(st.booleans()) else []}
    response = response_to(pod, json.dumps(policy))
    notes = response.get("auditAnnotations", {})
    assert all(QUALIFIED.fullmatch(key) for key in notes)
    assert all(isinstance(value, str) for value in notes.values())
    warnings = response.get("warnings", [])
    assert all(0 < len(warning) <= 120 and warning.isascii() and warning.isprintable() for warning in warnings)
    assert sum(map(len, warnings)) <= 4096
    if mode == "audit":
        assert warnings == []


def test_warnings_are_the_changes_in_brief_the_weightiest_first() -> None:
    pod = containers_of(1)
    asked = {"cpu": "8", GPU: "8", "ephemeral-storage": "1Gi"}
    pod["spec"]["containers"][0]["resources"] = {"limits": asked, "requests": {**asked, "cpu": "1"}}
    assert response_to(pod)["warnings"] == [
        "lowered: limits cpu of c0 from 8 to 2 (over the maximum 2)",
        "lowered: limits nvidia.com/gpu of c0 from 8 to 2 (over the maximum 2)",
        "lowered: requests nvidia.com/gpu of c0 from 8 to 2 (over the maximum 2)",
        "tolerated: nvidia.com/gpu:NoSchedule (the Pod uses nvidia.com/gpu)",
        "tolerated: flyte:every effect (every task has it)",
        "set: requests memory of c0 to 1Gi (not set; the default)",
        "set: limits memory of c0 to 1Gi (not set; same as the request)",
    ]


def test_a_toleration_of_everything_is_told_as_such() -> None:
    policy = {"plugins": {"k8s": {"default-tolerations": [{"operator": "Exists"}]}}, "warnings": True}
    pod = {"metadata": {"labels": {"execution-id": "f1"}}, "spec": {"containers": [{"name": "c"}]}}
    assert response_to(pod, json.dumps(policy))["warnings"] == [
        "tolerated: everything:every effect (every task has it)"
    ]


def test_more_warnings_than_anybody_reads_are_counted() -> None:
    warnings = response_to(containers_of(30))["warnings"]
    assert len(warnings) == 20
    assert re.fullmatch("and [0-9]+ more changes, which the audit log has", warnings[-1])


def test_without_the_setting_changes_are_no_warnings() -> None:
    policy = {**json.loads(POLICY), "warnings": False}
    assert "warnings" not in response_to(containers_of(1), json.dumps(policy))


@pytest.mark.parametrize(
    ("before", "after", "expect"),
    [
        ("6", "4", "lowered: limits nvidia.com/gpu of c from 6 to 4 (why)"),
        ("6", "8", "raised: limits nvidia.com/gpu of c from 6 to 8 (why)"),
        ("1500m", "1.5", "set: limits nvidia.com/gpu of c from 1500m to 1.5 (why)"),
        ("0", "1", "set: limits nvidia.com/gpu of c from 0 to 1 (why)"),
        (None, "1", "set: limits nvidia.com/gpu of c to 1 (why)"),
        ("two", "1", "set: limits nvidia.com/gpu of c from two to 1 (why)"),
        ("1", None, "removed: limits nvidia.com/gpu of c, which was 1 (why)"),
    ],
)
@pytest.mark.parametrize("name", ["nvidia.com/gpu", "nvidia.com~1gpu"])
def test_a_change_says_what_became_of_the_value_whatever_rule_made_it(
    name: str, before: str | None, after: str | None, expect: str
) -> None:
    change = Change(f"/spec/containers/c/resources/limits/{name}", before, after, "clamp", "why")
    assert trace.in_brief(change) == expect


def test_the_annotation_the_audit_log_and_the_patch_tell_the_same() -> None:
    pod = containers_of(2)
    response, stored = response_to(pod), reviewed(pod)
    assert response["auditAnnotations"]["changes"] == stored["metadata"]["annotations"][ANNOTATION]
    operations = json.loads(base64.b64decode(response["patch"]))
    told = json.loads(response["auditAnnotations"]["changes"])["changes"]
    assert all({*change} == {"path", "from", "to", "rule", "why"} for change in told)
    for change in told:
        if "/containers/" in change["path"]:
            _, _, _, name, _, side, resource = change["path"].split("/", 6)
            container = next(it for it in stored["spec"]["containers"] if it["name"] == name)
            assert amount(container["resources"][side][resource]) == amount(change["to"])
    assert operations


def test_a_second_record_has_a_key_of_its_own_in_the_audit_log() -> None:
    stored = reviewed(containers_of(1))
    assert "auditAnnotations" not in response_to(stored)
    stored["spec"]["containers"].append({"name": "late", "resources": {"limits": {"cpu": "8"}}})
    notes = response_to(stored)["auditAnnotations"]
    assert [*notes] == ["more-changes"]
    paths = [change["path"] for change in json.loads(notes["more-changes"])["changes"]]
    assert "/spec/containers/c0/resources/limits/cpu" in paths
    assert "/spec/containers/late/resources/limits/cpu" in paths


FORGED = [
    {
        "path": "/spec/containers/c/resources/limits/cpu",
        "from": "2",
        "to": "2",
        "rule": "clamp",
        "why": "nothing to see",
    },
    {
        "path": "/spec/containers/c/resources/limits/cpu",
        "from": "2",
        "to": "two",
        "rule": "clamp",
        "why": "nothing to see",
    },
    {"path": "/spec/containers/c/resources/limits/cpu", "from": "2", "to": 2, "rule": "clamp", "why": "me"},
    {"path": "/spec/containers/gone/resources/limits/cpu", "from": "9", "to": "2", "rule": "clamp", "why": "me"},
    {"path": "/spec/containers/c/resources/limits/cpu", "from": "2", "to": "8", "rule": "clamp", "why": "x" * 501},
    {"path": "/spec/tolerations/-", "from": None, "to": {"key": "mine"}, "rule": "tolerate", "why": "me"},
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
def test_a_record_that_is_not_of_what_the_pod_has_is_dropped(forged: Data) -> None:
    asked = {"cpu": "8"}
    note = json.dumps({"policy": "x", "changes": [forged]})
    pod: Data = {
        "metadata": {"labels": {"execution-id": "f1"}, "annotations": {ANNOTATION: note}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": asked, "requests": asked}}]},
    }
    told = json.loads(reviewed(pod)["metadata"]["annotations"][ANNOTATION])["changes"]
    (limit,) = (change for change in told if change["path"].endswith("/limits/cpu"))
    assert (limit["from"], limit["to"], limit["why"]) == ("8", "2", "over the maximum 2")
    assert not [change for change in told if change["why"] == "me"]


def claiming(*changes: Data, omitted: int = 0) -> Data:
    """A Pod of 2 cpu, with a record that its author has written."""
    amounts = {"cpu": "2", "memory": "1Gi"}
    return {
        "metadata": {
            "labels": {"execution-id": "f1"},
            "annotations": {ANNOTATION: json.dumps({"policy": "x", "omitted": omitted, "changes": changes})},
        },
        "spec": {"containers": [{"name": "c", "resources": {"limits": amounts, "requests": amounts}}]},
    }


LIMIT = {"path": "/spec/containers/c/resources/limits/cpu", "to": "2", "rule": "clamp", "why": "mine"}


@pytest.mark.parametrize(
    ("claim", "kept"),
    [
        ({**LIMIT, "from": "64"}, "64"),
        ({**LIMIT, "from": "1"}, None),
        ({**LIMIT, "from": "2"}, None),
        ({**LIMIT, "from": "lots"}, None),
        ({**LIMIT, "from": 64}, None),
        ({**LIMIT, "from": "64", "to": "3"}, None),
        ({**LIMIT, "from": None, "path": "/spec/containers/c/resources/claims/cpu"}, None),
        ({**LIMIT, "from": "64", "path": "/spec/nodeName"}, None),
        ({**LIMIT, "from": "64", "to": None}, None),
        ({**LIMIT, "from": None, "to": None}, None),
        ({**LIMIT, "from": "64", "to": None, "path": "/spec/containers/c/resources/limits/ephemeral-storage"}, None),
        ({**LIMIT, "from": None, "path": "/spec/tolerations/-", "to": {"key": "flyte", "operator": "Exists"}}, None),
        ({**LIMIT, "from": None, "path": "/spec/tolerations/-", "to": {"key": ["flyte"]}}, None),
    ],
)
def test_of_an_earlier_record_only_what_the_rules_would_do_again_is_kept_in_their_words(
    claim: Data, kept: str | None
) -> None:
    notes = response_to(claiming(claim, omitted=9))["auditAnnotations"]
    assert [*notes] == ["changes" if kept is None else "more-changes"]
    record = json.loads(notes["changes" if kept is None else "more-changes"])
    assert "mine" not in json.dumps(record)
    assert "omitted" not in record
    assert [change["from"] for change in record["changes"] if change["path"] == LIMIT["path"]] == (
        [kept] if kept else []
    )


def test_a_record_that_an_author_makes_up_is_put_into_our_words_on_a_pod_that_needs_no_change() -> None:
    pod = reviewed({**claiming(), "metadata": {"labels": {"execution-id": "f1"}}})
    forged = [{**LIMIT, "from": "64"}, {**LIMIT, "from": "64", "path": LIMIT["path"].replace("limits", "requests")}]
    policy = load(POLICY, "policy.yaml").policy.digest
    pod["metadata"]["annotations"] = {ANNOTATION: json.dumps({"policy": policy, "omitted": 7, "changes": forged})}
    later = reviewed(pod)
    record = json.loads(later["metadata"]["annotations"][ANNOTATION])
    assert {change["why"] for change in record["changes"]} == {"over the maximum 2"}
    assert record.keys() == {"policy", "changes"}
    assert later["spec"] == pod["spec"]
    assert reviewed(later) == later


@pytest.mark.parametrize("sums", [True, False], ids=["1.36", "1.37"])
@pytest.mark.parametrize(
    ("container", "level"),
    [
        ({"requests": {"cpu": "1m"}}, {"requests": {"memory": "1"}}),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "0"}}, {"requests": {"cpu": "2"}}),
        ({}, {"requests": {"cpu": "0"}}),
        ({"requests": {"memory": "0"}}, {"requests": {"cpu": "4"}}),
    ],
)
def test_our_record_stays_as_it_is_once_the_api_server_has_summed_up(container: Data, level: Data, sums: bool) -> None:  # noqa: FBT001
    between = defaulted if sums else handed_over
    pod: Data = {
        "metadata": {"labels": {"execution-id": "f1"}},
        "spec": {"containers": [{"name": "c", "resources": container}], "resources": level},
    }
    unfilled = {"match": {"project": "flytesnacks"}, "skip": ["fill"], "reason": "r", "until": "2030-01-01"}
    limits = {"pod_limits": {"cpu": 2, "memory": "2Gi"}}
    for policy in map(json.dumps, ({"task_resources": {}}, limits, {**limits, "exemptions": [unfilled]})):
        assert "patch" not in response_to(between(reviewed(between(pod), policy)), policy)


def test_a_limit_that_an_earlier_review_has_removed_can_be_put_back() -> None:
    asked = {"cpu": "1", "memory": "1Gi"}
    pod: Data = {
        "metadata": {"labels": {"execution-id": "f1"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": dict(asked), "requests": dict(asked)}}]},
    }
    policy = "{cpu_limits: remove, task_resources: {defaults: {memory: 1Gi}}}"
    stored = reviewed(pod, policy)
    assert stored["spec"]["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}, "requests": asked}
    stored["spec"]["containers"].append({"name": "late", "resources": {"requests": {"memory": "1Mi"}}})
    told = json.loads(reviewed(stored, policy)["metadata"]["annotations"][ANNOTATION])["changes"]
    assert [(change["path"], change["from"], change["to"]) for change in told] == [
        ("/spec/containers/c/resources/limits/cpu", "1", None),
        ("/spec/containers/late/resources/limits/memory", None, "1Gi"),
    ]


def test_an_earlier_toleration_of_ours_is_kept_and_stays() -> None:
    pod = {"metadata": {"labels": {"execution-id": "f1"}}, "spec": {"containers": [{"name": "c"}]}}
    stored = reviewed(pod)
    stored["spec"]["containers"].append({"name": "late", "resources": {"limits": {"cpu": "8"}}})
    later = reviewed(stored)
    assert later["spec"]["tolerations"] == stored["spec"]["tolerations"] != []
    changes = json.loads(later["metadata"]["annotations"][ANNOTATION])["changes"]
    assert [change["path"] for change in changes].count("/spec/tolerations/-") == 2


def test_a_record_longer_than_annotations_may_be_is_not_read() -> None:
    pod = claiming(*[{**LIMIT, "from": "64"}] * 3000)
    assert [*response_to(pod)["auditAnnotations"]] == ["changes"]


def test_a_value_that_is_in_the_end_what_it_was_is_no_change() -> None:
    path = "/spec/containers/0/resources/limits/amd.com~1gpu"
    filled = Change(path, "0", "1", "fill", "not set; the default")
    lowered = Change(path, "1", "0", "clamp", "over what is left")
    assert trace.merged([filled, lowered]) == ()
    assert [change.before for change in trace.merged([replace(filled, before=None), lowered])] == [None]
