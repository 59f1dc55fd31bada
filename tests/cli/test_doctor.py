"""`doctor`: what is wrong with an installation."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.running import NAMESPACE, Json, pod, quota, run
from tests.fake_apiserver import FakeApiServer, body, in_thread, kubeconfig, page, status
from tests.manifests import BASE, documents
from tests.x509 import DAY, NOW, Pair, root
from webhook.offline.findings import FINDING_KINDS
from webhook.offline.world import READ_KINDS

POLICY = """
task_resources:
  defaults: {cpu: 500m, memory: 500Mi}
  limits: {cpu: 4, memory: 8Gi, gpu: 2}
plugins:
  k8s:
    resource-tolerations: {nvidia.com/gpu: {key: gpu, operator: Equal, value: "yes", effect: NoSchedule}}
    interruptible-tolerations: [{key: spot, operator: Exists}]
    default-tolerations: [{operator: Exists, effect: NoExecute}]
"""
CA = root()
OLD = root(begin=NOW - 2 * DAY, end=NOW - DAY)
LEAF = CA.issue()
EXECUTION = {"key": "execution-id", "operator": "Exists"}
RUN = {"key": "flyte.org/run", "operator": "Exists"}
PODS: list[Json] = [
    {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "scope": "*"},
    {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*/resize"]},
]
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "flyte-admission", "namespace": "flyte-admission"},
    "spec": {"ports": [{"port": 443}], "selector": {"app": "webhook"}},
}
NO_EXECUTION = {"key": "execution-id", "operator": "DoesNotExist"}


def encoded(*pairs: Pair) -> str:
    return base64.b64encode(b"".join(pair.crt for pair in pairs)).decode()


def configurations(bundle: str = encoded(CA), **changed: Any) -> list[Json]:
    """Those of the manifests; `changed` are fields of each webhook."""
    found = documents(BASE / "webhook-configurations.yaml")
    for webhook in (webhook for each in found for webhook in each["webhooks"]):
        webhook["clientConfig"]["caBundle"] = bundle
        webhook.update(changed)
    return found


def named(kind: str, name: str, namespace: str = NAMESPACE, **content: Any) -> Json:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, **content}


def called(path: str) -> Json:
    return {"caBundle": encoded(CA), "url": f"https://webhook.example.com{path}"}


def service(**reference: Any) -> Json:
    """The `clientConfig` with a Service of ours, but for what is given."""
    stated = {"name": "flyte-admission", "namespace": "flyte-admission", "path": "/mutate", **reference}
    return {"caBundle": encoded(CA), "service": stated}


def ruled(**changed: Any) -> list[Json]:
    """Rules for the creation of Pods, but for what is given, and for their resizes."""
    of_pods = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    return [of_pods | changed, PODS[1]]


def replicas(available: int, namespace: str = "flyte-admission", **labels: str) -> Json:
    """A Deployment of the webhook, unless there are other labels."""
    template = {"metadata": {"labels": labels or {"app": "webhook", "team": "ml"}}}
    status = {"availableReplicas": available} if available else {}
    return named("Deployment", "flyte-admission", namespace, spec={"template": template}, status=status)


def secret(*chain: Pair) -> Json:
    return named("Secret", "flyte-admission-tls", "flyte-admission", data={"tls.crt": encoded(*chain)})


def deployment(image: str) -> Json:
    return named("Deployment", "d", spec={"template": {"spec": {"containers": [{"image": image}]}}})


def limit_range(**amounts: Json) -> Json:
    return named("LimitRange", "r", spec={"limits": [{"type": "Container", **amounts}]})


def gpu_node(*taints: Json, device: str = "nvidia.com/gpu", count: str = "8") -> Json:
    made = {"kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [*taints]}}
    return made | {"status": {"allocatable": {"cpu": "8", device: count}}}


def taint(key: str, value: str = "", effect: str = "NoSchedule") -> Json:
    return {"key": key, "value": value, "effect": effect}


def options(text: str) -> Json:
    return named("ConfigMap", "propeller", "flyte", data={"core.yaml": text})


def labelled(**labels: str) -> Json:
    found = pod("p")
    found["metadata"]["labels"] = labels
    return found


def owned(kind: str, *, controller: bool = True) -> Json:
    found = labelled()
    found["metadata"] |= {"uid": kind, "ownerReferences": [{"kind": kind, "controller": controller}]}
    return found


def examined(*items: Json, policy: str = POLICY, arguments: tuple[str, ...] = ()) -> Json:
    """What is found; the policy is that of the ConfigMap."""
    stored = named("ConfigMap", "flyte-admission-policy", "flyte-admission", data={"policy.yaml": policy})
    result = run("doctor", "-f", "-", "-o", "json", *arguments, stdin=[*items, *([stored] if policy else [])])
    data: Json = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (bool(data["findings"]), "")
    return data


def found(*items: Json, **how: Any) -> list[tuple[str, str]]:
    return [(each["id"], each["what"]) for each in examined(*items, **how)["findings"]]


HEALTHY = {
    "the manifests": [*configurations(), secret(LEAF)],
    "a Service that is there": [*configurations(), SERVICE],
    "a Service with a replica": [
        *configurations(), SERVICE, replicas(1), replicas(0, "flyte"), replicas(0, "flyte-admission", app="certs"),
    ],
    "a Service without a selector": [*configurations(), SERVICE | {"spec": {"ports": [{"port": 443}]}}, replicas(0)],
    "a Knative Service beside it": [
        *configurations(), SERVICE, SERVICE | {"apiVersion": "serving.knative.dev/v1", "spec": {"ports": "none"}},
    ],
    "a caBundle with an old CA beside the right one": [*configurations(encoded(OLD, CA)), secret(LEAF)],
    "another Secret": [*configurations(), named("Secret", "flyte", data={"tls.crt": encoded(OLD)})],
    "a Secret without data": [*configurations(), named("Secret", "flyte-admission-tls")],
    "webhooks for jobs too": [
        *configurations(), named("MutatingWebhookConfiguration", "jobs", webhooks=[
            {"name": "flyte1-jobs.flyte-admission.io", "clientConfig": called("/mutate"),
             "rules": [{"resources": ["rayjobs"]}, {}]},
        ]),
    ],
    "webhooks of others": [
        *configurations(), named("MutatingWebhookConfiguration", "a", webhooks=[{"name": "a.flyte.org"}]),
        named("ValidatingWebhookConfiguration", "empty"),
    ],
    "terms in another order": [
        configurations()[0], named("ValidatingWebhookConfiguration", "b", webhooks=[
            {"name": "1.flyte-admission.io", "clientConfig": called("/validate"), "rules": PODS,
             "objectSelector": {"matchExpressions": [NO_EXECUTION, RUN]}},
            {"name": "2.flyte-admission.io", "clientConfig": called("/validate"), "rules": PODS,
             "objectSelector": {"matchExpressions": [EXECUTION]}},
        ])
    ],
    "Flyte as new as need be": [
        deployment("ghcr.io/flyteorg/flyte-binary-v2:v2.0.7"),
        deployment("cr.flyte.org/flyteorg/flytepropeller:v1.16.8"),
        deployment("flyte-admission:2.0.1"), deployment("dask-kubernetes-operator:2023.3.2"),
        deployment("flyte:latest"), named("Deployment", "empty"),
    ],
    "Pods that are selected, or not Flyte's": [
        *configurations(), pod("a"), labelled(app="nginx"), labelled(**{"flyte.org/run": "a"}), owned("ReplicaSet"),
        owned("FlyteWorkflow", controller=False),
    ],
    "a Pod of Flyte that has ended": [*configurations(), owned("TaskAction") | {"status": {"phase": "Failed"}}],
    "quotas that count": [quota(None, **{"requests.nvidia.com/gpu": "8", "limits.cpu": "4", "count/pods": "9"})],
    "a full quota": [quota({"limits.cpu": "4"}, limits_cpu="4")],
    "a small quota in a namespace that is not Flyte's": [quota(None, "monitoring", limits_cpu="1m")],
    "a quota of what has no default": [quota(None, **{"limits.ephemeral-storage": "1", "limits.cpu": "4"})],
    "a quota without amounts": [named("ResourceQuota", "q")],
    "a wide LimitRange": [limit_range(max={"cpu": "4"}, min={"cpu": "500m"}), named("LimitRange", "empty")],
    "a LimitRange of a namespace that is not Flyte's": [limit_range(max={"cpu": "1m"}) | {"metadata": {"name": "r"}}],
    "taints that are tolerated": [
        gpu_node(taint("gpu", "yes")), gpu_node(taint("spot")), gpu_node(taint("any", effect="NoExecute")),
        gpu_node(taint("amd.com/gpu"), device="amd.com/gpu"),
    ],
    "taints that do not matter": [
        gpu_node(taint("a"), count="0"), gpu_node(taint("a"), device="vpc.amazonaws.com/pod-eni"),
        gpu_node(taint("a", effect="PreferNoSchedule")), gpu_node(taint("node.kubernetes.io/not-ready")), gpu_node(),
        {"kind": "Node", "metadata": {"name": "bare"}},
    ],
    "options of Flyte that suit": [
        options('namespace_mapping: {template: "{{project}}-{{domain}}"}\nTasks: {Backoff: {base-second: 2}}'),
        options("plugins: {k8s: {gpu-resource-name: amd.com/gpu}}"), options("actions: {kubernetes: {timeout: 0s}}"),
        options("- a list"), options("not: [YAML"), options("a: 2026-13-45"), options("[" * 9999),
        options("plugins: none"), named("ConfigMap", "empty"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("items", [pytest.param(items, id=name) for name, items in HEALTHY.items()])
def test_nothing_is_wrong_with(items: list[Json]) -> None:
    assert found(*items) == []


MUTATING, VALIDATING = configurations()
CONDITIONS = (
    "the matchConditions of flyte1.flyte-admission.io and flyte2.flyte-admission.io in the "
    "MutatingWebhookConfiguration may leave out Pods; this program does not evaluate them"
)
ALL_LABELS = ("execution-id", "flyte.org/run", "execution-id and flyte.org/run")
NOT_CALLED = "no webhook of the MutatingWebhookConfiguration is called for"
OF_VALIDATING = ".flyte-admission.io of the ValidatingWebhookConfiguration"
RETRY = "verdicts: {retry_after_seconds: 5}\n"
EXCEEDED = (
    "one task with the defaults does not fit: exceeded quota: project-quota, "
    "requested: limits.cpu=500m, used: limits.cpu=0, limited: limits.cpu=250m"
)
CONTRADICTED = (
    f"LimitRange r of namespace {NAMESPACE}: min memory=16Gi is over the policy's maximum 8Gi of a container: "
    "none is accepted"
)
LOWERED = f"LimitRange r of namespace {NAMESPACE}: max cpu=250m is under the default 500m, and is what tasks get"
GPU_QUOTA = f"{NAMESPACE}/project-quota: limits.nvidia.com/gpu counts nothing; requests.nvidia.com/gpu does"
FAULTY: dict[str, tuple[list[Json], list[tuple[str, str]]]] = {
    "no webhook of ours": (
        [named("MutatingWebhookConfiguration", "a"), VALIDATING],
        [("webhook-missing", "no MutatingWebhookConfiguration has a webhook *.flyte-admission.io")],
    ),
    "an empty caBundle": (
        configurations(""), [("ca-bundle-untrusted", "the caBundle is empty or cannot be read, in 4 webhooks")],
    ),
    "a caBundle that is not base64": (
        configurations("ä"), [("ca-bundle-untrusted", "the caBundle is empty or cannot be read, in 4 webhooks")],
    ),
    "an expired CA": (
        configurations(encoded(OLD)), [("ca-bundle-untrusted", "no CA in the caBundle is valid today, in 4 webhooks")],
    ),
    "another CA in one configuration": (
        [MUTATING, configurations(encoded(root(number=1)))[1], secret(LEAF)],
        [("ca-bundle-untrusted",
          "the caBundle does not verify the certificate in the Secret flyte-admission-tls, in 2 webhooks")],
    ),
    "an expired certificate": (
        [*configurations(), secret(CA.issue(begin=NOW - 2 * DAY, end=NOW - DAY))],
        [("ca-bundle-untrusted", "the certificate in the Secret flyte-admission-tls has expired, in 4 webhooks")],
    ),
    "selectors that lack Flyte 2": (
        [MUTATING | {"webhooks": MUTATING["webhooks"][:1]}],
        [("selector-misses", f"{NOT_CALLED} the creation of Pods and resizes of Pods with flyte.org/run")],
    ),
    **{
        f"rules with {rules}": (
            [MUTATING | {"webhooks": [it | {"rules": rules} for it in MUTATING["webhooks"]]}],
            [("selector-misses", f"{NOT_CALLED} {what} with {labels}") for labels in ALL_LABELS],
        )
        for rules, what in (
            (ruled(operations=["UPDATE"]), "the creation of Pods"),
            (ruled(apiGroups=["apps"]), "the creation of Pods"),
            (ruled(apiVersions=["v2"]), "the creation of Pods"),
            (ruled(resources=["pods/resize", "*/status"]), "the creation of Pods"),
            (ruled(scope="Cluster"), "the creation of Pods"),
            (ruled()[:1], "resizes of Pods"),
            (ruled(operations=["*"], resources=["*"])[:1], "resizes of Pods"),
            ([], "the creation of Pods and resizes of Pods"),
        )
    },
    "a condition": (
        [MUTATING | {"webhooks": [
            it | {"matchConditions": [{"name": "c", "expression": "false"}]} for it in MUTATING["webhooks"]
        ]}],
        [("match-conditions", CONDITIONS)],
    ),
    "no Service": (
        [*configurations(), SERVICE | {"metadata": {"name": "flyte-admission", "namespace": "other"}}],
        [("webhook-unreachable",
          "there is no Service flyte-admission/flyte-admission, which the webhook configurations name")],
    ),
    "no replica": (
        [*configurations(), SERVICE, replicas(0)],
        [("webhook-unreachable", "no replica behind the Service flyte-admission/flyte-admission is available")],
    ),
    "another port": (
        [MUTATING, SERVICE | {"spec": {"ports": [{"port": 8443}]}}],
        [("webhook-unreachable",
          "the Service flyte-admission/flyte-admission has no port 443, which the webhook configurations name")],
    ),
    "paths of another endpoint": (
        [VALIDATING | {"webhooks": [
            it | {"clientConfig": config} for it, config in zip(
                VALIDATING["webhooks"], (service(), {"caBundle": encoded(CA), "url": "https://a"}), strict=True)
        ]}],
        [("webhook-unreachable", f"flyte1{OF_VALIDATING} asks /mutate, not /validate"),
         ("webhook-unreachable", f"flyte2{OF_VALIDATING} asks /, not /validate")],
    ),
    "selectors of namespaces that leave Flyte's out": (
        [configurations(namespaceSelector={"matchLabels": {"team": "a"}})[0]],
        [("selector-misses", f"{NOT_CALLED} the creation of Pods and resizes of Pods with {labels}")
         for labels in ALL_LABELS],
    ),
    "selectors that overlap": (
        [configurations(namespaceSelector={}, objectSelector={})[1]],
        [("selector-twice", f"2 webhooks of the ValidatingWebhookConfiguration are called for Pods with {labels}")
         for labels in ALL_LABELS],
    ),
    "terms of AKS": (
        [configurations(namespaceSelector={"matchExpressions": [
            {"key": "control-plane", "operator": "NotIn", "values": ["true"]}]})[0]],
        [("selector-of-aks",
          "AKS has added control-plane to the namespaceSelector of the MutatingWebhookConfiguration")],
    ),
    "an old Flyte 2": (
        [deployment("flyte-binary-v2:v2.0.6")],
        [("flyte-too-old",
          f"{NAMESPACE}/d runs flyte-binary-v2:v2.0.6, which puts no flyte.org/run on its Pods before 2.0.7")],
    ),
    "an old operator of Dask": (
        [deployment("dask-kubernetes-operator:2023.1.1")],
        [("flyte-too-old",
          f"{NAMESPACE}/d runs dask-kubernetes-operator:2023.1.1, which puts no labels on its Pods before 2023.3.2")],
    ),
    "Pods without labels, and one in a namespace that is left out": (
        [*configurations(), owned("FlyteWorkflow"), owned("TaskAction"), pod("s", namespace="kube-system")],
        [("pods-missed", f"no webhook selects 3 running Pods of Flyte, such as {NAMESPACE}/p")],
    ),
    "a namespace whose labels leave it out": (
        [configurations(namespaceSelector={"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]})[0],
         {"kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"off": ""}}}, pod("p")],
        [("pods-missed", f"no webhook selects 1 running Pod of Flyte, such as {NAMESPACE}/p")],
    ),
    "a quota of limits of GPUs": (
        [quota(None, **{"limits.nvidia.com/gpu": "8"})], [("quota-counts-nothing", GPU_QUOTA)],
    ),
    "a quota below the default": (
        [quota({"limits.cpu": "0"}, limits_cpu="250m")],
        [("quota-below-default", f"{NAMESPACE}: {EXCEEDED}")],
    ),
    "a quota below the default, but not below what a LimitRange makes of it": (
        [quota(None, limits_cpu="250m"), limit_range(max={"cpu": "250m"})],
        [("limit-range-contradicts", LOWERED)],
    ),
    "a quota below what a LimitRange makes of the default": (
        [quota(None, limits_cpu="500m"), limit_range(min={"cpu": "1"})],
        [("quota-below-default", f"{NAMESPACE}: {EXCEEDED.replace('500m', '1').replace('250m', '500m')}")],
    ),
    "a quota below the default where only Pods tell that it is Flyte's": (
        [quota(None, "flyte", limits_cpu="250m"), pod("p", namespace="flyte")],
        [("quota-below-default", f"flyte: {EXCEEDED}")],
    ),
    "a LimitRange over the maximum": (
        [limit_range(min={"memory": "16Gi"})],
        [("limit-range-contradicts", CONTRADICTED)],
    ),
    "taints that are not tolerated": (
        [gpu_node(taint("gpu", "no")), gpu_node(taint("gpu", "no")), gpu_node(taint("own"))],
        [("taint-untolerated",
          "no toleration of the policy for nvidia.com/gpu matches the taint gpu=no:NoSchedule of 2 nodes, such as n"),
         ("taint-untolerated",
          "no toleration of the policy for nvidia.com/gpu matches the taint own:NoSchedule of 1 node, such as n")],
    ),
    "another template of namespaces": (
        [options('namespace_mapping: {template: "{{ domain }}"}')],
        [("flyte-namespaces-differ",
          "flyte/propeller/core.yaml names namespaces {{ domain }}, the policy reads {{ project }}-{{ domain }}")],
    ),
    "domains that the policy does not know": (
        [options("domains: [{id: production, name: p}, {id: qa, name: q}]")],
        [("flyte-namespaces-differ", "flyte/propeller/core.yaml has domains that the policy does not: qa")],
    ),
    "a GPU that the policy does not know": (
        [options("Plugins: {K8S: {GPU-resource-name: example.com/gpu}}")],
        [("flyte-gpu-name-unknown",
          "flyte/propeller/core.yaml calls GPUs example.com/gpu, which is no GPU in the policy")],
    ),
    "no back-off": (
        [options("tasks: {backoff: {base-second: 0}}")],
        [("flyte-backoff-off",
          "flyte/propeller/core.yaml: base-second 0 makes a task fail that should wait for its quota")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("items", "expected"), [pytest.param(*it, id=name) for name, it in FAULTY.items()])
def test_something_is_wrong_with(items: list[Json], expected: list[tuple[str, str]]) -> None:
    assert found(*items) == expected


PAUSES = "10 pauses of 5 s do not fit into the timeout of"


@pytest.mark.parametrize(
    ("policy", "flyte", "expected"),
    [
        (RETRY, "a: b", [f"{PAUSES} 30s (Flyte by default)"]),
        (RETRY, "actions: {kubernetes: {timeout: 45s}}", [f"{PAUSES} 45s (flyte/propeller/core.yaml)"]),
        (RETRY, "actions: {kubernetes: {timeout: 1m30s}}", []),
        (RETRY, "actions: {kubernetes: {timeout: 0s}}", []),
        ("verdicts: {retry_after_seconds: 5, fits_later: {flyte2: 403}}", "a: b", []),
    ],
)
def test_pauses_must_fit_into_the_timeout_of_flyte_2(policy: str, flyte: str, expected: list[str]) -> None:
    items = [("retry-after-too-long", what) for what in expected]
    assert found(options(flyte), policy=f"task_resources: {{}}\n{policy}") == items


OTHERS = """
task_resources: {}
namespace_mapping: {template: "{{ domain }}"}
domains: [{id: qa}]
plugins: {k8s: {gpu-resource-name: amd.com/gpu}}
"""


@pytest.mark.parametrize("section", ["flyteadmin", "Propeller"])
def test_what_flyte_1_does_not_state_is_its_default(section: str) -> None:
    assert found(options(f"{section}: {{}}"), policy=OTHERS) == [
        ("flyte-namespaces-differ",
         "Flyte by default names namespaces {{ project }}-{{ domain }}, the policy reads {{ domain }}"),
        ("flyte-namespaces-differ",
         "Flyte by default has domains that the policy does not: development, staging, production"),
    ]  # fmt: skip


def test_defaults_of_flyte_1_do_not_hold_where_its_files_state_something_else_or_are_not_there() -> None:
    stated = "domains: {id: qa}\nplugins: {k8s: {gpu-resource-name: amd.com/gpu}}"
    of_admin = options("propeller: {}\nnamespace_mapping: {template: '{{domain}}'}")
    assert found(of_admin, options(stated), policy=OTHERS) == []
    assert found(options("plugins: {}\ndomains: [example.com]"), policy=OTHERS) == []


def test_every_kind_of_finding_is_tried() -> None:
    tried = {kind for _, expected in FAULTY.values() for kind, _ in expected}
    assert tried | {"retry-after-too-long", "webhook-failing-open"} == {kind.id for kind in FINDING_KINDS}


def test_what_is_not_in_the_files_is_listed() -> None:
    data = examined(VALIDATING, policy="")
    kinds = ", ".join(kind for kind in READ_KINDS if kind != "ValidatingWebhookConfiguration")
    assert data["not_looked_at"] == [
        f"left out of the files, or there are none: {kinds}",
        "metrics of the API server: only with --kubeconfig",
        "the policy: there is no ConfigMap flyte-admission-policy; give --policy FILE",
    ]


def test_what_may_be_wrong_all_the_same_is_listed() -> None:
    everything = [kind.id for kind in FINDING_KINDS]
    assert examined(policy="")["not_looked_for"] == everything
    text = run("doctor", "-f", "-", stdin=[]).stdout
    assert text.partition("\nSo some of these may be there all the same:\n")[2].replace(",", "").split() == everything
    quotas = examined(*configurations(), secret(LEAF), quota(None, limits_cpu="4"), policy="")["not_looked_for"]
    assert {"webhook-missing", "selector-misses", "ca-bundle-untrusted", "quota-counts-nothing"}.isdisjoint(quotas)
    assert {"quota-below-default", "pods-missed", "webhook-failing-open"} <= {*quotas}


def test_without_a_policy_its_checks_are_left_out() -> None:
    items = [items for faulty, _ in FAULTY.values() for items in faulty if items["kind"] in ("Node", "LimitRange")]
    assert found(*items, quota(None, limits_cpu="1m"), options("tasks: {backoff: {base-second: 2}}"), policy="") == []


def test_a_policy_that_cannot_be_used_is_listed() -> None:
    data = examined(VALIDATING, policy="task_resources: {limits: {cpu: many}}")
    assert "the policy: ConfigMap flyte-admission-policy:1:32: task_resources.limits.cpu" in data["not_looked_at"][-1]


def test_an_object_that_cannot_be_read_is_listed_and_does_not_hide_others() -> None:
    data = examined(pod("b") | {"spec": {"containers": {}}}, *FAULTY["no back-off"][0])
    assert [each["id"] for each in data["findings"]] == ["flyte-backoff-off"]
    assert any("Pod b: spec.containers: a map where a list is expected" in line for line in data["not_looked_at"])


def test_a_namespace_chooses_its_quotas() -> None:
    items = [quota(None, namespace=name, **{"limits.nvidia.com/gpu": "8"}) for name in (NAMESPACE, "other-production")]
    assert found(*items, arguments=("-n", NAMESPACE)) == [("quota-counts-nothing", GPU_QUOTA)]


def test_a_file_is_a_policy_too_and_text_fits_80_columns(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    items = [*configurations(""), quota(None, **{"limits.nvidia.com/gpu": "8", "limits.cpu": "1m"})]
    result = run("doctor", "-f", "-", "--policy", policy, stdin=items)
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr, max(map(len, lines)) <= 80) == (1, "", True)
    assert [line for line in lines if line.startswith(("error", "warning", "Errors"))] == [
        "error: ca-bundle-untrusted", "error: quota-below-default", "warning: quota-counts-nothing",
        "Errors: 2. Warnings: 1.",
    ]  # fmt: skip


def test_where_nothing_is_wrong_it_says_so_and_what_no_dump_has() -> None:
    kinds = [
        kind
        for kind in READ_KINDS
        if not kind.endswith("Configuration") and kind not in ("ConfigMap", "Pod", "Service")
    ]
    stored = named("ConfigMap", "flyte-admission-policy", data={"policy.yaml": POLICY})
    result = run(
        "doctor", "-f", "-", stdin=[*configurations(), SERVICE, pod("p"), stored, *(named(kind, "a") for kind in kinds)]
    )
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "Errors: 0. Warnings: 0.",
            "Could not look at:",
            "  metrics of the API server: only with --kubeconfig",
            "So some of these may be there all the same:",
            "  webhook-failing-open",
        ],
    )


def test_yaml_has_what_json_has() -> None:
    as_json, as_yaml = (
        run("doctor", "-f", "-", "-o", kind, stdin=[VALIDATING, options("a: b")]) for kind in ("json", "yaml")
    )
    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout)


METRICS = """# TYPE apiserver_admission_webhook_fail_open_count counter
apiserver_admission_webhook_fail_open_count{name="flyte1.flyte-admission.io",type="admit"} 3
apiserver_admission_webhook_fail_open_count{name="flyte1.flyte-admission.io",type="validating"} 1
apiserver_admission_webhook_fail_open_count{name="flyte2.flyte-admission.io",type="admit"} 0
apiserver_admission_webhook_fail_open_count{name="another",type="admit"} 7
"""
LISTS = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Service", "Namespace", "Node", "Pod",
         "ResourceQuota", "Deployment"]  # fmt: skip

READ_OF_CLUSTER = {
    "MutatingWebhookConfiguration": [MUTATING], "ValidatingWebhookConfiguration": [VALIDATING], "Service": [SERVICE],
}  # fmt: skip


def test_a_cluster_is_read_with_the_metrics_of_its_api_server(tmp_path: Path) -> None:
    lists = [page(*READ_OF_CLUSTER.get(kind, [])) for kind in LISTS]
    stored = named("ConfigMap", "flyte-admission-policy", "flyte-admission", data={"policy.yaml": POLICY})
    server = FakeApiServer({"list": [*lists, body(METRICS)], "live": [page(), page(stored), page(secret(LEAF))]})
    with in_thread(server):
        result = run("doctor", "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    data = json.loads(result.stdout)
    assert data["not_looked_at"] == []
    assert [each["what"] for each in data["findings"]] == [
        "the API server got no answer from flyte1.flyte-admission.io 4 times since it started, and let the Pods pass"
    ]
    assert server.requests[0].path == "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    assert [request.path for request in server.seen("live")] == [
        "/api/v1/namespaces/flyte/configmaps", "/api/v1/namespaces/flyte-admission/configmaps",
        "/api/v1/namespaces/flyte-admission/secrets",
    ]  # fmt: skip


def test_where_all_could_be_looked_at_the_report_ends_with_the_counts(tmp_path: Path) -> None:
    lists = [page(*READ_OF_CLUSTER.get(kind, [])) for kind in LISTS]
    stored = named("ConfigMap", "flyte-admission-policy", "flyte-admission", data={"policy.yaml": POLICY})
    replies = {"list": [*lists, body("none 0")], "live": [page(), page(stored), page(secret(LEAF))]}
    with in_thread(FakeApiServer(replies)) as server:
        result = run("doctor", "--kubeconfig", kubeconfig(tmp_path, server.url))
    assert (result.exit_code, result.stdout) == (0, "Errors: 0. Warnings: 0.\n")


def test_where_there_is_no_secret_it_says_so(tmp_path: Path) -> None:
    with in_thread(FakeApiServer({"list": [page()], "live": [page()]})) as server:
        result = run("doctor", "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    assert json.loads(result.stdout)["not_looked_at"] == [
        "the certificate: there is no Secret flyte-admission-tls",
        "the policy: there is no ConfigMap flyte-admission-policy; give --policy FILE",
    ]


def test_without_rights_it_lists_each_that_is_missing(tmp_path: Path) -> None:
    with in_thread(FakeApiServer({verb: [status(403, "no")] for verb in ("list", "live", "ranges")})) as server:
        result = run("doctor", "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    unseen = json.loads(result.stdout)["not_looked_at"]
    assert (result.exit_code, len(unseen)) == (0, 14)
    assert unseen[4] == "nodes: 403 Reason: no; needed is a ClusterRole with the verb list on nodes"
    assert unseen[12].endswith("needed is a ClusterRole with the verb get on metrics")


def test_one_answer_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    replies = {"list": [page(MUTATING), body("nothing"), page()], "live": [page(secret(LEAF))]}
    with in_thread(FakeApiServer(replies)) as server:
        result = run("doctor", "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    unseen = json.loads(result.stdout)["not_looked_at"]
    assert unseen[0].startswith("validatingwebhookconfigurations: the answer cannot be read: ")
    assert len(unseen) == 2


def test_where_no_api_server_answers_it_ends(tmp_path: Path) -> None:
    with in_thread(FakeApiServer()) as server:
        file = kubeconfig(tmp_path, server.url)
    result = run("doctor", "--kubeconfig", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Cannot connect" in result.stderr
