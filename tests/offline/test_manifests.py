"""Manifests are read as kubectl reads them, and what is none is told with its place."""

import json

import pytest

from tests.vectors import Data, quota_of, texts
from webhook.offline import manifests
from webhook.policy.yaml_text import ProblemsError
from webhook.rules.quota import CHARGED_RESOURCES

KINDS = ("Pod", "AdmissionReview")


def found(text: str) -> list[tuple[str, Data]]:
    return [(manifest.kind, manifest.data) for manifest in manifests.read(text, "m.yaml", KINDS)]


def named(name: str, kind: str = "Pod") -> Data:
    return {"kind": kind, "metadata": {"name": name}}


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("kind: Pod\nmetadata: {name: a}", [named("a")]),
        ("---\nkind: Pod\nmetadata: {name: a}\n---\n# nothing\n---\nkind: AdmissionReview\nmetadata: {name: b}\n",
         [named("a"), named("b", "AdmissionReview")]),
        (json.dumps(named("a")), [named("a")]),
        ('\n\t {"kind":\t"Pod", "metadata": {"name": "a"}}', [named("a")]),
        ("{kind: Pod, metadata: {name: a}}", [named("a")]),
        ("kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n- kind: AdmissionReview\n  metadata: {name: b}",
         [named("a"), named("b", "AdmissionReview")]),
        (json.dumps({"kind": "List", "items": [named("a")]}), [named("a")]),
        # the items of a typed List may leave out what they are
        ("kind: PodList\nitems:\n- metadata: {name: a}\n- kind: Pod\n  metadata: {name: b}", [named("a"), named("b")]),
        (json.dumps({"kind": "List", "items": [{"kind": "PodList", "items": [named("a")]}]}), [named("a")]),
        ("kind: List\nitems: []", []),
    ],
    ids=["YAML", "documents", "JSON", "JSON with tabs", "flow", "List", "JSON List", "PodList", "Lists", "empty"],
)  # fmt: skip
def test_objects_are_read_from_documents_and_lists(text: str, expect: list[Data]) -> None:
    assert found(text) == [(data["kind"], data) for data in expect]


EXPECTED = "Pod or AdmissionReview, or a List of them, is expected"


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("", f"m.yaml:1:1: nothing in it; {EXPECTED}"),
        ("# nothing\n---\n", f"m.yaml:1:1: nothing in it; {EXPECTED}"),
        ("kind: Pod\n---\nkind: Deployment", f"m.yaml:3:1: kind Deployment; {EXPECTED}"),
        ("kind: Pod\n---\nspec: {}", f"m.yaml:3:1: an object without a kind; {EXPECTED}"),
        ("text", f"m.yaml:1:1: not an object; {EXPECTED}"),
        ("[]", f"m.yaml:1:1: not an object; {EXPECTED}"),
        ("kind: 5", f"m.yaml:1:1: kind 5; {EXPECTED}"),
        ("kind: [Pod]", f"m.yaml:1:1: kind ['Pod']; {EXPECTED}"),
        ("kind: List", f"m.yaml:1:1: kind List; {EXPECTED}"),
        ("kind: PodList\nitems: {}", f"m.yaml:1:1: kind PodList; {EXPECTED}"),
        ("kind: List\nitems:\n- kind: Pod\n- kind: Node", f"m.yaml:4:3: items[1]: kind Node; {EXPECTED}"),
        ("kind: List\nitems: [{}]", f"m.yaml:2:9: items[0]: an object without a kind; {EXPECTED}"),
        ("kind: PodList\nitems: [5]", f"m.yaml:2:9: items[0]: not an object; {EXPECTED}"),
        ("kind: NodeList\nitems: [{}]", f"m.yaml:2:9: items[0]: kind Node; {EXPECTED}"),
        ('{"kind": "Node"}', f"m.yaml:1:1: kind Node; {EXPECTED}"),
        (
            '{"kind": "Pod"',
            "m.yaml:1:15: not valid YAML: a list or map without its closing '}'; add it, or a comma before this",
        ),
        ("kind: Pod\nkind: Pod", "m.yaml:2:1: kind: duplicate key, first given in line 1; keep one of them"),
        ("[" * 1000, "m.yaml:1:1: nested too deeply, or an alias within itself"),
    ],
)
def test_anything_else_is_told_with_its_place(text: str, expect: str) -> None:
    with pytest.raises(ProblemsError) as raised:
        manifests.read(text, "m.yaml", KINDS)
    assert str(raised.value) == expect


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("---\nkind: Pod\nmetadata: {name: a}", "m.yaml:2:1: Pod a: wrong"),
        ("kind: Pod", "m.yaml:1:1: Pod: wrong"),
        ("kind: Pod\nmetadata:", "m.yaml:1:1: Pod: wrong"),
        ("kind: Pod\nmetadata: a", "m.yaml:1:1: Pod: wrong"),
        ("kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}", "m.yaml:3:3: Pod a: wrong"),
        ('{"kind": "List",\n"items": [{"kind": "Pod"}]}', "m.yaml:1:1: Pod: wrong"),
    ],
)
def test_a_problem_says_which_object_and_where(text: str, expect: str) -> None:
    (manifest,) = manifests.read(text, "m.yaml", KINDS)
    assert str(manifest.problem("wrong")) == expect


