"""The settings of a task: the most specific statement wins, resource by resource."""

import json
import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.vectors import Data, cases, params
from webhook.api.quantity import parse
from webhook.api.resource_list import ResourceList
from webhook.flyte.task import Generation, Task, label_value
from webhook.jobs import KINDS
from webhook.policy.file import load
from webhook.policy.model import TaskScope
from webhook.policy.schema import JobKind
from webhook.policy.settings import Mode, Settings
from webhook.policy.yaml_text import ProblemsError

TODAY = "2026-11-25"
SNACKS = {"project": "flytesnacks", "domain": "development"}


def policy_text(content: Data, *further: str) -> str:
    return "\n---\n".join([yaml.safe_dump(content), *further])


def settings(
    text: str, task: Mapping[str, str] = SNACKS, made_by: Generation = 1, day: str = TODAY, namespace: str = "n"
) -> Settings:
    return load(text, "policy.yaml").policy.settings(
        msgspec.convert({"generation": made_by, **task}, Task), namespace, day
    )


def texts(resources: ResourceList) -> dict[str, str]:
    return {name: str(value) for name, value in sorted(resources.items())}


def problems(text: str) -> str:
    with pytest.raises(ProblemsError) as caught:
        load(text, "policy.yaml")
    return str(caught.value)


PLATFORM = {
    "task_resources": {"defaults": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": 10, "memory": "10Gi", "gpu": 1}}
}
SCOPES: list[dict[str, str]] = [
    {"domain": "development"},
    {"project": "flytesnacks"},
    SNACKS,
    {"workflow": "core.wf"},
    {"domain": "development", "workflow": "core.wf"},
    {"project": "flytesnacks", "workflow": "core.wf"},
    {**SNACKS, "workflow": "core.wf"},
    {"task": "core.t"},
    {"domain": "development", "task": "core.t"},
    {"project": "flytesnacks", "task": "core.t"},
    {**SNACKS, "task": "core.t"},
    {"workflow": "core.wf", "task": "core.t"},
    {"domain": "development", "workflow": "core.wf", "task": "core.t"},
    {"project": "flytesnacks", "workflow": "core.wf", "task": "core.t"},
    {**SNACKS, "workflow": "core.wf", "task": "core.t"},
]
LABELLED = {**SNACKS, "workflow": "core-wf", "name": "core-t"}


@pytest.mark.parametrize("last", range(len(SCOPES)))
def test_task_beats_workflow_beats_project_beats_domain(last: int) -> None:
    overrides = [{**scope, "limits": {"cpu": index + 1}} for index, scope in enumerate(SCOPES[: last + 1])]
    for shuffled in (overrides, overrides[::-1]):
        found = settings(policy_text({**PLATFORM, "overrides": shuffled}), LABELLED)
        assert found.limits.get("cpu") == parse(str(last + 1))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("other", ["project", "domain", "workflow", "name"])
def test_an_override_is_for_nobody_else(scope: dict[str, str], other: str) -> None:
    found = settings(
        policy_text({**PLATFORM, "overrides": [{**scope, "limits": {"cpu": 1}}]}), {**LABELLED, other: "other"}
    )
    concerned = {"name": "task"}.get(other, other) in scope
    assert found.limits.get("cpu") == parse("10" if concerned else "1")


@examples(max_examples=50)
@given(st.permutations(SCOPES), st.integers(0, 15), st.sampled_from([1, 2]))
def test_the_order_of_the_file_is_of_no_account(scopes: list[dict[str, str]], count: int, made_by: Generation) -> None:
    overrides = [{**scope, "limits": {"cpu": SCOPES.index(scope) + 1}} for scope in scopes[:count]]
    labels = {**SNACKS, "workflow": label_value("core.wf", made_by), "name": label_value("core.t", made_by)}
    found = settings(policy_text({**PLATFORM, "overrides": overrides}), labels, made_by).limits.get("cpu")
    assert found == parse(str(max((SCOPES.index(scope) + 1 for scope in scopes[:count]), default=10)))


PARTIAL = [
    {"project": "flytesnacks", "defaults": {"memory": "2Gi"}, "limits": {"memory": "20Gi", "ephemeralStorage": "5Gi"}},
    {**SNACKS, "limits": {"cpu": 20}},
    {**SNACKS, "workflow": "core.wf", "defaults": {"cpu": "1"}, "limits": {"memory": 0}},
]


def test_overrides_are_merged_resource_by_resource_and_zero_is_none() -> None:
    found = settings(policy_text({**PLATFORM, "overrides": PARTIAL}), LABELLED)
    assert texts(found.defaults.requests) == {"cpu": "1", "memory": "2Gi"}
    names = ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu")
    assert [str(found.limits.get(name)) for name in names] == ["20", "None", "5Gi", "1"]


def test_a_null_in_an_override_says_nothing() -> None:
    override = {**SNACKS, "defaults": {"cpu": None, "memory": ""}, "limits": {"cpu": None, "gpu": ""}}
    found = settings(policy_text({**PLATFORM, "overrides": [override]}), LABELLED)
    assert texts(found.defaults.requests) == {"cpu": "100m", "memory": "1Gi"}
    assert [str(found.limits.get(name)) for name in ("cpu", "nvidia.com/gpu")] == ["10", "1"]


def test_replace_all_resources_does_as_flyte_does() -> None:
    """GetTaskResources of flyteadmin: what the most specific record does not name is zero."""
    content = {**PLATFORM, "overrides": PARTIAL, "override_strategy": "replace-all-resources"}
    found = settings(policy_text(content), LABELLED)
    assert texts(found.defaults.requests) == {"cpu": "1"}
    names = ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "amd.com/gpu")
    assert [found.limits.get(name) for name in names] == [None] * 5
    found = settings(policy_text(content), {**LABELLED, "workflow": "other"})
    assert (texts(found.defaults.requests), str(found.limits.get("cpu"))) == ({}, "20")
    found = settings(policy_text(content), {"project": "elsewhere"})
    assert (texts(found.defaults.requests), str(found.limits.get("cpu"))) == ({"cpu": "100m", "memory": "1Gi"}, "10")


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "flyteadmin.GetTaskResources")))
def test_replacing_gives_what_flyteadmin_gives(given: Data, expect: Data) -> None:
    def flytes(resources: Data) -> Data:
        keys = {"ephemeral-storage": "ephemeralStorage", "nvidia.com/gpu": "gpu", "storage": "storage"}
        return {keys.get(name, name): value for name, value in resources.items() if name != "storage"}

    content: Data = {"task_resources": {side: flytes(given["config"][side]) for side in given["config"]}}
    if given["matchable"] is not None:
        record = {
            side: flytes(given["matchable"][side]) for side in ("defaults", "limits") if side in given["matchable"]
        }
        content |= {"overrides": [{**SNACKS, **record}], "override_strategy": "replace-all-resources"}
    found = settings(policy_text(content), SNACKS)
    for side, amounts_of in (("defaults", found.defaults.requests.get), ("limits", found.limits.get)):
        for name, value in expect["exact"][side].items():
            if name != "storage":
                assert (amounts_of(name) or parse("0")) == parse(value), (side, name)


