"""The effective policy for some tasks, with the line that each value comes from."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import Data
from webhook.policy.file import load
from webhook.policy.model import TaskScope
from webhook.policy.show import as_data, render, unknown

TODAY = "2026-11-25"
POLICY = """\
task_resources:
  defaults:
    cpu: 500m
    memory: 1Gi
  limits:
    cpu: 4
    gpu: 2
    "nvidia.com/mig-*": 7
    example.com/fpga: 0
secondary_defaults: {cpu: 100m}
overrides:
  - domain: production
    mode: warn
    limits:
      memory: 64Gi
  - project: flytesnacks
    domain: production
    workflow: core.wf
    defaults:
      memory: 2Gi
    secondary_defaults:
      memory: 64Mi
    limits: {cpu: 0, gpu: 8}
mode: audit
warnings: true
exemptions:
  - match: {project: flytesnacks}
    skip: [clamp, quota]
    reason: "a demo: all day"
    until: 2026-11-25
  - match: {domain: production, namespace: a-production}
    skip: [fill]
    reason: moving
    until: 2030-01-01
  - match: {project: other}
    skip: [fill]
    reason: not for us
    until: 2030-01-01
verdicts:
  fits_later:
    flyte2: 403
  retry_after_seconds: 60
plugins:
  k8s:
    resource-tolerations:
      - nvidia.com/gpu:
          - {key: flyte/gpu, operator: Equal, value: big, effect: NoSchedule}
    default-tolerations:
      - {key: always, operator: Exists}
---
{"project":"flytesnacks","domain":"development","workflow":"","defaults":{"cpu":"1","memory":"150Mi"},
 "limits":{"cpu":"2","ephemeral_storage":"7Gi"}}
"""
ORIGIN = re.compile(r"(?P<value>.*?)  # (?P<origin>\S+:[0-9]+|built in)")


def show(scope: TaskScope, text: str = POLICY, today: str = TODAY) -> str:
    return render(load(text, "policy.yaml").policy, scope, today)


SECTIONS = """\
plugins:
  k8s:
    gpu-resource-name: nvidia.com/gpu  # built in
    accelerator-device-classes: {}  # built in
    resource-tolerations:
      nvidia.com/gpu: [{"key":"flyte/gpu", "operator":"Equal", "value":"big", "effect":"NoSchedule"}]  # policy.yaml:46
    default-tolerations: [{"key":"always", "operator":"Exists"}]  # policy.yaml:48
    interruptible-tolerations: []  # built in
tolerate_by_own_name: true  # built in
verdicts:
  fits_later:
    flyte1: 403  # built in
    flyte2: 403  # policy.yaml:41
    operator: 403  # built in
    job: admit  # built in
  never_fits:
    flyte1: 413  # built in
    flyte2: 413  # built in
    operator: 403  # built in
    job: 413  # built in
  retry_after_seconds: 60  # policy.yaml:42
warnings: true  # policy.yaml:25
namespace_mapping:
  template: "{{ project }}-{{ domain }}"  # built in
domains: [{"id":"development"}, {"id":"staging"}, {"id":"production"}]  # built in
project_domain_labels: flyte2  # built in
override_strategy: merge-per-resource  # built in
"""
EVERY_GPU = """\
pod_limits: {{}}
over_limit: {{}}
max_replicas: {{}}
# gpu holds for each of amd.com/gpu, aws.amazon.com/neuron, aws.amazon.com/neuroncore, aws.amazon.com/neurondevice, \
deviceclass.resource.kubernetes.io/gaudi.intel.com, deviceclass.resource.kubernetes.io/gpu.amd.com, \
deviceclass.resource.kubernetes.io/gpu.amd.com-spx, deviceclass.resource.kubernetes.io/gpu.intel.com, \
deviceclass.resource.kubernetes.io/gpu.nvidia.com, deviceclass.resource.kubernetes.io/mig.nvidia.com, \
deviceclass.resource.kubernetes.io/neuron.aws.com, deviceclass.resource.kubernetes.io/tpu.google.com, \
deviceclass.resource.kubernetes.io/vfio.gpu.nvidia.com, google.com/tpu, gpu.intel.com/i915, gpu.intel.com/xe, \
habana.ai/gaudi, intel.com/gpu, nvidia.com/gpu, nvidia.com/pgpu, nvidia.com/vgpu, nvidia.com/mig-*, nvidia.com/gpu.*, \
nvidia.com/gpu-*
cpu_limits: keep  # built in
keep_exclusive_cpus: false  # built in
resource_claims: allow  # built in
# no maximum: {unbounded}, hugepages-*, devices that limits and pod_limits do not name, spec.resourceClaims
"""


OTHERS = "devices that limits and pod_limits do not name"


@pytest.mark.parametrize(
    ("scope", "head", "unbounded", "tail"),
    [
        (
            TaskScope(),
            """\
