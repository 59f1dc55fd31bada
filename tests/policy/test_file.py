"""A policy in Flyte's words loads; all errors of a file are reported: where, what, and what is accepted."""

import json
import re

import msgspec
import pytest

from tests.vectors import Data
from webhook.api.pod import Toleration
from webhook.api.resource_list import ResourceList
from webhook.flyte.task import Task
from webhook.policy.file import load
from webhook.policy.schema import Override, fields
from webhook.policy.yaml_text import ProblemsError

TASK = Task(1, "flytesnacks", "development", name="t")


def settings(text: str) -> Data:
    """The parts of the policy that are not empty."""
    loaded = load(text, "p.yaml")
    assert [warning for warning in loaded.warnings if not re.search("no default|cores|read as", warning)] == []
    found = loaded.policy.settings(TASK, "flytesnacks-development", "2026-11-25")
    data = {
        "defaults": texts(found.defaults.requests),
        "secondary_defaults": texts(found.secondary_defaults.requests),
        "limits": texts(found.limits.exact),
        "resource-tolerations": msgspec.to_builtins(dict(found.tolerations.by_resource.items())),
    }
    return {key: value for key, value in data.items() if value}


def texts(amounts: ResourceList) -> dict[str, str]:
    return {name: str(amount) for name, amount in sorted(amounts.items()) if amount}


def problems(text: str) -> list[str]:
    with pytest.raises(ProblemsError) as raised:
        load(text, "p.yaml")
    return str(raised.value).splitlines()


DEFAULTS = {"cpu": "500m", "memory": "500Mi"}
LIMITS = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
FLYTEADMIN = """
task_resources:
  defaults:
    cpu: 500m
    memory: 500Mi
  limits: {cpu: 4, memory: 8Gi, gpu: 1}
"""
PLATFORM = {"defaults": DEFAULTS, "secondary_defaults": DEFAULTS, "limits": LIMITS}


@pytest.mark.parametrize(
    "text",
    [
        FLYTEADMIN,
        # the Flyte documentation
        """
task_resource_defaults:
  defaults:
    cpu: 500m
    memory: 500Mi
  limits: {cpu: 4, memory: 8Gi, gpu: 1}
""",
        # Helm values
        """
task_resource_defaults:
  task_resources:
    defaults:
      cpu: 500m
      memory: 500Mi
    limits: {cpu: 4, memory: 8Gi, gpu: 1}
""",
        json.dumps({"task_resources": {"defaults": {"cpu": 0.5, "mem": "500Mi"}, "limits": LIMITS}}),
        "task_resource_defaults:\n" + FLYTEADMIN,
        "task_resource_defaults: {}\n" + FLYTEADMIN,
    ],
    ids=["flyteadmin", "documentation", "helm", "JSON", "beside nothing", "beside an empty map"],
)
def test_the_platforms_resources_load_in_each_shape_that_flyte_has_for_them(text: str) -> None:
    assert settings(text) == PLATFORM


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("{}", {}),
        ("task_resources:\nsecondary_defaults:\nplugins:\ntask_resource_defaults:", {}),
        ("task_resources: {defaults: , limits: {}}\nplugins: {k8s: }", {}),
        # every spelling of a resource
        (
            "task_resources: {limits: {mem: 1Gi, storage: 2Gi}}",
            {"limits": {"memory": "1Gi", "ephemeral-storage": "2Gi"}},
        ),
        ("task_resources: {limits: {ephemeralStorage: 2Gi}}", {"limits": {"ephemeral-storage": "2Gi"}}),
        ("task_resources: {limits: {nvidia.com/mig-1g.5gb: 7}}", {"limits": {"nvidia.com/mig-1g.5gb": "7"}}),
        # every spelling of an amount, the quantities of Kubernetes as they print
        (
            "task_resources: {limits: {cpu: 1e3, memory: '1.5Gi', gpu: 1000m, amd.com/gpu: 2.0, google.com/tpu: 1k}}",
            {
                "limits": {
                    "cpu": "1e3",
                    "memory": "1536Mi",
                    "nvidia.com/gpu": "1",
                    "amd.com/gpu": "2",
                    "google.com/tpu": "1k",
                }
            },
        ),
        # 0 or nothing is none
        ("task_resources: {defaults: {cpu: 0, memory: '0Gi', gpu: }, limits: {cpu: '0', storage: 0.0}}", {}),
        # other containers: as the platform but for devices, their own, the platform's for what a quota demands
        (
            "task_resources: {defaults: {cpu: 1, gpu: 1, amd.com/gpu: 1}}",
            {"defaults": {"cpu": "1", "nvidia.com/gpu": "1", "amd.com/gpu": "1"}, "secondary_defaults": {"cpu": "1"}},
        ),
        (
            "task_resources: {defaults: {cpu: 1}}\nsecondary_defaults: {mem: 64Mi, gpu: 1}",
            {"defaults": {"cpu": "1"}, "secondary_defaults": {"memory": "64Mi", "nvidia.com/gpu": "1"}},
        ),
        (
            "task_resources: {defaults: {cpu: 1}}\nsecondary_defaults: {}",
            {"defaults": {"cpu": "1"}, "secondary_defaults": {"cpu": "1"}},
        ),
        # what a gpu is
        (
            "plugins: {k8s: {gpu-resource-name: amd.com/gpu}}\nsecondary_defaults: {gpu: 1}",
            {"secondary_defaults": {"amd.com/gpu": "1"}},
        ),
        # aliases and merges
        (
            "task_resources: {defaults: &d {cpu: 1}, limits: {<<: *d, memory: 1Gi}}\nsecondary_defaults: *d",
            {"defaults": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}, "secondary_defaults": {"cpu": "1"}},
        ),
    ],
)
def test_a_policy_comes_to_settings_in_kubernetes_names(text: str, expect: Data) -> None:
    assert settings(text) == expect