def test_a_mode_alone_leaves_the_resources_of_a_replacing_override_alone() -> None:
    overrides = [{"project": "flytesnacks", "limits": {"cpu": 20}}, {**SNACKS, "mode": "audit"}]
    found = settings(policy_text({"overrides": overrides, "override_strategy": "replace-all-resources"}), SNACKS)
    assert (str(found.limits.get("cpu")), found.mode) == ("20", "audit")


# As `flytectl get task-resource-attribute` writes files, and as it prints them.
TRA_YAML = """\
domain: development
project: flytesnacks
defaults:
  cpu: "1"
  memory: 150Mi
limits:
  cpu: "2"
  memory: 450Mi
"""
TRA_JSON = (
    '{"project":"flytesnacks","domain":"development","workflow":"",'
    '"defaults":{"cpu":"1","memory":"150Mi"},"limits":{"cpu":"2","memory":"450Mi"}}'
)
TRA_OF_A_WORKFLOW = (
    '{"project":"flytesnacks","domain":"development","workflow":"core.control_flow.merge_sort.merge_sort",'
    '"defaults":{"cpu":"3"},"limits":{"cpu":"4","gpu":"8","ephemeral_storage":"7Gi"}}'
)


@pytest.mark.parametrize(
    "text",
    [
        policy_text(PLATFORM, TRA_YAML),
        policy_text(PLATFORM, TRA_JSON),
        policy_text(PLATFORM, TRA_JSON, TRA_OF_A_WORKFLOW),
        policy_text({**PLATFORM, "overrides": [yaml.safe_load(TRA_YAML)]}),
        policy_text({**PLATFORM, "overrides": [json.loads(TRA_JSON)]}),
        policy_text({**PLATFORM, "overrides": [json.loads(TRA_OF_A_WORKFLOW)]}, TRA_JSON),
        policy_text(PLATFORM, TRA_YAML, "# nothing more\n"),
    ],
)
def test_documents_of_flytectl_are_read_as_they_are(text: str) -> None:
    found = settings(text, SNACKS)
    assert texts(found.defaults.requests) == {"cpu": "1", "memory": "150Mi"}
    names = ("cpu", "memory", "nvidia.com/gpu")
    assert [str(found.limits.get(name)) for name in names] == ["2", "450Mi", "1"]
    assert str(settings(text, {"project": "other", "domain": "development"}).limits.get("cpu")) == "10"