# For all tasks.
mode: audit  # policy.yaml:24
task_resources:
  defaults:
    cpu: 500m  # policy.yaml:3
    memory: 1Gi  # policy.yaml:4
  limits:
    cpu: 4  # policy.yaml:6
    example.com/fpga: 0  # policy.yaml:9
    gpu: 2  # policy.yaml:7
    "nvidia.com/mig-*": 7  # policy.yaml:8
secondary_defaults:
  cpu: 100m  # policy.yaml:10
""",
            "ephemeral-storage, memory",
            "",
        ),
        (
            TaskScope(project="flytesnacks", domain="production", workflow="core.wf"),
            """\
# For project flytesnacks, domain production, workflow core.wf.
mode: warn  # policy.yaml:13
task_resources:
  defaults:
    cpu: 500m  # policy.yaml:3
    memory: 2Gi  # policy.yaml:20
  limits:
    cpu: 0  # policy.yaml:23
    example.com/fpga: 0  # policy.yaml:9
    gpu: 8  # policy.yaml:23
    memory: 64Gi  # policy.yaml:15
secondary_defaults:
  cpu: 100m  # policy.yaml:10
  memory: 64Mi  # policy.yaml:22
""",
            "cpu, ephemeral-storage",
            """
# exempted from clamp, quota until 2026-11-25: a demo: all day
# exempted in namespace a-production from fill until 2030-01-01: moving""",
        ),
        (
            TaskScope(project="flytesnacks", domain="development"),
            """\
# For project flytesnacks, domain development.
mode: audit  # policy.yaml:24
task_resources:
  defaults:
    cpu: 1  # policy.yaml:51
    memory: 150Mi  # policy.yaml:51
  limits:
    cpu: 2  # policy.yaml:52
    ephemeral-storage: 7Gi  # policy.yaml:52
    example.com/fpga: 0  # policy.yaml:9
    gpu: 2  # policy.yaml:7
    "nvidia.com/mig-*": 7  # policy.yaml:8
secondary_defaults:
  cpu: 100m  # policy.yaml:10
""",
            "memory",
            "\n# exempted from clamp, quota until 2026-11-25: a demo: all day",
        ),
    ],
)
def test_each_value_has_the_line_that_it_comes_from(scope: TaskScope, head: str, unbounded: str, tail: str) -> None:
    assert (
        show(scope).partition("\n# OVERRIDES")[0]
        == f"{head}{EVERY_GPU.format(unbounded=unbounded)}{SECTIONS.rstrip()}{tail}"
    )


def test_the_line_of_a_value_has_the_value() -> None:
    lines = POLICY.splitlines()
    text = show(TaskScope(project="flytesnacks", domain="production", workflow="core.wf"))
    placed = [ORIGIN.fullmatch(line) for line in text.splitlines()]
    found = [match for match in placed if match and match["origin"] != "built in"]
    assert len(found) > 10
    for match in found:
        key, _, value = match["value"].strip().strip('"').partition(": ")
        line = lines[int(match["origin"].rpartition(":")[2]) - 1]
        if not value.startswith("["):
            assert value in line, (key, value, line)


@pytest.mark.parametrize(
    ("text", "unbounded"),
    [
        ("{}", f"cpu, ephemeral-storage, memory, hugepages-*, gpu, {OTHERS}, spec.resourceClaims"),
        ("resource_claims: refuse", f"cpu, ephemeral-storage, memory, hugepages-*, gpu, {OTHERS}"),
        (
            "task_resources: {limits: {cpu: 4, hugepages-2Mi: 1Gi, amd.com/gpu: 1, memory: 0}}",
            f"ephemeral-storage, memory, other hugepages-*, other GPUs, {OTHERS}, spec.resourceClaims",
        ),
        (
            "pod_limits: {cpu: 4, memory: 1, ephemeralStorage: 1, gpu: 2, hugepages-*: 1}\nresource_claims: refuse",
            OTHERS,
        ),
        ("pod_limits: {gpu: 0}", f"cpu, ephemeral-storage, memory, hugepages-*, gpu, {OTHERS}, spec.resourceClaims"),
    ],
)
def test_what_has_no_maximum_is_said(text: str, unbounded: str) -> None:
    assert f"# no maximum: {unbounded}" in show(TaskScope(), text).splitlines()


