"""Flyte's own files load: what surrounds the blocks, the spellings that its decoder takes, and settings of Flyte 2.

The files are ours; their keys are those of Flyte's charts and of its configuration.
"""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.policy.test_file import problems
from webhook.cli.main import main
from webhook.flyte.task import Task
from webhook.policy.file import LoadedPolicy, load
from webhook.policy.imported import as_policy, imported
from webhook.policy.settings import Settings

FILES = Path(__file__).parent / "flyte"
POLICIES = [
    *("flyte-core-values.yaml", "flyte-binary-values.yaml", "services.yaml", "every-key.yaml"),
    "argo-application.yaml",
]


def loaded(name: str) -> LoadedPolicy:
    return load((FILES / name).read_text(), name)


def settings_of(text: str, domain: str = "", project: str = "") -> Settings:
    return load(text, "p.yaml").policy.settings(Task(1, project=project, domain=domain), "x", "2026-11-25")


@pytest.mark.parametrize("name", POLICIES)
def test_a_file_of_flytes_means_what_its_blocks_mean(name: str) -> None:
    found = loaded(name).policy.settings(Task(1), "x", "2026-11-25")
    cpu_and_memory = {"cpu": "500m", "memory": "500Mi"}
    disk = {"ephemeral-storage": "500Mi"} if name == "flyte-binary-values.yaml" else {}
    assert {key: str(amount) for key, amount in found.defaults.limits.items()} == cpu_and_memory | disk
    assert {key: str(amount) for key, amount in found.limits.exact.items()} == {
        "cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "2",
    }  # fmt: skip
    assert [toleration.key for toleration in found.tolerations.by_resource.find("nvidia.com/gpu") or ()] == [
        "nvidia.com/gpu"
    ]
    assert [toleration.key for toleration in found.tolerations.always] == ["flyte"]
    assert found.tolerations.extended is None


@pytest.mark.parametrize("name", POLICIES)
def test_check_is_green_over_files_of_flytes_and_says_in_one_line_what_is_left_to_flyte(name: str) -> None:
    result = CliRunner().invoke(main, ["policy", "check", str(FILES / name)])
    assert result.exit_code == 0
    (counted,) = [line for line in result.stderr.splitlines() if "left to Flyte" in line]
    verbose = CliRunner().invoke(main, ["policy", "check", "-v", str(FILES / name)])
    listed = [line for line in verbose.stderr.splitlines() if line.endswith(": left to Flyte")]
    assert f"warning: {len(listed)} keys are left to Flyte and not used here" in counted
    assert len(listed) > 1


def test_the_storage_of_the_old_chart_is_not_applied() -> None:
    told = [line for line in loaded("flyte-core-values.yaml").warnings if "storage" in line]
    what = "would evict every task, and is not applied; if you mean it, write ephemeralStorage"
    assert told == [
        f"flyte-core-values.yaml:20:44: task_resource_defaults.task_resources.defaults.storage: warning: 5Mi {what}",
        f"flyte-core-values.yaml:21:37: task_resource_defaults.task_resources.limits.storage: warning: 20Mi {what}",
    ]


@pytest.mark.parametrize(("amount", "applied"), [("99Mi", False), ("100Mi", True), ("0", False), ("500Mi", True)])
def test_storage_is_ephemeral_storage_from_100_mi_on(amount: str, applied: bool) -> None:  # noqa: FBT001
    found = settings_of(f"task_resources: {{defaults: {{storage: {amount}}}, limits: {{storage: {amount}}}}}")
    assert ("ephemeral-storage" in found.defaults.limits) is applied
    assert (found.limits.get("ephemeral-storage") is not None) is applied


def test_a_small_amount_that_is_meant_is_applied() -> None:
    found = settings_of("task_resources: {limits: {ephemeralStorage: 20Mi}}")
    assert str(found.limits.get("ephemeral-storage")) == "20Mi"


def test_kubernetes_own_spelling_of_ephemeral_storage_is_accepted() -> None:
    text = "task_resources: {limits: {ephemeral-storage: 20Gi}}"
    assert (load(text, "p.yaml").warnings, str(settings_of(text).limits.get("ephemeral-storage"))) == ((), "20Gi")