def test_a_document_of_flytectl_for_a_workflow_is_for_that_workflow() -> None:
    text = policy_text(PLATFORM, TRA_JSON, TRA_OF_A_WORKFLOW)
    found = settings(text, {**SNACKS, "workflow": "core-control-flow-merge-sort-merge-sort"})
    assert texts(found.defaults.requests) == {"cpu": "3", "memory": "150Mi"}
    names = ("cpu", "memory", "nvidia.com/gpu", "ephemeral-storage")
    assert [str(found.limits.get(name)) for name in names] == ["4", "450Mi", "8", "7Gi"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (policy_text(PLATFORM, "project: a\nlimits: {cp: 1}\n"), "policy.yaml:12:10: limits.cp: unknown key"),
        (policy_text(PLATFORM, TRA_YAML, TRA_JSON), "policy.yaml:21:1: for the same tasks as line 11, project fly"),
        (policy_text({"overrides": [SNACKS, SNACKS]}), "for the same tasks as line 2"),
        (policy_text({"overrides": [{"workflow": "a.b"}, {"workflow": "A b"}]}), "for the same tasks as line 2"),
        (policy_text({"overrides": [{"task": "_f"}, {"task": "xf"}]}), "for the same tasks as line 2"),
        (policy_text({"overrides": [{"limits": {"cpu": 1}}]}), "for all tasks"),
        (policy_text({"overrides": [{"project": "", "domain": None}]}), "for all tasks"),
        (policy_text({"overrides": [{"project": "p", "workflow": "..."}]}), "overrides[0].workflow: "),
        (policy_text({}, "[]"), "a list where a map is expected"),
        (policy_text({}, "task_resources: {}"), "unknown key"),
    ],
)
def test_overrides_that_nobody_can_mean_are_refused(text: str, found: str) -> None:
    assert found in problems(text)


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v1.json", "flytepropeller.SanitizeLabelValue")))
def test_names_become_labels_as_flyte_1_makes_them(given: Data, expect: Data) -> None:
    assert label_value(given["value"], 1) == expect["exact"]


@pytest.mark.parametrize(("given", "expect"), params(cases("flyte_v2.json", "flyteplugins.SanitizeLabelValue")))
def test_names_become_labels_as_flyte_2_makes_them(given: Data, expect: Data) -> None:
    assert label_value(given["value"], 2) == expect["exact"]


@given(st.text(), st.sampled_from([1, 2]))
def test_a_label_is_one_already(name: str, made_by: Generation) -> None:
    value = label_value(name, made_by)
    assert label_value(value, made_by) == value
    assert re.fullmatch("([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value)


@pytest.mark.parametrize(
    ("named", "made_by", "label"),
    [
        ("core.control_flow.Merge.t1", 1, "core-control-flow-merge-t1"),
        ("core.control_flow.Merge.t1", 2, "core.control_flow.Merge.t1"),
        ("core-control-flow-merge-t1", 1, "core-control-flow-merge-t1"),
        ("my_module.my task/v2", 2, "my_module.my-task-v2"),
        ("my_module.my task/v2", 1, "my-module-my-task-v2"),
        (f"{'a' * 62}.{'b' * 62}", 1, "a" * 62),
        (f"{'a' * 62}.{'b' * 62}", 2, f"{'a' * 62}x"),
    ],
)
def test_an_override_for_a_task_is_found_by_the_label_of_either_flyte(
    named: str, made_by: Generation, label: str
) -> None:
    text = policy_text({**PLATFORM, "overrides": [{"task": named, "limits": {"cpu": 1}}]})
    assert str(settings(text, {"name": label}, made_by).limits.get("cpu")) == "1"
    assert str(settings(text, {"name": f"x{label}"[:63]}, made_by).limits.get("cpu")) == "10"
    assert len(load(text, "policy.yaml").policy.matching(TaskScope(task=named), made_by)) == 1


HASH = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("named", "label"),
    [
        ("workflows.element", f"workflows-map-element-{HASH}-arraynod"),  # as the real Flyte cuts it
        ("a.f", f"a-map-f-{HASH}-arraynode"),
        ("a.f", f"a-map-f-{HASH}"),  # of flytekit's map tasks before array nodes
        ("core.map_data.My_Step_", f"core-map-data-map-my-step-{HASH}-arr"),
        ("in_a_notebook", f"map-in-a-notebook-{HASH}-arraynode"),
        (f"{'a' * 40}.f2345", f"{'a' * 40}-map-f2345-{HASH[:12]}"),
        (f"{'a' * 40}.f23456789", f"{'a' * 40}-map-f23456789-{HASH[:8]}"),
    ],
)
def test_an_override_for_a_task_is_found_by_the_label_of_the_elements_of_its_map_tasks(named: str, label: str) -> None:
    assert label_value(label, 1) == label
    more = {"task": named, "limits": {"cpu": 1}}
    text = policy_text({**PLATFORM, "overrides": [more]})
    assert load(text, "policy.yaml").warnings == ()
    assert str(settings(text, {"name": label}, 1).limits.get("cpu")) == "1"
    for other in (
        f"x{label}"[:63],
        label.replace("-map-", "-mop-").replace("map-in", "mop-in"),
        label.replace("7", "z", 1),
    ):
        assert str(settings(text, {"name": other}, 1).limits.get("cpu")) == "10"
    assert str(settings(text, {"name": label}, 2).limits.get("cpu")) == "10"