ONE = "{key: flyte/gpu, operator: Equal, value: dedicated, effect: NoSchedule}"
OTHER = "{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}"
DEDICATED = {"key": "flyte/gpu", "operator": "Equal", "value": "dedicated", "effect": "NoSchedule"}
PRESENT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("section", "expect"),
    [
        (f"{{nvidia.com/gpu: {ONE}}}", {"nvidia.com/gpu": [DEDICATED]}),
        (f"{{nvidia.com/gpu: [{ONE}, {OTHER}]}}", {"nvidia.com/gpu": [DEDICATED, PRESENT]}),
        (f"[nvidia.com/gpu: [{ONE}], amd.com/gpu: []]", {"nvidia.com/gpu": [DEDICATED], "amd.com/gpu": []}),
        (f"[nvidia.com/gpu: {ONE}, memory: {OTHER}]", {"nvidia.com/gpu": [DEDICATED], "memory": [PRESENT]}),
        # mixed, and a resource that comes twice in a list
        (
            f"{{nvidia.com/gpu: {ONE}, amd.com/gpu: [{OTHER}]}}",
            {"nvidia.com/gpu": [DEDICATED], "amd.com/gpu": [PRESENT]},
        ),
        (f"[nvidia.com/gpu: {ONE}, nvidia.com/gpu: [{OTHER}]]", {"nvidia.com/gpu": [DEDICATED, PRESENT]}),
        ("{}", {}),
        ("[]", {}),
        ("", {}),
        ("[{}]", {}),
        # as much as the API server takes
        ("{amd.com/gpu: {operator: Exists}}", {"amd.com/gpu": [{"operator": "Exists"}]}),
        ("{amd.com/gpu: {key: a}}", {"amd.com/gpu": [{"key": "a"}]}),
        (
            "{amd.com/gpu: {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: -1}}",
            {"amd.com/gpu": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1}]},
        ),
        (
            "{amd.com/gpu: {key: a, value: '', effect: PreferNoSchedule}}",
            {"amd.com/gpu": [{"key": "a", "effect": "PreferNoSchedule"}]},
        ),
        (
            "{amd.com/gpu: {key: a, value: b, operator: , effect: , tolerationSeconds: }}",
            {"amd.com/gpu": [{"key": "a", "value": "b"}]},
        ),
        # an empty text says as much as its absence, to Kubernetes and so to Flyte
        (
            "{amd.com/gpu: {key: '', operator: Exists, value: '', effect: ''}}",
            {"amd.com/gpu": [{"operator": "Exists"}]},
        ),
        ("{amd.com/gpu: {key: a, operator: '', value: b}}", {"amd.com/gpu": [{"key": "a", "value": "b"}]}),
    ],
)
def test_tolerations_load_in_each_shape_that_flyte_accepts(section: str, expect: dict[str, list[Data]]) -> None:
    text = f"plugins:\n  k8s:\n    resource-tolerations: {section}"
    assert settings(text).get("resource-tolerations", {}) == {name: tuple(found) for name, found in expect.items()}


def test_tolerations_are_those_of_pods() -> None:
    text = f"plugins: {{k8s: {{resource-tolerations: {{amd.com/gpu: {OTHER}}}}}}}"
    found = load(text, "p.yaml").policy.tolerations.by_resource
    assert dict(found.items()) == {
        "amd.com/gpu": (Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),)
    }