@pytest.mark.parametrize(
    ("keys", "by_own_name"),
    [
        ("plugins: {k8s: {add-tolerations-for-extended-resources: []}}", None),
        ("plugins: {k8s: {add-tolerations-for-extended-resources: }}", None),
        ("tolerate_by_own_name: true", None),
        ("tolerate_by_own_name: false", set()),
        ("plugins: {k8s: {add-tolerations-for-extended-resources: a.b/c}}", {"a.b/c"}),
        ("tolerate_by_own_name: false\nplugins: {k8s: {add-tolerations-for-extended-resources: [a.b/c]}}", {"a.b/c"}),
    ],
)
def test_an_empty_list_leaves_tolerations_by_own_name_on(keys: str, by_own_name: set[str] | None) -> None:
    assert settings_of(keys).tolerations.extended == by_own_name


CONFIG_MAP = "kind: ConfigMap\ndata:\n  db.yaml: 'x: 1'\n  k8s.yaml: |\n    plugins: {k8s: {}}\n"
NOT_A_POLICY = "a ConfigMap, and not a policy"
BELOW = "paste the text that is below"
APPLICATION = "kind: Application\nspec: {source: {helm: {values: 'task_resources: {}'}}}"


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        (CONFIG_MAP, f"{NOT_A_POLICY}; {BELOW} data[k8s.yaml] (line 4)"),
        (CONFIG_MAP.replace("k8s:", "K8S:"), f"{NOT_A_POLICY}; {BELOW} data[k8s.yaml] (line 4)"),
        ("kind: ConfigMap", f"{NOT_A_POLICY}; paste the text that has task_resources or plugins"),
        (
            APPLICATION,
            "an Application, and not a policy; paste the text that is below spec.source.helm.values (line 2)",
        ),
        (
            f"kind: Namespace\n---\n{CONFIG_MAP}---\n{CONFIG_MAP}---\n- a",
            f"objects of Kubernetes, and not a policy; {BELOW} data[k8s.yaml] (line 6), data[k8s.yaml] (line 12)",
        ),
        (f"mode: audit\n---\n{CONFIG_MAP}", f"{NOT_A_POLICY}; {BELOW} data[k8s.yaml] (line 6)"),
    ],
)
def test_an_object_of_kubernetes_says_what_to_paste(text: str, expect: str) -> None:
    assert problems(text) == [f"p.yaml:1:1: {expect}"]


def test_values_with_a_text_for_another_chart_say_what_to_paste() -> None:
    (line,) = problems("flyte: {values: 'task_resources: {limits: {cpu: 1}}'}\nbar: 1")
    assert line == "p.yaml:2:1: bar: unknown key; paste the text that is below flyte.values (line 1)"


# Values of charts that nobody means for us: of Grafana, of an Ingress, of Flyte's own charts, of a chart around them.
@pytest.mark.parametrize(
    "beside",
    [
        "grafana: {plugins: [grafana-piechart-panel]}",
        "ingress: {domains: [flyte.example.com]}",
        "ingress: {domains: flyte.example.com}",
        "ingress: {domains: [{host: flyte.example.com}]}",
        "nameOverride: ''\nfullnameOverride: ''\nresources: {}\nwebhook: {}",
        "common: {plugins: , domains: []}",
    ],
)
@pytest.mark.parametrize(
    "around", ["configuration: {inline: {%s}}", "flyte-core: {configmap: {x: {%s}}}", "a: [{b: {c: {d: {e: {%s}}}}}]"]
)
def test_what_stands_beside_flytes_blocks_is_left_to_flyte(beside: str, around: str) -> None:
    found = load(f"{beside}\n{around % 'task_resources: {defaults: {cpu: 2}}'}", "p.yaml")
    assert str(found.policy.settings(Task(1), "x", "2026-11-25").defaults.requests["cpu"]) == "2"
    assert [line.partition(": ")[2] for line in found.left_to_flyte] == [
        f"{line.partition(':')[0]}: left to Flyte" for line in [*beside.splitlines(), around]
    ]