def test_an_override_that_names_the_map_task_goes_before_one_for_its_task() -> None:
    mapped = f"a.map_f_{HASH}-arraynode"
    overrides = [{"task": "a.f", "limits": {"cpu": 1}}, {"task": mapped, "limits": {"cpu": 2}}]
    text = policy_text({**PLATFORM, "overrides": overrides})
    assert str(settings(text, {"name": label_value(mapped, 1)}, 1).limits.get("cpu")) == "2"


CLASS = "deviceclass.resource.kubernetes.io/"
NVIDIA, AMD, TPU, MIG = "nvidia.com/gpu", "amd.com/gpu", "google.com/tpu", "nvidia.com/mig-1g.5gb"
CLASSES = {
    "accelerator-device-classes": {
        "amd_gpu": {"resource-name": "amd.com/gpu-x", "device-node-label": "x", "pod-template": {"any": "thing"}},
        "OWN": {"resource-name": "example.com/fpga"},
        "nothing": {},
    }
}


@pytest.mark.parametrize(
    ("limits", "k8s", "expect"),
    [
        ({"gpu": 2}, {}, {NVIDIA: "2", AMD: "2", TPU: "2", "aws.amazon.com/neuron": "2", "habana.ai/gaudi": "2"}),
        ({"gpu": 2}, {}, {MIG: "2", "nvidia.com/mig-7g.80gb.me": "2", "nvidia.com/gpu.shared": "2"}),
        ({"gpu": 2}, {}, {"gpu.intel.com/i915": "2", "gpu.intel.com/xe": "2"}),
        ({"gpu": 2}, {}, {"example.com/fpga": None, "cpu": None, "nvidia.com/migs": None, "rdma/hca": None}),
        ({"gpu": 2}, {"gpu-resource-name": "example.com/fpga"}, {"example.com/fpga": "2", NVIDIA: "2", MIG: "2"}),
        ({"gpu": 2}, CLASSES, {"example.com/fpga": "2", "amd.com/gpu-x": "2", NVIDIA: "2", AMD: "2", TPU: "2"}),
        ({"gpu": 2, AMD: 4}, {}, {NVIDIA: "2", AMD: "4"}),
        ({"gpu": 2, MIG: 7}, {}, {MIG: "7", "nvidia.com/mig-2g.10gb": "2"}),
        ({"gpu": 2, "nvidia.com/mig-*": 7}, {}, {MIG: "7", NVIDIA: "2"}),
        ({"gpu": 2, "nvidia.com/mig-*": 7, MIG: 3}, {}, {MIG: "3", "nvidia.com/mig-2g.10gb": "7", NVIDIA: "2"}),
        ({"nvidia.com/*": 1, "nvidia.com/mig-*": 7}, {}, {MIG: "7", NVIDIA: "1", "nvidia.com/x": "1", AMD: None}),
        ({"nvidia.com/mig-*": 7, "nvidia.com/mig-1g*": 5}, {}, {MIG: "5", "nvidia.com/mig-2g.10gb": "7"}),
        ({"gpu": 2, "nvidia.com/mig-*": 0}, {}, {MIG: None, NVIDIA: "2"}),
        ({"gpu": 2, AMD: 0}, {}, {AMD: None, NVIDIA: "2"}),
        ({"gpu": 0}, {}, {NVIDIA: None, AMD: None, MIG: None}),
        ({NVIDIA: 3}, {}, {NVIDIA: "3", AMD: None, MIG: None}),
        ({f"{CLASS}gpu.example.com": 3}, {}, {f"{CLASS}gpu.example.com": "3", f"{CLASS}gpu.nvidia.com": None}),
        ({f"{CLASS}*": 3, f"{CLASS}net.*": 5}, {}, {f"{CLASS}gpu.example.com": "3", f"{CLASS}net.example.com": "5"}),
        ({"gpu": 2, f"{CLASS}*": 0}, {}, {f"{CLASS}gpu.nvidia.com": None, NVIDIA: "2"}),
        ({"gpu": 2}, {}, {f"{CLASS}gpu.example.com": None, **{f"{CLASS}{name}": "2" for name in (
            "gpu.nvidia.com", "mig.nvidia.com", "vfio.gpu.nvidia.com", "gpu.amd.com", "gpu.intel.com",
            "gaudi.intel.com", "tpu.google.com", "neuron.aws.com",
        )}}),
        ({"kubernetes.io/batch-cpu": 3}, {}, {"kubernetes.io/batch-cpu": "3", "node.kubernetes.io/slots": None}),
        ({"node.kubernetes.io/*": 3, "gpu": 2}, {}, {"node.kubernetes.io/slots": "3", "kubernetes.io/batch-cpu": None}),
        ({"hugepages-2Mi": "1Gi"}, {}, {"hugepages-2Mi": "1Gi", "hugepages-1Gi": None}),
        ({"hugepages-*": "1537Mi", "hugepages-4Mi": "2Gi", "gpu": 1}, {}, {
            "hugepages-2Mi": "1536Mi", "hugepages-1Gi": "1Gi", "hugepages-2Gi": "0", "hugepages-4Mi": "2Gi",
            "hugepages-": "1537Mi", "hugepages-x": "1537Mi",
        }),
    ],
)  # fmt: skip
def test_a_maximum_holds_under_all_the_names_of_its_key_the_more_specific_key_first(
    limits: Data, k8s: Data, expect: dict[str, str | None]
) -> None:
    found = settings(policy_text({"task_resources": {"limits": limits}, "pod_limits": limits, "plugins": {"k8s": k8s}}))
    for maxima in (found.limits, found.pod_limits):
        amounts = {name: maxima.get(name) for name in expect}
        assert {name: None if amount is None else str(amount) for name, amount in amounts.items()} == expect