FOR_ALL = "for all tasks; give project, domain, workflow or task, or org: flyte if all are meant"
IN_RANGE = "write a whole number of seconds, from 1 to 3600"
NOT_FOR_A_TASK = "not for a workflow or task, whose labels its author can set; give a project or domain alone"
A_TEMPLATE = "write a name with {{ project }} or {{ domain }} in it"
A_NUMBER = "write a number such as 2, 500m, 1.5 or 1e3, with one of the suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei"
NO_QUANTITY = f"is not a valid quantity; {A_NUMBER}"
AN_AMOUNT = f"where an amount is expected; {A_NUMBER}"
RESOURCES = (
    "cpu, memory, mem, ephemeralStorage, ephemeral_storage, ephemeral-storage, storage, gpu, "
    "or the full name of an extended resource"
)
SECTIONS = (
    "task_resources, task_resource_defaults, secondary_defaults, pod_limits, over_limit, max_replicas, "
    "cpu_limits, keep_exclusive_cpus, resource_claims, overrides, override_strategy, namespace_mapping, domains, "
    "tolerate_by_own_name, project_domain_labels, mode, warnings, exemptions, verdicts, "
    "plugins"
)
FOR_JOBS = "for jobs, which Flyte creates, not operators; give it without made_by"
KINDS_OF_JOBS = "'RayJob', 'SparkApplication', 'DaskJob', 'PyTorchJob', 'TFJob', 'MPIJob' or 'JobSet'"
A_MAP = "where a map is expected; write `key: value` lines below it"
NO_DEVICES = "is not a whole number of devices; write one such as 1 or 8"
NO_NUMBER = "is not a plain number; write it in quotes, or in decimal"
NOT_LOWER = "is not a valid resource name; write nvidia.com/gpu"
NO_RESOURCE = "is not a valid resource name; write gpu, one such as nvidia.com/gpu, or nvidia.com/mig-*"
NO_NAME = "write a full name such as nvidia.com/gpu"
A_TEXT = "where a text is expected; write it in quotes"
SECTION = "plugins.k8s.resource-tolerations"
K8S = (
    "gpu-resource-name, accelerator-device-classes, resource-tolerations, default-tolerations, "
    "interruptible-tolerations, add-tolerations-for-extended-resources"
)
TOLERATION = "key, operator, value, effect, tolerationSeconds"
A_TOLERATION = f"where a map is expected, with the keys {TOLERATION}"


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("", ["1:1: nothing in the file; write one policy, such as task_resources: …"]),
        ("# nothing\n---\n", ["1:1: nothing in the file; write one policy, such as task_resources: …"]),
        (
            "{}\n---\n{}",
            [f"3:1: {FOR_ALL}"],
        ),
        ("task_resources", [f"1:1: 'task_resources' {A_MAP}"]),
        ("- task_resources", [f"1:1: a list {A_MAP}"]),
        ("true", [f"1:1: true {A_MAP}"]),
        (
            "a: b: c",
            [
                (
                    "1:5: not valid YAML: a second ':' in one line, or a wrong indentation; "
                    "quote the text, or begin a new line"
                )
            ],
        ),
        ("[" * 1000, ["1:1: nested too deeply, or an alias within itself"]),
        # everything at once
        (
            """
task_resources:
  defaults: {cpu: four, memory: -1, gpu: 1.5, foo: 1, nvidia.com/mig: 0.5}
  limit: {}
secondary_defaults: [cpu]
extra: 1
plugins:
  k8s:
    default-cpus: 1
    gpu-resource-name: gpu
    resource-tolerations: {"a b": [], Nvidia.com/gpu: []}
""",
            [
                f"3:19: task_resources.defaults.cpu: 'four' {NO_QUANTITY}",
                "3:33: task_resources.defaults.memory: -1 is negative; write 0 for none",
                f"3:42: task_resources.defaults.gpu: 1.5 {NO_DEVICES}",
                f"3:47: task_resources.defaults.foo: unknown key; accepted: {RESOURCES}",
                f"3:71: task_resources.defaults[nvidia.com/mig]: 0.5 {NO_DEVICES}",
                "4:3: task_resources.limit: unknown key; did you mean limits? accepted: defaults, limits",
                f"5:21: secondary_defaults: a list {A_MAP}",
                f"6:1: extra: unknown key; accepted: {SECTIONS}",
                f"10:24: plugins.k8s.gpu-resource-name: 'gpu' is not an extended resource; {NO_NAME}",
                f"11:28: {SECTION}[a b]: 'a b' {NO_RESOURCE}",
                f"11:39: {SECTION}[Nvidia.com/gpu]: 'Nvidia.com/gpu' {NOT_LOWER}",
            ],
        ),
        # shapes
        ("task_resources: 5", ["1:17: task_resources: 5 where a map is expected, with the keys defaults, limits"]),
        (
            "task_resources: {defaults: 5, limits: [1]}",
            [f"1:28: task_resources.defaults: 5 {A_MAP}", f"1:39: task_resources.limits: a list {A_MAP}"],
        ),
        (
            "namespace_mapping: {template: '{{project}}'}\noverrides: [{project: a b, mode: warn}]",
            [
                f"1:31: namespace_mapping.template: '{{{{project}}}}' is not a valid template; {A_TEMPLATE}",
                "2:23: overrides[0].project: 'a b' is not a valid name; write at most 63 letters, digits and -_.",
            ],
        ),
        (
            """\
mode: off
bogus: 1
overrides:
- {task: t, mode: audit}
- {limits: {cpu: 4x}}
- {project: p}
- {project: p}
- 5
verdicts: {retry_after_seconds: 0}
---
{}
""",
            [
                "1:7: mode: false is not accepted; write 'enforce', 'warn' or 'audit'",
                "1:7: mode: off is a boolean in YAML; quote it, or write true or false",
                f"2:1: bogus: unknown key; accepted: {SECTIONS}",
                f"4:13: overrides[0].mode: {NOT_FOR_A_TASK}",
                f"5:18: overrides[1].limits.cpu: '4x' {NO_QUANTITY}",
                "7:3: overrides[3]: for the same tasks as line 6, project p; join the two",
                f"8:3: overrides[4]: 5 where a map is expected, with the keys {', '.join(fields(Override))}",
                f"9:33: verdicts.retry_after_seconds: 0 is out of range; {IN_RANGE}",
                f"11:1: {FOR_ALL}",
            ],
        ),
        # jobs, and the Pods of operators
        (
            "max_replicas: {RayJob: -1, rayjob: 2, JobSet: many}",
            [
                "1:24: max_replicas.RayJob: -1 is not a number of workers; write one such as 16, or 0 for no maximum",
                f"1:28: max_replicas.rayjob: 'rayjob' is not accepted; write {KINDS_OF_JOBS}",
                "1:47: max_replicas.JobSet: 'many' where a whole number is expected; write one such as 30",
            ],
        ),
        (
            "overrides: [{made_by: flyte, mode: warn}, {made_by: operator, max_replicas: {RayJob: 2}}]",
            [
                "1:23: overrides[0].made_by: 'flyte' is not accepted; write 'operator'",
                f"1:63: overrides[1].max_replicas: {FOR_JOBS}",
            ],
        ),
        (
            "overrides:\n- {made_by: operator, mode: warn}\n- {made_by: operator, limits: {cpu: 1}}",
            ["3:3: overrides[1]: for the same tasks as line 2, all tasks, Pods of operators; join the two"],
        ),
        ("plugins: 5", ["1:10: plugins: 5 where a map is expected, with the keys k8s"]),
        ("plugins:\n  k8s: []", [f"2:8: plugins.k8s: a list where a map is expected, with the keys {K8S}"]),
        ("plugins: {k8s: {gpu-resource-name: }}", [f"1:35: plugins.k8s.gpu-resource-name: nothing {A_TEXT}"]),
        ("plugins: {k8s: {gpu-resource-name: 5}}", [f"1:36: plugins.k8s.gpu-resource-name: 5 {A_TEXT}"]),
        # amounts
        (
            "task_resources: {limits: {cpu: true, memory: [], storage: {}, gpu: x}}",
            [
                f"1:32: task_resources.limits.cpu: true {AN_AMOUNT}",
                f"1:46: task_resources.limits.memory: a list {AN_AMOUNT}",
                f"1:59: task_resources.limits.storage: a map {AN_AMOUNT}",
                f"1:68: task_resources.limits.gpu: 'x' {NO_QUANTITY}",
            ],
        ),
        # YAML traps
        ("task_resources: {limits: {cpu: 010}}", [f"1:32: task_resources.limits.cpu: 010 {NO_NUMBER}"]),
        ("secondary_defaults:\n  cpu: 1:30", [f"2:8: secondary_defaults.cpu: 1:30 {NO_NUMBER}"]),
        (
            "secondary_defaults:\n  cpu: yes",
            ["2:8: secondary_defaults.cpu: yes is a boolean in YAML; quote it, or write true or false"],
        ),
        (
            "task_resources:\n  defaults:\n    cpu: 1\n    cpu: 2\n  defaults: {}",
            [
                "4:5: task_resources.defaults.cpu: duplicate key, first given in line 3; keep one of them",
                "5:3: task_resources.defaults: duplicate key, first given in line 2; keep one of them",
            ],
        ),
        # one resource, said twice
        (
            "secondary_defaults: {memory: 1Gi, mem: 1Gi}",
            ["1:35: secondary_defaults.mem: the same resource as memory; keep one of them"],
        ),
        (
            "secondary_defaults: {storage: 1Gi, ephemeralStorage: 1Gi}",
            ["1:36: secondary_defaults.ephemeralStorage: the same resource as storage; keep one of them"],
        ),
        (
            "secondary_defaults: {gpu: 1, nvidia.com/gpu: 2}",
            ["1:30: secondary_defaults[nvidia.com/gpu]: the same resource as gpu; keep one of them"],
        ),
        # one block, said twice
        (
            "task_resources: {}\ntask_resource_defaults: {limits: {}}",
            ["2:1: task_resource_defaults: given in task_resources too; keep one of them"],
        ),
        (
            "task_resource_defaults:\n  task_resources: {}\n  limits: {}",
            ["2:3: task_resource_defaults.task_resources: given beside defaults or limits; keep one of them"],
        ),
        (
            "task_resource_defaults:\n  task_resources: {limit: {}}\n  default: {}",
            [
                (
                    "2:20: task_resource_defaults.task_resources.limit: "
                    "unknown key; did you mean limits? accepted: defaults, limits"
                ),
                (
                    "3:3: task_resource_defaults.default: "
                    "unknown key; did you mean defaults? accepted: defaults, limits, task_resources"
                ),
            ],
        ),
        # a problem in an alias is reported at the anchor
        (
            "task_resources: {defaults: &d {cpu: x}, limits: *d}",
            [
                f"1:37: task_resources.defaults.cpu: 'x' {NO_QUANTITY}",
                f"1:37: task_resources.limits.cpu: 'x' {NO_QUANTITY}",
            ],
        ),
        # names that are no resources a Pod could have limited
        (
            "secondary_defaults: {hugepages-2Mi: 2Mi, requests.nvidia.com/gpu: 1, foo.kubernetes.io/x: 1, '': 1}",
            [
                f"1:22: secondary_defaults.hugepages-2Mi: unknown key; accepted: {RESOURCES}",
                f"1:42: secondary_defaults[requests.nvidia.com/gpu]: unknown key; accepted: {RESOURCES}",
                f"1:70: secondary_defaults[foo.kubernetes.io/x]: unknown key; accepted: {RESOURCES}",
                f"1:94: secondary_defaults.: unknown key; accepted: {RESOURCES}",
            ],
        ),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(text: str, expect: list[str]) -> None:
    assert problems(text) == [f"p.yaml:{line}" for line in expect]