QUOTA = """\
apiVersion: v1
kind: ResourceQuota
metadata:
  name: project-quota
  namespace: flytesnacks-development
  labels: {any: thing}
spec:
  hard: {limits.cpu: 12, limits.memory: 32Gi, requests.nvidia.com/gpu: "2", pods: 1e3, cpu: 1.5}
  scopes: [NotTerminating]
  scopeSelector:
    matchExpressions:
    - {scopeName: PriorityClass, operator: In, values: [high]}
"""


def test_a_quota_is_read_whole() -> None:
    (quota,) = manifests.quotas(QUOTA, "q.yaml")
    assert quota == quota_of(
        {
            "metadata": {"name": "project-quota", "namespace": "flytesnacks-development"},
            "spec": {
                "hard": {
                    "limits.cpu": "12",
                    "limits.memory": "32Gi",
                    "requests.nvidia.com/gpu": "2",
                    "pods": "1000",
                    "cpu": "1500m",
                },
                "scopes": ["NotTerminating"],
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                },
            },
        }
    )
    assert (quota.name, quota.hard, quota.used) == ("project-quota", {}, {})
    assert quota.spec is not None
    assert texts(quota.spec.hard or {})["pods"] == "1e3"


def test_quotas_come_from_lists_and_several_documents() -> None:
    one, two, three = (
        {"kind": "ResourceQuota", "metadata": {"name": name}, "status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}}
        for name in "abc"
    )
    text = "\n---\n".join(json.dumps(data) for data in (one, {"kind": "ResourceQuotaList", "items": [two, three]}))
    assert manifests.quotas(text, "q.yaml") == [quota_of(one), quota_of(two), quota_of(three)]


@pytest.mark.parametrize("part", ["spec:", "status:", "spec: {hard: , scopes: , scopeSelector: }", "status: {used: }"])
def test_null_in_a_quota_says_as_much_as_absence(part: str) -> None:
    (quota,) = manifests.quotas(f"kind: ResourceQuota\nmetadata: {{name: q, namespace: }}\n{part}", "q.yaml")
    assert (quota.name, quota.hard, quota.used, list(quota.scopes)) == ("q", {}, {}, [])


TERM = "spec.scopeSelector.matchExpressions[0]"
NO_QUANTITY = (
    "is not a valid quantity; write a number such as 2, 500m, 1.5 or 1e3, "
    "with one of the suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei"
)


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("kind: Pod", "q.yaml:1:1: kind Pod; ResourceQuota, or a List of them, is expected"),
        ("kind: ResourceQuota", "q.yaml:1:1: ResourceQuota: no metadata.name; write one"),
        ("kind: ResourceQuota\nmetadata: {name: ''}", "q.yaml:1:1: ResourceQuota: no metadata.name; write one"),
        (
            "kind: ResourceQuota\nmetadata: {name: q}\n---\nkind: ResourceQuota\nmetadata: {name: r}\nspec: {hard: []}",
            "q.yaml:4:1: ResourceQuota r: spec.hard: a list where a map is expected",
        ),
        (
            "kind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {cpu: four}}",
            f"q.yaml:1:1: ResourceQuota q: spec.hard[...]: 'four' {NO_QUANTITY}",
        ),
        (
            "kind: ResourceQuota\nmetadata: {name: q}\nspec: {scopes: [5]}",
            "q.yaml:1:1: ResourceQuota q: spec.scopes[0]: a whole number where a text is expected",
        ),
        (
            "kind: ResourceQuota\nmetadata: {name: q}\nspec: {scopeSelector: {matchExpressions: [{}]}}",
            f"q.yaml:1:1: ResourceQuota q: {TERM}: there is no `scopeName`",
        ),
        (
            "kind: ResourceQuota\nmetadata: {name: 5}",
            "q.yaml:1:1: ResourceQuota 5: metadata.name: a whole number where a text is expected",
        ),
    ],
)
def test_what_is_wrong_in_a_quota_is_told(text: str, expect: str) -> None:
    with pytest.raises(ProblemsError) as raised:
        manifests.quotas(text, "q.yaml")
    assert str(raised.value) == expect


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("requests.nvidia.com/gpu", None),
        ("nvidia.com/gpu", "requests.nvidia.com/gpu"),
        ("limits.nvidia.com/gpu", "requests.nvidia.com/gpu"),
        ("Requests.nvidia.com/gpu", "requests.nvidia.com/gpu"),
        ("gpu", "requests.nvidia.com/gpu"),
        ("requests.gpu", "requests.nvidia.com/gpu"),
        ("limits.GPU", "requests.nvidia.com/gpu"),
        ("requests.deviceclass.resource.kubernetes.io/gpu.nvidia.com", None),
        (
            "limits.deviceclass.resource.kubernetes.io/gpu.nvidia.com",
            "requests.deviceclass.resource.kubernetes.io/gpu.nvidia.com",
        ),
        ("a.kubernetes.io/x", ""),
        ("requests.a.kubernetes.io/x", ""),
        *((f"{side}{name}", None) for side in ("", "requests.", "limits.") for name in CHARGED_RESOURCES),
        ("limits.mem", "limits.memory"),
        ("mem", "memory"),
        ("requests.CPU", "requests.cpu"),
        ("limits.ephemeralStorage", "limits.ephemeral-storage"),
        ("limits.storage", "limits.ephemeral-storage"),
        ("requests.storage", None),
        ("limit.cpu", "limits.cpu"),
        ("hugepages-2Mi", None),
        ("requests.hugepages-2Mi", None),
        ("limits.hugepages-2Mi", "hugepages-2Mi"),
        ("pods", None),
        ("Pods", "pods"),
        ("pod", "pods"),
        ("count/pods", None),
        ("count/pod", "count/pods"),
        ("count/deployments.apps", None),
        ("gold.storageclass.storage.k8s.io/requests.storage", None),
        ("gpu.nvidia.com.deviceclass.resource.k8s.io/devices", None),
        ("persistentvolumeclaims", None),
        ("services.nodeports", None),
        ("secret", "secrets"),
        ("wheels", ""),
    ],
)
def test_a_name_of_a_quota_that_counts_nothing_is_a_warning_with_the_one_that_counts(
    name: str, counts: str | None
) -> None:
    text = f"kind: ResourceQuota\nmetadata: {{name: q, namespace: n}}\nspec: {{hard: {{{name}: 1}}}}"
    what = f"; write {counts}" if counts else ", as no quota counts such a resource"
    told = f"q.yaml:1:1: ResourceQuota q: warning: {name} counts nothing{what}"
    assert [*manifests.quota_warnings(text, "q.yaml")] == ([] if counts is None else [told])