@pytest.mark.parametrize("around", ["config", "configuration: {inline", "a: {b"])
def test_keys_of_ours_beside_a_block_are_taken_with_it(around: str) -> None:
    """So are those of the values of this project's own chart."""
    ours = "{task_resources: {limits: {cpu: 2}}, overrides: [{domain: d, task_resource.max.cpu: 4}], mode: warn}"
    text = f"replicaCount: 2\n{around}: {ours}{'}' * around.count('{')}"
    assert [(str(it.limits.get("cpu")), it.mode) for it in (settings_of(text), settings_of(text, "d"))] == [
        ("2", "warn"), ("4", "warn"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "classes",
    [
        "{A: {resource-name: a.b/c}, D: }",
        "[{A: {resource-name: a.b/c}}, {D: {resource-name: d.e/f, pod-template: {}}}]",
        "[]",
        "",
    ],
)
def test_accelerator_classes_load_in_each_shape_that_flyte_accepts(classes: str) -> None:
    devices = load(f"plugins: {{k8s: {{accelerator-device-classes: {classes}}}}}", "p.yaml").policy.devices
    assert [name for name in ("a.b/c", "d.e/f") if devices.has(name)] == re.findall("a.b/c|d.e/f", classes)


def test_unknown_keys_at_the_top_are_one_error() -> None:
    (line,) = problems("foo: 1\nbar: {}\nserver: {}\nmode: enforce")
    assert line.startswith("p.yaml:1:1: foo, bar: unknown keys; accepted: task_resources, ")
    (line,) = problems("task_resource: {}\nserver: {}")
    assert line.startswith("p.yaml:1:1: task_resource: unknown key; did you mean task_resources? accepted: ")


def test_a_misspelled_key_beside_a_wrapper_is_an_error() -> None:
    (line,) = problems("configuration: {inline: {task_resources: {}}}\noverride: []")
    assert line.startswith("p.yaml:2:1: override: unknown key; did you mean overrides? ")


def test_the_same_block_twice_is_an_error() -> None:
    (line,) = problems("configmap:\n  a: {task_resources: {}}\n  b: {task_resources: {}}")
    assert line == "p.yaml:3:7: task_resources: duplicate key, first given in line 2; keep one of them"


def test_a_block_of_plugins_that_is_an_alias_of_the_other_counts_once() -> None:
    text = "plugins: &p {k8s: {default-tolerations: {operator: Exists}}}\nplugins: *p"
    assert len(settings_of(text).tolerations.always) == 1


TEMPLATE = "an unrendered template of Helm; render it first (helm template), or write the value"


def test_templates_of_helm_are_named() -> None:
    assert problems("task_resources: {limits: {cpu: '{{ .Values.cpu }}'}}") == [
        f"p.yaml:1:32: task_resources.limits.cpu: {TEMPLATE}"
    ]
    assert problems("task_resources:\n  limits:\n    cpu: {{ .Values.cpu }}") == [
        f"p.yaml:3:10: task_resources.limits.cpu: {TEMPLATE}"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{{ .Values.key }}: 1",
        "task_resources: {{ .Values.resources }}",
        "task_resources:\n  limits:\n    {{ .Values.key }}: 1",
        "{}\n---\ndomain: d\n{{ .Values.key }}: 1\ntask_resource.max.cpu: 1",
        "{}\n---\ndomain: d\ntask_resource: {max: {{{ .Values.key }}: 1}}",
        "{{- if .Values.x }}\ntask_resources: {}\n{{- end }}",
        "task_resources:\n  limits: {{- toYaml .Values.limits | nindent 4 }}",
        "task_resources:\n{{- toYaml .Values.x | nindent 2 }}",
        "task_resources:\n  {{- toYaml .Values.x | nindent 2 }}\nplugins: {}",
        'plugins:\n  k8s:\n    gpu-resource-name: {{ .Values.gpu | default "nvidia.com/gpu" }}',
        'plugins:\n  k8s:\n    gpu-resource-name: {{ .Values.gpu | default "nvidia.com/gpu" | quote }}\nmode: audit',
        "# x\n{{/* comment */}}\ntask_resources: {}",
        "task_resources: {limits: {'{{ .Values.name }}': 1}}",
        "domains: ['{{ .Values.domain }}']",
        "overrides: {{ .Values.overrides }}",
        "overrides: [{project: '{{ .Values.project }}', limits: {cpu: 1}}]",
        "plugins: {k8s: {resource-tolerations: {'{{ .Values.gpu }}': []}}}",
        "mode: '{{ .Values.mode }}'",
        "exemptions: [{match: {project: p}, skip: ['{{ x }}'], reason: r, until: '{{ y }}'}]",
    ],
)
def test_a_template_of_helm_anywhere_says_to_render_it(text: str) -> None:
    found = problems(text)
    assert any(TEMPLATE in line for line in found), found
    assert not re.search("Node|Mark|tag:", "".join(found))