GPU = f"{SECTION}[nvidia.com/gpu]"
NO_VALUE = "is not a valid taint value; write at most 63 letters, digits and -_."
NO_KEY = "must be Exists where there is no key; write operator: Exists, or a key"
NO_EFFECT = "is not accepted; write 'NoSchedule', 'PreferNoSchedule', 'NoExecute' or nothing"
NO_SECONDS = "must be NoExecute where tolerationSeconds is set; write NoExecute, or remove tolerationSeconds"


BOTH = "give a request and a limit above 0, or one amount for both"


@pytest.mark.parametrize(
    ("section", "expect"),
    [
        (
            "{cpu: {request: 1, limit: 500m}}",
            ["1:44: task_resources.defaults.cpu.request: 1 is over the limit 500m; write at most the limit"],
        ),
        ("{cpu: {request: 1}}", [f"1:34: task_resources.defaults.cpu: {BOTH}"]),
        ("{cpu: {limit: 1, request: 0}}", [f"1:34: task_resources.defaults.cpu: {BOTH}"]),
        ("{memory: {}}", [f"1:37: task_resources.defaults.memory: {BOTH}"]),
        (
            "{cpu: {request: 1x, limit: -1, most: 2}, memory: {request: 1Gi, limit: 1Gi, least: 1}}",
            [
                f"1:44: task_resources.defaults.cpu.request: '1x' {NO_QUANTITY}",
                "1:55: task_resources.defaults.cpu.limit: -1 is negative; write 0 for none",
                "1:59: task_resources.defaults.cpu.most: unknown key; accepted: request, limit",
                "1:104: task_resources.defaults.memory.least: unknown key; accepted: request, limit",
            ],
        ),
        (
            "{gpu: {request: 1, limit: 2}}",
            ["1:34: task_resources.defaults.gpu: request and limit of a device are always equal; write one amount"],
        ),
    ],
)
def test_a_request_and_a_limit_that_no_container_can_have_are_errors(section: str, expect: list[str]) -> None:
    assert problems(f"task_resources: {{defaults: {section}}}") == [f"p.yaml:{line}" for line in expect]