@pytest.mark.parametrize(
    ("platform", "override", "expect"),
    [
        ({"gpu": 1}, {AMD: 4}, {NVIDIA: "1", AMD: "4", TPU: "1"}),
        ({AMD: 4}, {"gpu": 1}, {NVIDIA: "1", AMD: "1", TPU: "1"}),
        ({"gpu": 1}, {NVIDIA: 4}, {NVIDIA: "4", AMD: "1"}),
        ({NVIDIA: 4}, {"gpu": 1}, {NVIDIA: "1", AMD: "1"}),
        ({"gpu": 4}, {"gpu": 0}, {NVIDIA: None, AMD: None, MIG: None}),
        ({"nvidia.com/mig-*": 4}, {MIG: 1}, {MIG: "1", "nvidia.com/mig-2g.10gb": "4"}),
        ({MIG: 1}, {"nvidia.com/mig-*": 4}, {MIG: "1", "nvidia.com/mig-2g.10gb": "4"}),
        ({"nvidia.com/mig-*": 4}, {"nvidia.com/mig-*": 0}, {MIG: None}),
    ],
)
def test_maxima_of_gpus_are_merged_key_by_key(platform: Data, override: Data, expect: dict[str, str | None]) -> None:
    overrides = [{**SNACKS, "limits": override, "pod_limits": override}]
    content = {"task_resources": {"limits": platform}, "pod_limits": platform, "overrides": overrides}
    found = settings(policy_text(content), SNACKS)
    for maxima in (found.limits, found.pod_limits):
        assert {name: maxima.get(name) and str(maxima.get(name)) for name in expect} == expect


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"*": 1}, "unknown key"),
        ({"nvidia.com*": 1}, "unknown key"),
        ({"nvidia.com/mig-*-x": 1}, "unknown key"),
        ({"nvidia.com/**": 1}, "unknown key"),
        ({"mig-*": 1}, "unknown key"),
        ({"nvidia.com/mig-*": "1.5"}, "not a whole number of devices"),
        ({"gpu": "500m"}, "not a whole number of devices"),
        ({"kubernetes.io/": 1}, "unknown key"),
        ({"requests.nvidia.com/gpu": 1}, "unknown key"),
        ({"hugepages-": 1}, "unknown key"),
        ({"hugepages-x": 1}, "unknown key"),
        ({"hugepages-0": 1}, "unknown key"),
        ({"hugepages-500m": 1}, "unknown key"),
        ({"hugepages-2*": 1}, "unknown key"),
        ({"hugepages-2Mi": "3Mi"}, "3Mi is not a whole number of pages of 2Mi; write one such as 1Gi"),
        ({"hugepages-*": "500m"}, "500m is not a whole number of bytes"),
        ({"hugepages-2Mi": "1GB"}, "'1GB' is not a valid quantity"),
    ],
)
def test_maxima_that_fit_nothing_are_refused(limits: Data, what: str) -> None:
    for content in ({"task_resources": {"limits": limits}}, {"overrides": [{**SNACKS, "pod_limits": limits}]}):
        assert what in problems(policy_text(content))