def test_the_maxima_of_the_pod_as_a_whole_and_whether_it_may_claim_devices_are_shown() -> None:
    override = "{project: p, pod_limits: {gpu: 4}, resource_claims: refuse}"
    text = f"pod_limits: {{gpu: 8, hugepages-*: 2Gi}}\noverrides:\n- {override}"
    found = show(TaskScope(project="p"), text)
    assert yaml.safe_load(found)["pod_limits"] == {"gpu": 4, "hugepages-*": "2Gi"}
    assert "resource_claims: refuse  # policy.yaml:3" in found.splitlines()
    assert "  gpu: 4  # policy.yaml:3" in found.splitlines()
    assert "# gpu holds for each of amd.com/gpu, " in found


def test_what_is_refused_is_shown_and_a_project_may_have_it_lowered() -> None:
    text = """\
task_resources: {limits: {gpu: 2}}
over_limit: {nvidia.com/mig-*: refuse, nvidia.com/gpu: refuse}
overrides:
  - {project: p, over_limit: {gpu: clamp, cpu: refuse}, limits: {cpu: 1}}
"""
    assert yaml.safe_load(show(TaskScope(), text))["over_limit"] == {
        "nvidia.com/mig-*": "refuse",
        "nvidia.com/gpu": "refuse",
    }
    assert yaml.safe_load(show(TaskScope(project="p"), text))["over_limit"] == {"cpu": "refuse", "gpu": "clamp"}
    assert '  "nvidia.com/mig-*": refuse  # policy.yaml:2' in show(TaskScope(), text).splitlines()


def test_what_becomes_of_cpu_limits_is_shown_by_scope() -> None:
    text = """\
cpu_limits: remove
overrides:
  - {domain: production, cpu_limits: {ratio: 1.5}, keep_exclusive_cpus: true}
  - {domain: staging, cpu_limits: keep}
"""
    assert "cpu_limits: remove  # policy.yaml:1" in show(TaskScope(), text).splitlines()
    found = show(TaskScope(domain="production"), text).splitlines()
    assert "cpu_limits: {ratio: 1.5}  # policy.yaml:3" in found
    assert "keep_exclusive_cpus: true  # policy.yaml:3" in found
    assert "cpu_limits: keep  # policy.yaml:4" in show(TaskScope(domain="staging"), text).splitlines()


def test_an_exemption_that_has_ended_is_not_shown() -> None:
    assert "a demo" in show(TaskScope(project="flytesnacks"))
    assert "a demo" not in show(TaskScope(project="flytesnacks"), today="2026-11-26")


def test_what_is_shown_is_what_holds() -> None:
    scope = TaskScope(project="flytesnacks", domain="production", workflow="core.wf")
    policy = load(POLICY, "policy.yaml").policy
    holds = policy.settings_of(policy.matching(scope))
    data = yaml.safe_load(show(scope))
    assert data["task_resources"]["defaults"] == {name: str(value) for name, value in holds.defaults.requests.items()}
    assert data["mode"] == holds.mode
    assert data["verdicts"]["fits_later"] == dict(holds.denial_codes.fits_later)
    for name, value in data["task_resources"]["limits"].items():
        if "*" not in name and name != "gpu":
            assert str(holds.limits.get(name) or 0) == str(value)


def test_a_default_is_shown_as_one_amount_or_as_request_and_limit() -> None:
    text = "task_resources: {defaults: {cpu: {request: 500m, limit: 2}, memory: {request: 1Gi, limit: 1Gi}}}"
    assert yaml.safe_load(show(TaskScope(), text))["task_resources"]["defaults"] == {
        "cpu": {"request": "500m", "limit": 2},
        "memory": "1Gi",
    }


def test_an_empty_policy_is_all_built_in() -> None:
    data = yaml.safe_load(show(TaskScope(), "{}"))
    assert (data["mode"], data["task_resources"]) == ("enforce", {"defaults": {}, "limits": {}})
    assert (data["plugins"]["k8s"]["resource-tolerations"], data["warnings"]) == ({}, False)
    assert ":1" not in show(TaskScope(), "{}")


def test_secondary_defaults_that_are_not_given_are_those_of_the_platform() -> None:
    assert "# secondary_defaults: not given; the same as defaults, but for devices" in show(TaskScope(), "{}")
    assert yaml.safe_load(show(TaskScope(), "secondary_defaults: {}"))["secondary_defaults"] == {}