def test_amounts_with_which_nothing_runs_are_warned_of_by_what_they_mean() -> None:
    text = """\
task_resources:
  defaults: {cpu: 500, memory: 8, ephemeralStorage: {request: 128m, limit: 20Gi}}
  limits: {cpu: 600, memory: 1.5Gi, gpu: 2}
secondary_defaults: {memory: 0.3Mi, cpu: 256, ephemeralStorage: 0}
pod_limits: {memory: 2000000.5}
"""
    suffix = "write an amount with a suffix such as Mi or Gi"
    assert [line for line in load(text, "p.yaml").warnings if "; write " in line] == [
        "p.yaml:2:19: task_resources.defaults.cpu: warning: 500 is 500 cores; write 500m for thousandths of a core",
        f"p.yaml:2:32: task_resources.defaults.memory: warning: 8 is 8 bytes; {suffix}",
        f"p.yaml:2:53: task_resources.defaults.ephemeralStorage: warning: 128m is 0.128 bytes; {suffix}",
        "p.yaml:3:17: task_resources.limits.cpu: warning: 600 is 600 cores; write 600m for thousandths of a core",
        f"p.yaml:4:30: secondary_defaults.memory: warning: 0.3Mi is 314572.8 bytes; {suffix}",
        f"p.yaml:5:22: pod_limits.memory: warning: 2000000.5 is 2000000.5 bytes; {suffix}",
    ]


CPU_LIMITS = "is not accepted; write keep, remove, or {ratio: 2} with a number from 1 up"


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        ("none", f"1:13: cpu_limits: 'none' {CPU_LIMITS}"),
        ("{ratio: 0.5}", f"1:13: cpu_limits: {{ratio: 0.5}} {CPU_LIMITS}"),
        ("{ratio: 2, most: 4}", f"1:13: cpu_limits: {{ratio: 2, most: 4}} {CPU_LIMITS}"),
        ("{ratio: x}", f"1:13: cpu_limits: {{ratio: 'x'}} {CPU_LIMITS}"),
        ("{ratio: '2'}", f"1:13: cpu_limits: {{ratio: '2'}} {CPU_LIMITS}"),
        ("{ratio: [2]}", f"1:13: cpu_limits: {{ratio: a list}} {CPU_LIMITS}"),
        ("{}", f"1:13: cpu_limits: {{}} {CPU_LIMITS}"),
        ("[remove]", f"1:13: cpu_limits: a list {CPU_LIMITS}"),
        ("2", f"1:13: cpu_limits: 2 {CPU_LIMITS}"),
    ],
)
def test_what_cannot_become_of_cpu_limits_is_an_error(value: str, expect: str) -> None:
    assert problems(f"cpu_limits: {value}") == [f"p.yaml:{expect}"]