def test_an_alias_bomb_in_what_surrounds_the_blocks_ends() -> None:
    bomb = "a: &a {x: 1}\n" + "".join(
        f"{name}: &{name} {{{', '.join(f'k{n}: *{before}' for n in range(9))}}}\n"
        for before, name in zip("abcde", "bcdef", strict=True)
    )
    assert problems(bomb)


SETTINGS = "---\n".join(["mode: enforce\n", (FILES / "flyte2-settings.yaml").read_text()])


def test_settings_of_flyte_2_are_overrides() -> None:
    production, recsys = settings_of(SETTINGS, "production"), settings_of(SETTINGS, "production", "recsys")
    assert {name: str(amount) for name, amount in production.limits.exact.items() if amount} == {"cpu": "8"}
    assert str(production.defaults.requests["ephemeral-storage"]) == "10Gi"
    assert (str(recsys.limits.get("nvidia.com/gpu")), str(recsys.defaults.requests["cpu"])) == ("4", "500m")
    listed = "mode: enforce\noverrides: [{domain: production, task_resource: {max: {cpu: 8}}}]"
    assert str(settings_of(listed, "production").limits.get("cpu")) == "8"


@pytest.mark.parametrize("setting", ["task_resource.max.cpu: %s", "task_resource: {max: {cpu: %s}}"])
def test_settings_of_the_organisation_are_for_all_tasks(setting: str) -> None:
    platform = "task_resources: {limits: {cpu: 2, memory: 1Gi}}"
    text = f"{platform}\n---\norg: flyte\n{setting % 8}\n---\ndomain: d\n{setting % 4}"
    assert [str(settings_of(text, domain).limits.get("cpu")) for domain in ("", "other", "d")] == ["8", "8", "4"]
    assert str(settings_of(text).limits.get("memory")) == "1Gi"


def test_settings_that_do_not_say_whose_they_are_say_what_to_write() -> None:
    (line,) = problems("{}\n---\ntask_resource.max.cpu: 8")
    what = "for all tasks; give project, domain, workflow or task, or org: flyte if all are meant"
    assert line == f"p.yaml:3:1: {what}"
    assert problems("task_resource.max.cpu: 8\nrun.default_queue: fast")[0] == (
        "p.yaml:1:1: [task_resource.max.cpu], [run.default_queue]: unknown keys; write settings of Flyte 2 below a "
        "line ---, with their org, domain or project, or run policy import"
    )


NOT_MIRRORED = (
    "task_resource.mirror_limits_request: warning: not applied, as the task's own container gets its request as the "
    "limit in any case; for cpu, write cpu_limits: remove"
)


@pytest.mark.parametrize(
    ("value", "told"),
    [("true", []), ("True", []), ("false", [NOT_MIRRORED]), ("~unset", [NOT_MIRRORED]), ("''", [NOT_MIRRORED])],
)
def test_mirrored_limits_are_what_is_done_in_any_case(value: str, told: list[str]) -> None:
    text = f"mode: audit\n---\ndomain: production\ntask_resource.mirror_limits_request: {value}"
    assert [line.partition(": ")[2] for line in load(text, "p.yaml").warnings] == told


def test_mirrored_limits_that_are_neither_on_nor_off_are_an_error() -> None:
    assert problems("{}\n---\ndomain: d\ntask_resource: {mirror_limits_request: 5}") == [
        "p.yaml:4:40: task_resource.mirror_limits_request: write true or false"
    ]