def test_replaced_resources_are_not_shown() -> None:
    text = POLICY.replace("overrides:", "override_strategy: replace-all-resources\noverrides:")
    data = yaml.safe_load(show(TaskScope(project="flytesnacks", domain="production", workflow="core.wf"), text))
    assert data["task_resources"] == {"defaults": {"memory": "2Gi"}, "limits": {"cpu": 0, "gpu": 8}}


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
REASONS = NAMES.map(lambda text: f"x{text}")


@settings(max_examples=50)
@given(REASONS, NAMES, st.dictionaries(st.sampled_from(["a.b/c", "true.x/1", "1.2/3", "e.f/null"]), st.integers(0, 9)))
def test_what_is_shown_is_yaml_whatever_the_texts(reason: str, task: str, amounts: Data) -> None:
    content = {
        "task_resources": {"defaults": amounts, "limits": {f"{name}*": value for name, value in amounts.items()}},
        "exemptions": [{"match": {"project": "p"}, "skip": ["fill"], "reason": reason, "until": "2030-01-01"}],
        "plugins": {"k8s": {"resource-tolerations": {name: {"key": "x"} for name in amounts}}},
    }
    text = show(TaskScope(project="p", task=task), yaml.safe_dump(content))
    data = yaml.safe_load(text)
    assert data["mode"] == "enforce"
    assert data["task_resources"]["defaults"] == amounts
    assert data["task_resources"]["limits"] == {f"{name}*": value for name, value in amounts.items()}
    assert [*data["plugins"]["k8s"]["resource-tolerations"]] == sorted(amounts)


def test_the_devices_that_are_tolerated_by_their_name_are_shown_where_they_are_given() -> None:
    text = "plugins: {k8s: {add-tolerations-for-extended-resources: [foo/bar, amd.com/gpu]}}"
    line = '    add-tolerations-for-extended-resources: ["amd.com/gpu", "foo/bar"]  # policy.yaml:1'
    assert line in show(TaskScope(), text).splitlines()


ROUND = [
    "{}",
    POLICY,
    "task_resources: {limits: {gpu: 2, nvidia.com/gpu: 4}}\nsecondary_defaults: {}",
    (
        "plugins: {k8s: {gpu-resource-name: a.b/c, accelerator-device-classes: {x: {resource-name: d.e/f}}}}\n"
        "pod_limits: {gpu: 1}\nresource_claims: refuse\nover_limit: {gpu: refuse, a.b/*: clamp}"
    ),
    "plugins: {k8s: {resource-tolerations: {gpu: {key: a}, nvidia.com/mig-*: [], a.b/c: {key: b}}}}",
    "tolerate_by_own_name: false\nnamespace_mapping: {template: 'x-{{ domain }}'}\ndomains: {id: test}",
    "plugins: {k8s: {add-tolerations-for-extended-resources: [a.b/c], interruptible-tolerations: {operator: Exists}}}",
    (
        "task_resources: {defaults: {cpu: {request: 500m, limit: 2}}}\noverride_strategy: replace-all-resources\n"
        "verdicts: {never_fits: {operator: 422}}\nproject_domain_labels: always"
    ),
]


@pytest.mark.parametrize("text", ROUND)
@pytest.mark.parametrize("scope", [TaskScope(), TaskScope(project="flytesnacks", domain="production")])
def test_what_is_shown_loads_and_means_the_same(text: str, scope: TaskScope) -> None:
    policy = load(text, "policy.yaml").policy
    again = load(show(scope, text), "shown.yaml").policy
    first, second = policy.settings_of(policy.matching(scope)), again.settings_of(())
    for part in ("defaults", "secondary_defaults", "limits", "pod_limits"):
        one, other = getattr(first, part), getattr(second, part)
        fields = getattr(type(one), "__slots__", ())
        assert [getattr(one, name) for name in fields] == [getattr(other, name) for name in fields], part
    for part in ("mode", "denial_codes", "warnings"):
        assert getattr(first, part) == getattr(second, part)
    tolerated = [
        (dict(it.by_resource.items()), it.extended, it.always, it.interruptible)
        for it in (first.tolerations, second.tolerations)
    ]
    assert tolerated[0] == tolerated[1]
    for name in ("nvidia.com/gpu", "amd.com/gpu", "a.b/c", "a.b/d", "cpu"):
        refused = (bool(it.over_limit_refused_by.find(name)) for it in (first, second))
        assert len({*refused}) == 1, name
    assert bool(first.claims_refused_by) == bool(second.claims_refused_by)
    assert (again.identification, again.replaces, again.devices) == (
        policy.identification, policy.replaces, policy.devices,
    )  # fmt: skip