def test_a_request_and_a_limit_are_what_a_container_gets_that_states_nothing() -> None:
    platform = "task_resources: {defaults: {cpu: {request: 0.5, limit: 2}, memory: 1Gi, gpu: 1}}"
    secondary = "secondary_defaults: {mem: {request: 1Mi, limit: 2Mi}}"
    found = load(f"{platform}\n{secondary}", "p.yaml").policy.settings(TASK, "n", "2026-11-25")
    assert texts(found.defaults.requests) == {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"}
    assert texts(found.defaults.limits) == {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"}
    assert texts(found.secondary_defaults.limits) == {"memory": "2Mi"}


@pytest.mark.parametrize(
    ("section", "expect"),
    [
        ("5", [f"3:27: {SECTION}: 5 {A_MAP}"]),
        ("[5]", [f"3:28: {SECTION}[0]: 5 {A_MAP}"]),
        ("{nvidia.com/gpu: 5}", [f"3:44: {GPU}: 5 {A_TOLERATION}"]),
        ("{nvidia.com/gpu: }", [f"3:43: {GPU}: nothing {A_TOLERATION}"]),
        ("{nvidia.com/gpu: [{operator: Exists}, 5]}", [f"3:65: {GPU}[1]: 5 {A_TOLERATION}"]),
        (
            "{nvidia.com/gpu: [{key: a, operator: Exist, keys: b, effect: NoRun}]}",
            [
                f"3:64: {GPU}[0].operator: 'Exist' is not accepted; write 'Equal', 'Exists' or nothing",
                f"3:71: {GPU}[0].keys: unknown key; did you mean key? accepted: {TOLERATION}",
                f"3:88: {GPU}[0].effect: 'NoRun' {NO_EFFECT}",
            ],
        ),
        (
            "{nvidia.com/gpu: {keys: b, operator: Exists}}",
            [f"3:45: {GPU}.keys: unknown key; did you mean key? accepted: {TOLERATION}"],
        ),
        (
            "[{nvidia.com/gpu: {keys: b, operator: Exists}}]",
            [f"3:46: {SECTION}[0][nvidia.com/gpu].keys: unknown key; did you mean key? accepted: {TOLERATION}"],
        ),
        ("{nvidia.com/gpu: {}}", [f"3:44: {GPU}.operator: {NO_KEY}"]),
        (
            "{nvidia.com/gpu: {value: a, operator: Equal}}",
            [f"3:65: {GPU}.operator: {NO_KEY}"],
        ),
        (
            "{nvidia.com/gpu: {key: 'a b', operator: Exists, value: c}}",
            [
                f"3:50: {GPU}.key: 'a b' is not a valid taint key; write a name such as nvidia.com/gpu",
                f"3:82: {GPU}.value: must be empty where operator is Exists; remove it, or write operator: Equal",
            ],
        ),
        ("{nvidia.com/gpu: {key: a, value: 'b c'}}", [f"3:60: {GPU}.value: 'b c' {NO_VALUE}"]),
        ("{nvidia.com/gpu: {key: a, value: b/c}}", [f"3:60: {GPU}.value: 'b/c' {NO_VALUE}"]),
        (
            f"{{nvidia.com/gpu: {{key: a, operator: Equal, value: {'b' * 64}}}}}",
            [f"3:77: {GPU}.value: '{'b' * 64}' {NO_VALUE}"],
        ),
        (
            "{nvidia.com/gpu: {key: a, tolerationSeconds: 5}}",
            [f"3:44: {GPU}.effect: {NO_SECONDS}"],
        ),
        (
            "{nvidia.com/gpu: {key: a, effect: NoSchedule, tolerationSeconds: 0}}",
            [f"3:61: {GPU}.effect: {NO_SECONDS}"],
        ),
        (
            "{nvidia.com/gpu: {key: a, effect: NoExecute, tolerationSeconds: 1.5}}",
            [f"3:91: {GPU}.tolerationSeconds: 1.5 where a whole number is expected; write one such as 30"],
        ),
        ("{nvidia.com/gpu: {key: a, value: 1}}", [f"3:60: {GPU}.value: 1 {A_TEXT}"]),
        (
            "{nvidia.com/gpu: {key: [a], operator: {}, value: {}, effect: []}}",
            [
                f"3:50: {GPU}.key: a list is not a valid taint key; write a name such as nvidia.com/gpu",
                f"3:50: {GPU}.key: a list {A_TEXT}",
                f"3:65: {GPU}.operator: a map is not accepted; write 'Equal', 'Exists' or nothing",
                f"3:76: {GPU}.value: a map {A_TEXT}",
                f"3:88: {GPU}.effect: a list {NO_EFFECT}",
            ],
        ),
    ],
)
def test_tolerations_that_the_api_server_would_refuse_are_told(section: str, expect: list[str]) -> None:
    text = f"plugins:\n  k8s:\n    resource-tolerations: {section}"
    assert problems(text) == [f"p.yaml:{line}" for line in expect]


STORAGE = "warning: read as ephemeralStorage, while Flyte ignores this key; write ephemeralStorage"
NO_DOMAIN = "no namespace is read as this domain; add it to domains, which are development, staging, production"
NOTHING_REFUSED = "no maximum; only what is over the max of a LimitRange is refused; give one in limits or pod_limits"
GETS_ALL = "that states none gets all of 8Gi, as request and limit"
OVER_500 = "is over the limit 500Mi, which is what tasks get"
OVER_1 = "is over this limit 1, which is what tasks get"
OVER_2 = "is over the limit 2, which is what tasks get"
BLOCKS = "blocks a worker of propeller for up to 30 seconds a try"
FINAL = "fails the task at once, although it would fit later"
CUT = (
    "applies to each {} whose name begins like this, as the label is cut after 63 characters; give the project and "
    "domain too, or shorten the name"
)
NO_MAP = (
    "does not apply to map tasks of it, as their label is cut before it tells which task they are of; shorten the "
    "name, or write workflow"
)
IMPATIENT = (
    'ten pauses of 3 s do not fit into Flyte 2\'s timeout of 30 s, so its users see "context deadline exceeded" '
    "instead of the reason; write 2, or raise actions.kubernetes.timeout"
)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            "plugins:\n  spark: {}\n  k8s: {default-cpus: 1, default-labels: {}, gpu-resource-name: a.b/c}\n  logs:\n",
            [
                "2:3: warning: 4 keys are left to Flyte and not used here; `policy check -v` lists them",
            ],
        ),
        (
            """\
task_resources:
  defaults: {cpu: 4, mem: 1Gi, gpu: 3, storage: 2Gi, amd.com/gpu: 9}
  limits: {cpu: 2, memory: 1Gi, nvidia.com/gpu: 1, ephemeralStorage: 1G}
secondary_defaults: {cpu: 2001m, memory: 1Gi}
""",
            [
                "2:19: task_resources.defaults.cpu: warning: 4 is over the limit 2, which is what tasks get",
                "2:37: task_resources.defaults.gpu: warning: 3 is over the limit 1, which is what tasks get",
                f"2:40: task_resources.defaults.storage: {STORAGE}",
                "2:49: task_resources.defaults.storage: warning: 2Gi is over the limit 1G, which is what tasks get",
                "4:27: secondary_defaults.cpu: warning: 2001m is over the limit 2, which is what tasks get",
            ],
        ),
        (
            "task_resource_defaults: {task_resources: {defaults: {cpu: 4}, limits: {cpu: 2}}}",
            [
                f"1:59: task_resource_defaults.task_resources.defaults.cpu: warning: 4 {OVER_2}",
            ],
        ),
        (
            "task_resource_defaults: {defaults: {cpu: 4}, limits: {cpu: 2}}",
            [f"1:42: task_resource_defaults.defaults.cpu: warning: 4 {OVER_2}"],
        ),
        (
            """\
task_resources: {defaults: {cpu: 2, memory: 1Gi}, limits: {cpu: 4}}
overrides: [{domain: production, limits: {cpu: 1}}]
""",
            [
                "2:48: overrides[0].limits.cpu: warning: the default 2 is over this limit 1, which is what tasks get",
            ],
        ),
        (  # of the Pod as a whole: less than one container may have is fine, less than it gets by default is not
            """\
task_resources: {defaults: {cpu: 2, memory: 1Gi, ephemeralStorage: 1Gi}, limits: {cpu: 8, gpu: 2}}
pod_limits: {cpu: 4, memory: 16Gi, gpu: 1, ephemeralStorage: 500Mi}
overrides: [{domain: production, pod_limits: {cpu: 1}}]
""",
            [
                f"1:68: task_resources.defaults.ephemeralStorage: warning: 1Gi {OVER_500}",
                f"3:52: overrides[0].pod_limits.cpu: warning: the default 2 {OVER_1}",
            ],
        ),
        (
            "pod_limits: {cpu: 4}",
            [
                f"1:14: pod_limits.cpu: warning: no default; a container {GETS_ALL.replace('8Gi', '4')}",
            ],
        ),
        ("overrides: [{domain: prod, defaults: {cpu: 1}}]", [f"1:22: overrides[0].domain: warning: {NO_DOMAIN}"]),
        (
            "task_resources: {defaults: {cpu: 1, memory: 1Gi}, limits: {memory: 8Gi}}\nsecondary_defaults: {cpu: 1}",
            [f"1:60: task_resources.limits.memory: warning: no default; a secondary container {GETS_ALL}"],
        ),
        (
            "task_resources: {limits: {gpu: 2}}\nover_limit: {gpu: refuse, example.com/*: refuse, cpu: clamp}",
            [f"2:27: over_limit[example.com/*]: warning: {NOTHING_REFUSED}"],
        ),
        (
            """\
verdicts:
  fits_later: {flyte1: 429, flyte2: 403, operator: 429}
  never_fits: {flyte1: 422, flyte2: 422, operator: 413}
""",
            [
                f"2:24: verdicts.fits_later.flyte1: warning: 429 {BLOCKS}; write 403",
                "2:37: verdicts.fits_later.flyte2: warning: 403 uses up the task's retries at once; write 429",
                "3:24: verdicts.never_fits.flyte1: warning: 422 makes Flyte before 1.16.7 loop; write 413",
            ],
        ),
        ("verdicts: {retry_after_seconds: 3}", [f"1:33: verdicts.retry_after_seconds: warning: {IMPATIENT}"]),
        ("verdicts: {retry_after_seconds: 2}", []),
        (f"overrides: [{{task: {'a' * 48}.b, mode: null}}]", []),
        (f"overrides: [{{task: {'a' * 49}.b}}]", [f"1:20: overrides[0].task: warning: {NO_MAP}"]),
        (
            f"overrides: [{{workflow: {'a' * 64}, task: {'b' * 64}}}]",
            [
                f"1:24: overrides[0].workflow: warning: {CUT.format('workflow')}",
                f"1:96: overrides[0].task: warning: {CUT.format('task')}",
                f"1:96: overrides[0].task: warning: {NO_MAP}",
            ],
        ),
        (
            "verdicts: {retry_after_seconds: 3, fits_later: {flyte2: 413}}",
            [f"1:57: verdicts.fits_later.flyte2: warning: 413 {FINAL}; write 429"],
        ),
    ],
    ids=[
        *("left to Flyte", "over the limit", "helm", "documentation"),
        *("an override's limit under the default", "the Pod as a whole under a default", "the Pod's bound"),
        *("a domain that no namespace has", "a secondary container's bound", "nothing to refuse"),
        *("codes that Flyte misunderstands", "pauses beyond its patience", "pauses within it"),
        *("a name that fits into the labels", "a name too long for map tasks", "names longer than labels"),
        "no code with a pause",
    ],
)
def test_what_flyte_accepts_loads_with_a_warning_where_it_stands(text: str, warnings: list[str]) -> None:
    assert list(load(text, "p.yaml").warnings) == [f"p.yaml:{line}" for line in warnings]