@pytest.mark.parametrize("name", ["nvidia.com/mig-*", "hugepages-*", "hugepages-2Mi"])
def test_beginnings_of_names_and_hugepages_are_for_maxima_alone(name: str) -> None:
    assert "unknown key" in problems(policy_text({"task_resources": {"defaults": {name: "2Mi"}}}))
    assert "unknown key" in problems(policy_text({"secondary_defaults": {name: "2Mi"}}))


def test_maxima_of_the_pod_as_a_whole_are_merged_under_every_strategy() -> None:
    overrides = [
        {"project": "flytesnacks", "limits": {"cpu": 20}, "pod_limits": {"cpu": 40}},
        {**SNACKS, "limits": {"gpu": 8}},
    ]
    content = {**PLATFORM, "pod_limits": {"cpu": 30, "memory": "30Gi"}, "overrides": overrides}
    for strategy in ("merge-per-resource", "replace-all-resources"):
        found = settings(policy_text({**content, "override_strategy": strategy}), SNACKS)
        assert [str(found.pod_limits.get(name)) for name in ("cpu", "memory", NVIDIA)] == ["40", "30Gi", "None"]


def test_a_container_gets_the_maximum_of_the_pod_where_neither_default_nor_lower_maximum_is_stated() -> None:
    content = {
        "task_resources": {"limits": {"cpu": 2, "memory": "8Gi"}},
        "pod_limits": {"cpu": 4, "memory": "4Gi", "ephemeralStorage": "1Gi"},
    }
    assert texts(settings(policy_text(content)).defaults.bounds) == {"cpu": "2", "memory": "4Gi"}


CLAIMS: Data = {
    "resource_claims": "refuse",
    "overrides": [
        {"domain": "development", "resource_claims": "allow"},
        {**SNACKS, "workflow": "core.wf", "resource_claims": "refuse"},
    ],
}


@pytest.mark.parametrize(
    ("content", "task", "refused"),
    [
        ({}, SNACKS, False),
        ({"resource_claims": "allow"}, SNACKS, False),
        ({"resource_claims": "refuse"}, SNACKS, True),
        (CLAIMS, SNACKS, False),
        (CLAIMS, {"project": "flytesnacks", "domain": "production"}, True),
        (CLAIMS, LABELLED, True),
        ({"resource_claims": "refuse", "overrides": [{**SNACKS, "limits": {"cpu": 1}}]}, SNACKS, True),
    ],
)
def test_whether_claims_are_refused_is_that_of_the_most_specific_statement(
    content: Data, task: dict[str, str], *, refused: bool
) -> None:
    text = policy_text(content)
    found = settings(text, task).claims_refused_by
    assert bool(found) == refused
    if refused:
        assert "resource_claims: refuse" in text.splitlines()[int(found.removeprefix("policy.yaml:")) - 1]


def test_resource_claims_are_allowed_or_refused() -> None:
    assert "'forbid' is not accepted; write 'allow' or 'refuse'" in problems("resource_claims: forbid")


MODES: Data = {"mode": "audit", "overrides": [{"domain": "development", "mode": "enforce"}, {**SNACKS, "mode": "warn"}]}