DATED = """\
task_resources: {defaults: {cpu: 1, memory: 1Gi}, limits: {gpu: 2}}
overrides:
  - {project: x, domain: production, limits: {gpu: 4}}
  - {project: x, domain: production, limits: {gpu: 8}, until: 2026-12-04, reason: "the benchmark\\nof the year"}
  - {project: y, secondary_defaults: {cpu: {request: 1, limit: 2}}, mode: warn, until: 2020-01-01}
  - {domain: staging, cpu_limits: remove, over_limit: {gpu: refuse}, resource_claims: refuse, pod_limits: {cpu: 4}}
  - {domain: staging, made_by: operator, limits: {cpu: 2}}
  - {domain: staging, project: x, max_replicas: {RayJob: 8, JobSet: 0}}
"""


def test_all_overrides_are_a_table() -> None:
    table = [line for line in show(TaskScope(), DATED).splitlines() if line.startswith("# ")][-7:]
    assert [re.split("  +", line) for line in table] == [
        ["# OVERRIDES FOR", "STATE", "UNTIL", "REASON", "AT"],
        ["# project x, domain production", "limits gpu=4", "-", "-", "policy.yaml:3:5"],
        [
            "# project x, domain production", "limits gpu=8", "2026-12-04", "the benchmark of the year",
            "policy.yaml:4:56",
        ],
        [
            "# project y", "secondary_defaults cpu={request: 1, limit: 2}; mode warn", "2020-01-01 (ended)", "-",
            "policy.yaml:5:81",
        ],
        [
            "# domain staging", "pod_limits cpu=4; over_limit gpu=refuse; cpu_limits remove; resource_claims refuse",
            "-", "-", "policy.yaml:6:5",
        ],
        ["# domain staging, Pods of operators", "limits cpu=2", "-", "-", "policy.yaml:7:5"],
        ["# project x, domain staging", "max_replicas RayJob=8, JobSet=0", "-", "-", "policy.yaml:8:5"],
    ]  # fmt: skip
    assert len({line.rindex(row[-1]) for line, row in zip(table, map(str.split, table), strict=True)}) == 1
    assert "OVERRIDES" not in show(TaskScope(project="x"), DATED)
    assert "OVERRIDES" not in show(TaskScope(), "{}")


def test_json_has_the_values_and_the_overrides() -> None:
    policy = load(DATED, "policy.yaml").policy
    data = as_data(policy, TaskScope(project="x", domain="production"), TODAY)
    assert (data["for"], data["unknown"]) == ({"project": "x", "domain": "production"}, [])
    assert data["policy"]["task_resources"]["limits"] == {"gpu": 8}
    assert data["overrides"][1] == {
        "for": {"project": "x", "domain": "production"},
        "states": {"limits": "gpu=8"},
        "until": "2026-12-04",
        "ended": False,
        "reason": "the benchmark\nof the year",
        "at": "policy.yaml:4:56",
    }
    assert [override["ended"] for override in data["overrides"]] == [False, False, True, False, False, False]
    assert data["overrides"][4]["for"] == {"domain": "staging", "made_by": "operator"}


def test_what_holds_for_jobs_and_for_the_pods_of_operators_is_shown() -> None:
    exemption = "{match: {made_by: operator}, skip: [clamp], reason: Ray reads the template, until: 2099-12-31}"
    found = show(TaskScope(project="x", domain="staging"), f"{DATED}exemptions: [{exemption}]").splitlines()
    assert found[(at := found.index("max_replicas:")) : at + 3] == [
        "max_replicas:", "  JobSet: 0  # policy.yaml:8", "  RayJob: 8  # policy.yaml:8",
    ]  # fmt: skip
    assert found[-2:] == [
        "# for Pods of operators: limits cpu=2 (policy.yaml:7:5)",
        "# exempted for the Pods of operators from clamp until 2099-12-31: Ray reads the template",
    ]


@pytest.mark.parametrize(
    ("scope", "expect"),
    [
        (TaskScope(), []),
        (TaskScope(project="flytesnacks", domain="production"), []),
        (TaskScope(project="other"), []),
        (TaskScope(project="flytesnack"), [
            "no override and no exemption names the project flytesnack; did you mean flytesnacks?",
        ]),
        (TaskScope(project="zzz"), ["no override and no exemption names the project zzz"]),
        (TaskScope(domain="prodution"), ["the domain prodution is not known to the file; did you mean production?"]),
    ],
)  # fmt: skip
def test_a_project_or_domain_that_the_file_does_not_know_is_said(scope: TaskScope, expect: list[str]) -> None:
    assert list(unknown(load(POLICY, "policy.yaml").policy, scope)) == expect
    assert all(f"# {line}" in show(scope).splitlines() for line in expect)