@pytest.mark.parametrize(
    ("maxima", "refused", "warned"),
    [
        ("gpu: 2", "gpu", False),
        ("gpu: 2", "nvidia.com/*", False),
        ("gpu: 2", "nvidia.com/mig-*", False),
        ("gpu: 2", "amd.com/gpu", False),
        ("gpu: 2", "example.com/*", True),
        ("nvidia.com/gpu: 2", "gpu", False),
        ("amd.com/gpu: 2", "gpu", False),
        ("nvidia.com/mig-*: 2", "gpu", False),
        ("nvidia.com/mig-1g.5gb: 2", "gpu", False),
        ("example.com/fpga: 2", "gpu", True),
        ("example.com/fpga: 2", "example.com/*", False),
        ("example.com/fpga-a-*: 2", "example.com/fpga-*", False),
        ("example.com/*: 2", "example.com/fpga", False),
        ("example.com/*: 2", "example.com/fpga-*", False),
        ("example.com/fpga: 2", "example.com/gpu", True),
        ("{gpu: 2, nvidia.com/mig-*: 0}", "nvidia.com/mig-*", True),
        ("hugepages-2Mi: 2Mi", "hugepages-*", False),
        ("hugepages-*: 2Mi", "hugepages-1Gi", False),
        ("storage: 1Gi", "ephemeral-storage", False),
        ("cpu: 1", "memory", True),
    ],
)
@pytest.mark.parametrize("section", ["task_resources: {limits: %s}", "pod_limits: %s"])
def test_nothing_to_refuse_is_warned_of_where_no_maximum_is_of_the_kind(
    section: str,
    maxima: str,
    refused: str,
    warned: bool,  # noqa: FBT001
) -> None:
    maxima = maxima if maxima.startswith("{") else f"{{{maxima}}}"
    found = load(f"{section % maxima}\nover_limit: {{{refused}: refuse}}", "p.yaml").warnings
    assert [NOTHING_REFUSED in line for line in found if "over_limit" in line] == [True][: bool(warned)]