@pytest.mark.parametrize(
    ("content", "task", "mode"),
    [
        ({}, SNACKS, "enforce"),
        (MODES, SNACKS, "warn"),
        (MODES, {"project": "other", "domain": "development"}, "enforce"),
        (MODES, {"project": "flytesnacks", "domain": "production"}, "audit"),
        (MODES, {}, "audit"),
        ({"overrides": [{"project": "flytesnacks", "limits": {"cpu": 1}}], "mode": "warn"}, SNACKS, "warn"),
    ],
)
def test_the_mode_is_that_of_the_project_and_domain(content: Data, task: dict[str, str], mode: Mode) -> None:
    assert settings(policy_text(content), task).mode == mode


def exemption(match: Data, until: str = "2026-11-25", skip: tuple[str, ...] = ("clamp",)) -> Data:
    return {"match": match, "skip": list(skip), "reason": "a demo", "until": until}


@pytest.mark.parametrize(
    ("match", "day", "counts"),
    [
        ({"project": "flytesnacks"}, "2026-11-24", True),
        ({"project": "flytesnacks"}, "2026-11-25", True),
        ({"project": "flytesnacks"}, "2026-11-26", False),
        ({"project": "flytesnacks"}, "2027-01-01", False),
        ({"domain": "development"}, TODAY, True),
        ({"namespace": "flytesnacks-development"}, TODAY, True),
        ({"namespace": "elsewhere"}, TODAY, False),
        ({"project": "flytesnacks", "domain": "production"}, TODAY, False),
        ({"project": "flytesnacks", "domain": "development", "namespace": "flytesnacks-development"}, TODAY, True),
        ({"project": "flytesnacks", "namespace": "elsewhere"}, TODAY, False),
    ],
)
def test_an_exemption_counts_for_whom_it_is_and_to_the_end_of_its_last_day(
    match: Data, day: str, *, counts: bool
) -> None:
    text = policy_text({"exemptions": [exemption(match)]})
    found = settings(text, day=day, namespace="flytesnacks-development")
    assert found.skips == ({"clamp": "a demo"} if counts else {})


def test_exemptions_that_have_ended_are_named_with_their_place() -> None:
    content = {"exemptions": [exemption(SNACKS), exemption({"project": "a"}, "2030-12-31", ("fill", "quota"))]}
    policy = load(policy_text(content), "policy.yaml").policy
    assert policy.expired("2026-11-25") == ()
    (warning,) = policy.expired("2026-11-26")
    place, _, what = warning.partition(": warning: ")
    assert what.startswith("expired on 2026-11-25")
    file, line, column = place.split(":")
    assert (file, policy_text(content).splitlines()[int(line) - 1][int(column) - 1 :]) == (
        "policy.yaml",
        "until: '2026-11-25'",
    )


def test_what_several_exemptions_skip_adds_up() -> None:
    content = {"exemptions": [exemption(SNACKS, skip=("quota", "fill")), exemption({"project": "flytesnacks"})]}
    assert [*settings(policy_text(content), SNACKS).skips] == ["clamp", "fill", "quota"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"match": {}}, "would exempt everything"),
        ({"match": {"project": ""}}, "would exempt everything"),
        ({"match": {"labels": {"a": "b"}}}, "unknown key; accepted: namespace, project, domain"),
        ({"match": {"workflow": "w"}}, "unknown key; accepted: namespace, project, domain"),
        ({"match": {"task": "t"}}, "unknown key"),
        ({"skip": []}, "nothing given"),
        ({"skip": ["everything"]}, "'everything' is not accepted; write 'fill', 'clamp', 'tolerate' or 'quota'"),
        ({"reason": ""}, "empty; write a text"),
        ({"until": "2026-02-29"}, "'2026-02-29' is not a valid date"),
        ({"until": "2026-13-01"}, "'2026-13-01' is not a valid date"),
        ({"until": "tomorrow"}, "'tomorrow' is not a valid date"),
        ({"until": "2026-1-1"}, "'2026-1-1' is not a valid date"),
    ],
)
def test_an_exemption_says_for_whom_from_what_why_and_until_when(change: Data, what: str) -> None:
    assert what in problems(policy_text({"exemptions": [{**exemption(SNACKS), **change}]}))
    for key in change:
        without: Any = {name: value for name, value in exemption(SNACKS).items() if name != key}
        assert key in problems(policy_text({"exemptions": [without]}))


def test_a_day_may_stand_without_quotes() -> None:
    text = "exemptions: [{match: {project: flytesnacks}, skip: [fill], reason: x, until: 2030-12-31}]"
    assert settings(text, SNACKS).skips == {"fill": "x"}


DATED = """
task_resources: {limits: {gpu: 2}}
overrides:
  - {project: flytesnacks, limits: {gpu: 4}}
  - {project: flytesnacks, limits: {gpu: 8}, until: 2026-12-04, reason: the benchmark}
"""