def test_a_quota_without_a_namespace_is_of_default_or_of_the_one_that_is_given() -> None:
    text = "kind: ResourceQuota\nmetadata: {name: q}\n"
    (line,) = manifests.quota_warnings(text, "q.yaml")
    assert line.endswith("no namespace, so it is a quota of default; write metadata.namespace, or give --namespace")
    assert [*manifests.quota_warnings(text, "q.yaml", "n")] == []
    (quota,) = manifests.quotas(text, "q.yaml", "n")
    assert quota.metadata.namespace == "n"
    (own,) = manifests.quotas(QUOTA, "q.yaml", "n")
    assert own.metadata.namespace != "n"


def test_other_kinds_beside_a_quota_are_passed_over() -> None:
    text = "kind: Namespace\nmetadata: {name: n}\n---\nkind: ResourceQuota\nmetadata: {name: q, namespace: n}\n"
    assert [quota.name for quota in manifests.quotas(text, "q.yaml")] == ["q"]


def printed(*items: str) -> str:
    """A List as kubectl prints it."""
    listed = "".join("- " + item.replace("\n", "\n  ") + "\n" for item in items)
    return f'apiVersion: v1\nitems:\n{listed}kind: List\nmetadata:\n  resourceVersion: ""\n'


BLOCK = """\
kind: Pod
metadata:
  name: b
  annotations:
    text: |
      - a

      kind: List
    other: 'a:,

      b'"""
ITEMS = {
    "one": ["kind: Pod\nmetadata: {name: a}"],
    "some": ["kind: Pod\nmetadata: {name: a}", BLOCK, "kind: AdmissionReview\nmetadata: {name: c}"],
    "anchors": ["kind: Pod\nmetadata: &a {name: a}", "kind: Pod\nmetadata: *a"],
    "a quote over two lines": ["kind: Pod\nmetadata: {name: TWO}", "kind: Pod"],
    "Lists": ["kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}"],
}


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
def test_a_list_of_kubectl_is_read_as_any_other(items: list[str]) -> None:
    text = printed(*items).replace("TWO", '"two\n- lines"')
    assert found(text) == found(f"# another layout\n{text}") != []


@pytest.mark.parametrize(
    ("items", "expect"),
    [
        (["kind: Pod\nmetadata: {name: a}", "kind: Deployment"], "m.yaml:5:3: kind Deployment; "),
        (["kind: Pod", "kind: Pod\nmetadata: {a: 1, a: 2}"], "m.yaml:5:20: items[1].metadata.a: duplicate key"),
        (["kind: Pod", "kind: [Pod"], "m.yaml:5:5: not valid YAML"),
        (["kind: Pod", ""], "m.yaml:4:3: not an object; "),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_list_of_kubectl_is_told_with_its_place(items: list[str], expect: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        found(printed(*items))
    assert str(caught.value).startswith(expect)


def test_an_object_of_a_list_of_kubectl_has_its_place() -> None:
    first, last = manifests.read(printed(BLOCK, "kind: Pod\nmetadata: {name: a}"), "m.yaml", KINDS)
    assert str(first.problem("odd")) == "m.yaml:3:3: Pod b: odd"
    assert str(last.problem("odd")) == "m.yaml:14:3: Pod a: odd"