def test_a_maximum_for_a_kind_of_device_under_its_default_is_warned_of() -> None:
    platform = "task_resources: {defaults: {nvidia.com/gpu: 4}}"
    for key in ("gpu", "nvidia.com/gpu", "nvidia.com/*"):
        found = load(f"{platform}\noverrides: [{{domain: production, limits: {{{key}: 1}}}}]", "p.yaml").warnings
        assert ["the default 4 is over this limit 1, which is what tasks get" in line for line in found] == [True]


GPU_PLUGIN = "no device plugin is known for this name; did you mean nvidia.com/gpu?"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nvidia.com/gpus", GPU_PLUGIN),
        ("nvidia.com/gpu", ""),
        ("gpu", ""),
        ("nvidia.com/mig-*", ""),
        ("nvidia.com/gpu.shared", ""),
        ("example.com/fpga", ""),
        ("memory", ""),
        ("hugepages-2Mi", ""),
        ("gpus", "no Pod can use a resource of this name; did you mean gpu?"),
        ("fpga", "no Pod can use a resource of this name"),
        ("requests.nvidia.com/gpu", "no Pod can use a resource of this name; did you mean nvidia.com/gpu?"),
    ],
)
@pytest.mark.parametrize("shape", ["{{{}: []}}", "[{{{}: []}}]"], ids=["map", "list"])
def test_a_toleration_for_a_name_that_no_pod_can_have_is_a_warning(name: str, why: str, shape: str) -> None:
    found = load(f"plugins: {{k8s: {{resource-tolerations: {shape.format(name)}}}}}", "p.yaml").warnings
    assert [line.partition("warning: ")[2] for line in found] == [why][: bool(why)]


def test_a_maximum_for_nearly_a_gpu_is_a_warning() -> None:
    (line,) = load("task_resources: {limits: {nvidia.com/gpus: 2}}", "p.yaml").warnings
    assert line == f"p.yaml:1:27: task_resources.limits[nvidia.com/gpus]: warning: {GPU_PLUGIN}"


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("domains: [development]", "1:11: domains[0]: 'development' where a map is expected, with the keys id, name"),
        ("domains: {development: {}}", "1:11: domains.development: unknown key; accepted: id, name"),
        ("namespace_mapping: '{{ project }}'", "'{{ project }}' where a map is expected, with the keys template"),
        ("over_limit: refuse", f"1:13: over_limit: 'refuse' {A_MAP}"),
        ("cpu_limits: off", f"1:13: cpu_limits: false {CPU_LIMITS}"),
        ("overrides: [{project: p, until: 20301231}]", "20301231 where a text is expected; write one such as `until: "),
        ("task_resources:\n\u00a0\u00a0limits: {}", "a blank that is not a space; use spaces"),
        ("mode: audit\n\u00a0warnings: true", "a blank that is not a space; use spaces"),
        ("task_resources: {limits: !!set {cpu, memory}}", "1:26: task_resources.limits: a tag, !!set; remove it"),
        ("task_resources: !Ref x", "1:17: task_resources: a tag, !Ref; remove it"),
        ("task_resources: {defaults: {requests: {cpu: 1}}}", "defaults.requests: unknown key; accepted: cpu, "),
        (
            "task_resources: {defaults: {cpu: {requests: 1, limits: 2}}}",
            "1:35: task_resources.defaults.cpu.requests: unknown key; did you mean request? accepted: request, limit",
        ),
    ],
)
def test_what_is_wrong_says_what_is_accepted(text: str, expect: str) -> None:
    found = problems(text)
    assert any(expect in line for line in found), found
    assert not any(BOTH in line or "of a device" in line for line in found)


def test_a_problem_is_one_line_whatever_the_key() -> None:
    assert len(problems('"a\\nb": 1')) == 1


@pytest.mark.parametrize("seconds", [2**63, -(2**63) - 1, 10**30])
def test_seconds_that_no_pod_can_hold_are_told(seconds: int) -> None:
    toleration = f"{{key: a, effect: NoExecute, tolerationSeconds: {seconds}}}"
    (problem,) = problems(f"plugins: {{k8s: {{resource-tolerations: {{a.b/c: {toleration}}}}}}}")
    assert problem.startswith("p.yaml:1:94: plugins.k8s.resource-tolerations[a.b/c].tolerationSeconds: ")


@pytest.mark.parametrize("value", ['"\\ud800"', '"a\\ud800.b/c"'])
def test_what_is_no_text_at_all_is_told(value: str) -> None:
    (problem,) = problems(f"plugins: {{k8s: {{gpu-resource-name: {value}}}}}")
    assert problem.startswith("p.yaml:1:36: plugins.k8s.gpu-resource-name: ")


def test_an_amount_too_long_to_compute_with_is_told() -> None:
    assert problems(f"secondary_defaults: {{cpu: '{'9' * 5000}'}}") == [
        f"p.yaml:1:27: secondary_defaults.cpu: '{'9' * 100}…' is too long; at most 4096 characters are accepted"
    ]
    assert problems("secondary_defaults: {cpu: 1e512}") == [
        "p.yaml:1:27: secondary_defaults.cpu: '1e512' is too large; at most 512 digits are accepted"
    ]