@pytest.mark.parametrize(("day", "most"), [("2026-11-25", "8"), ("2026-12-04", "8"), ("2026-12-05", "4")])
def test_an_override_counts_until_the_end_of_its_day(day: str, most: str) -> None:
    policy = load(DATED, "policy.yaml").policy
    found = policy.settings(Task(1, project="flytesnacks"), "x", day)
    assert str(found.limits.get(NVIDIA)) == most
    assert str(policy.settings(Task(1, project="other"), "x", day).limits.get(NVIDIA)) == "2"


def test_an_override_that_has_ended_is_reported() -> None:
    policy = load(DATED, "policy.yaml").policy
    assert policy.expired("2026-12-04") == ()
    assert policy.expired("2026-12-05") == (
        "policy.yaml:5:46: warning: expired on 2026-12-04, no longer counts; remove it, or give it a later day",
    )


def test_settings_of_a_day_are_the_same_object_while_nothing_ends() -> None:
    policy = load(DATED, "policy.yaml").policy
    task = Task(1, project="flytesnacks")
    assert policy.settings(task, "x", "2026-11-25") is policy.settings(task, "x", "2026-11-26")


LATER = "  - {project: flytesnacks, limits: {gpu: 16, cpu: 3}, until: 2026-12-24}\n"


@pytest.mark.parametrize("text", [DATED + LATER, DATED.replace("overrides:\n", f"overrides:\n{LATER}")])
@pytest.mark.parametrize(
    ("day", "gpu", "cpu"),
    [("2026-12-04", "8", "3"), ("2026-12-05", "16", "3"), ("2026-12-24", "16", "3"), ("2026-12-25", "4", None)],
)
def test_of_overrides_with_a_day_the_one_that_ends_first_is_on_top(
    text: str, day: str, gpu: str, cpu: str | None
) -> None:
    """So one that has ended, and waits to be removed, is in nobody's way."""
    limits = load(text, "policy.yaml").policy.settings(Task(1, project="flytesnacks"), "x", day).limits
    assert {name: str(amount) for name, amount in limits.exact.items()} == {
        NVIDIA: gpu, **({"cpu": cpu} if cpu else {}),
    }  # fmt: skip


def test_what_is_for_the_pods_of_operators_is_for_no_other_and_on_top_of_what_is_for_all_pods() -> None:
    text = """
task_resources: {limits: {cpu: 4}}
overrides:
  - {project: p, made_by: operator, limits: {cpu: 2}}
  - {project: p, limits: {cpu: 3}, until: 2030-01-01}
exemptions:
  - {match: {project: p, made_by: operator}, skip: [fill], reason: r, until: 2030-01-01}
"""
    policy = load(text, "policy.yaml").policy
    for operated, most, skips in ((False, "3", {}), (True, "2", {"fill": "r"})):
        settings = policy.settings(Task(1, project="p", operated=operated), "p", "2026-12-01")
        assert (str(settings.limits.get("cpu")), settings.skips) == (most, skips)
        assert str(policy.settings(Task(1, project="q", operated=operated), "q", "2026-12-01").limits.get("cpu")) == "4"


@given(kinds=st.lists(st.sampled_from(["RayJob", "JobSet"]), unique=True))
def test_the_most_workers_are_those_of_the_most_specific_override_kind_by_kind(kinds: list[str]) -> None:
    stated = dict.fromkeys(kinds, 7)
    content = {"max_replicas": {"RayJob": 2, "JobSet": 0}, "overrides": [{"project": "p", "max_replicas": stated}]}
    found = load(json.dumps(content), "policy.yaml").policy.settings(Task(1, project="p"), "p", "2026-12-01")
    assert {kind: most for kind, (most, _) in found.max_replicas.items()} == {"RayJob": 2, **stated}


def test_the_policy_knows_each_kind_of_job() -> None:
    assert sorted(get_args(JobKind)) == sorted(kind.name for kind in KINDS.values())


def test_two_overrides_for_the_same_tasks_until_the_same_day_are_refused() -> None:
    line = "  - {project: flytesnacks, limits: {gpu: 9}, until: 2026-12-04}\n"
    (problem,) = problems(DATED + line).splitlines()
    assert problem.endswith("for the same tasks as line 5, project flytesnacks until 2026-12-04; join the two")


def test_the_day_and_the_reason_of_an_override_are_checked() -> None:
    found = problems("overrides: [{project: p, until: tomorrow, reason: ''}]").splitlines()
    assert [line.split(": ", 2)[1] for line in found] == ["overrides[0].until", "overrides[0].reason"]