@pytest.mark.parametrize(
    "setting", ["task_resource.max.cpu: {request: 1}", "task_resource: {max: {cpu: {request: 1}}}"]
)
def test_a_map_where_a_setting_is_an_amount_is_an_error(setting: str) -> None:
    (line,) = problems(f"{{}}\n---\ndomain: d\n{setting}")
    assert line.endswith("task_resource.max.cpu: a map where an amount is expected; write one such as 8")


def test_a_key_of_flytes_plugins_that_is_nearly_one_of_ours_is_a_warning() -> None:
    text = "plugins: {k8s: {gpu-resource-nam: a.b/c, default-cpus: 1}}"
    near, counted = load(text, "p.yaml").warnings
    what = "plugins.k8s.gpu-resource-nam: warning: not used here; did you mean gpu-resource-name?"
    assert near == f"p.yaml:1:17: {what}"
    assert "1 key is left to Flyte" in counted


def test_unset_takes_away_what_is_wider() -> None:
    text = "task_resources: {limits: {memory: 1Gi}}\n---\ndomain: production\ntask_resource.max.memory: ~unset"
    assert settings_of(text, "production").limits.get("memory") is None
    assert str(settings_of(text, "staging").limits.get("memory")) == "1Gi"


SETTING = (
    "task_resource.min.cpu? accepted: task_resource.min.NAME and task_resource.max.NAME, with cpu, gpu, memory, "
    "storage as the name, and task_resource.mirror_limits_request"
)


def test_a_setting_that_there_is_not_is_an_error() -> None:
    (line,) = problems("{}\n---\ndomain: production\ntask_resource.most.cpu: 8")
    assert line == f"p.yaml:4:1: task_resource.most.cpu: unknown setting of Flyte 2; did you mean {SETTING}"


def test_what_import_prints_loads_as_the_same_settings() -> None:
    overrides = imported((FILES / "flyte2-settings.yaml").read_text(), "s.yaml", {}).overrides
    text = as_policy(overrides)
    assert yaml.safe_load(text) == {
        "overrides": [
            {"domain": "production", "limits": {"cpu": "8", "memory": "0"}, "defaults": {"ephemeralStorage": "10Gi"}},
            {"domain": "production", "project": "recsys", "limits": {"gpu": 4}, "defaults": {"cpu": "500m"}},
        ]
    }
    for project in ("", "recsys"):
        again, first = (settings_of(it, "production", project) for it in (text, SETTINGS))
        assert (again.limits.exact, again.defaults.requests) == (first.limits.exact, first.defaults.requests)


@pytest.mark.parametrize(
    ("options", "expect"),
    [
        ([], {"task_resources": {"limits": {"cpu": "8"}}}),
        (["-d", "production"], {"overrides": [{"domain": "production", "limits": {"cpu": "8"}}]}),
        (
            ["-d", "production", "-p", "recsys"],
            {"overrides": [{"project": "recsys", "domain": "production", "limits": {"cpu": "8"}}]},
        ),
    ],
)
def test_import_takes_the_scope_from_its_options(tmp_path: Path, options: list[str], expect: object) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text('task_resource.max.cpu: "8"\n')
    result = CliRunner().invoke(main, ["policy", "import", *options, str(file)])
    assert (result.exit_code, yaml.safe_load(result.stdout)) == (0, expect)


def test_import_of_settings_for_all_tasks_prints_what_loads_as_the_same(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("org: flyte\nsecondary_defaults: {cpu: 1}\ntask_resource.mirror_limits_request: false\n")
    result = CliRunner().invoke(main, ["policy", "import", str(file)])
    assert result.stderr == f"{file}:3:38: {NOT_MIRRORED}\n"
    assert yaml.safe_load(result.stdout) == {"overrides": [{"org": "flyte", "secondary_defaults": {"cpu": 1}}]}
    assert str(settings_of(result.stdout).secondary_defaults.requests["cpu"]) == "1"


@pytest.mark.parametrize("text", ["task_resource.max.cpu: x", "- a", "task_resource.max: 5", "a: {{ x }}"])
def test_import_of_what_is_wrong_exits_with_2(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["policy", "import", "-d", "d", str(file)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{file}:1:")
