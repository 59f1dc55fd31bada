"""The base and its components, by what they say."""

import ast
from collections.abc import Sequence
from typing import Any

import click
import pytest
import yaml

from tests.manifests import BASE, COMPONENTS, Json, documents, entries_for_jobs, named, objects
from webhook.api.pod import ObjectMeta, Pod
from webhook.cli.serve import serve
from webhook.flyte.task import Identification, identify
from webhook.http.listener import GRACE
from webhook.jobs import KINDS
from webhook.policy.file import load

DEPLOYMENTS = ["flyte-admission", "flyte-admission-certs"]
CONFIGURATIONS = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
WEBHOOKS = [
    pytest.param(webhook, id=f"{kind}-{webhook['name']}")
    for kind in CONFIGURATIONS
    for webhook in named(kind, "flyte-admission")["webhooks"]
]
CLUSTER_WIDE = {
    "Namespace", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    *CONFIGURATIONS,
}  # fmt: skip


def pod_of(deployment: str) -> Json:
    template: Json = named("Deployment", deployment)["spec"]["template"]
    return template


def rules(kind: str, name: str) -> Sequence[Json]:
    found: Sequence[Json] = named(kind, name)["rules"]
    return found


def test_the_webhook_may_read_resource_quotas_and_nothing_else() -> None:
    expected = [{"apiGroups": [""], "resources": ["resourcequotas", "limitranges"], "verbs": ["list", "watch"]}]
    assert rules("ClusterRole", "flyte-admission") == expected


def test_certs_may_write_one_secret_and_two_configurations_by_name() -> None:
    configurations = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
    assert rules("ClusterRole", "flyte-admission-certs") == [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": configurations,
            "resourceNames": ["flyte-admission"],
            "verbs": ["get", "patch"],
        }
    ]
    assert rules("Role", "flyte-admission-certs") == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["flyte-admission-tls"],
            "verbs": ["get", "update"],
        }
    ]


def test_each_program_has_its_own_service_account_and_nobody_else_a_role() -> None:
    bound = {
        (binding["kind"], binding["roleRef"]["kind"], binding["roleRef"]["name"], subject["name"])
        for binding in objects()
        if binding["kind"].endswith("RoleBinding")
        for subject in binding["subjects"]
    }
    assert bound == {
        ("ClusterRoleBinding", "ClusterRole", "flyte-admission", "flyte-admission"),
        ("ClusterRoleBinding", "ClusterRole", "flyte-admission-certs", "flyte-admission-certs"),
        ("RoleBinding", "Role", "flyte-admission-certs", "flyte-admission-certs"),
    }
    assert [pod_of(name)["spec"]["serviceAccountName"] for name in DEPLOYMENTS] == DEPLOYMENTS


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_pods_meet_the_restricted_pod_security_standard_on_a_read_only_root(deployment: str) -> None:
    spec = pod_of(deployment)["spec"]
    (container,) = spec["containers"]
    user = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    assert spec["securityContext"] == user | {"seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "configMap", "secret", "emptyDir"}


def test_our_namespace_asks_for_the_restricted_standard() -> None:
    labels = named("Namespace", "flyte-admission")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_memory_is_limited_and_cpu_is_not(deployment: str) -> None:
    (container,) = pod_of(deployment)["spec"]["containers"]
    assert container["resources"]["limits"].keys() == {"memory"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_probes_go_to_the_plain_port(deployment: str) -> None:
    (container,) = pod_of(deployment)["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    assert probes == {
        "livenessProbe": {"path": "/livez", "port": "health"}, "readinessProbe": {"path": "/readyz", "port": "health"},
    }  # fmt: skip
    assert f"--health-listen=0.0.0.0:{ports['health']}" in container["args"]


def test_nothing_is_mounted_by_sub_path_for_that_is_never_renewed() -> None:
    mounts = [mount for name in DEPLOYMENTS for mount in pod_of(name)["spec"]["containers"][0]["volumeMounts"]]
    assert [mount for mount in mounts if "subPath" in mount or "subPathExpr" in mount] == []


def test_the_webhook_gets_the_time_that_it_takes_to_drain() -> None:
    spec = pod_of("flyte-admission")["spec"]
    (delay,) = (arg.partition("=")[2] for arg in spec["containers"][0]["args"] if arg.startswith("--shutdown-delay="))
    assert float(delay) > 0
    assert spec["terminationGracePeriodSeconds"] >= float(delay) + GRACE + 5


def test_serve_knows_every_argument() -> None:
    (container,) = pod_of("flyte-admission")["spec"]["containers"]
    known = {option for param in serve.params for option in param.opts}
    assert container["command"] == ["flyte-admission", "serve"]
    assert {arg.partition("=")[0] for arg in [*container["args"], *added_arguments("client-ca")]} <= known


def test_certs_knows_every_argument() -> None:
    certs = pytest.importorskip("certs.__main__", reason="certs is not part of this tree", exc_type=ImportError)
    assert isinstance(certs.main, click.Command)
    (container,) = pod_of("flyte-admission-certs")["spec"]["containers"]
    known = {option for param in certs.main.params for option in param.opts}
    assert container["command"] == ["python", "-m", "certs"]
    added = [argument for name in ("cert-manager", "own-secret") for argument in added_arguments(name)]
    assert {arg.partition("=")[0] for arg in [*container["args"], *added]} <= known


def added_arguments(component: str) -> list[str]:
    """What the component adds to the arguments of a container."""
    return [
        operation["value"]
        for patch in documents(COMPONENTS / component / "kustomization.yaml")[0]["patches"]
        for operation in yaml.safe_load(patch["patch"])
        if operation["path"].endswith("/args/-")
    ]


@pytest.mark.parametrize(
    ("component", "secret"),
    [("cert-manager", "flyte-admission-cert-manager"), ("own-secret", "flyte-admission-own-tls")],
)
def test_certs_may_read_the_secret_that_it_takes_the_certificate_from(component: str, secret: str) -> None:
    patches = documents(COMPONENTS / component / "kustomization.yaml")[0]["patches"]
    (rule,) = (
        each["value"] for patch in patches for each in yaml.safe_load(patch["patch"]) if each["path"] == "/rules/-"
    )
    assert rule == {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"]}
    assert added_arguments(component) == [f"--from-secret={secret}"]


def test_the_secret_comes_empty_and_marked_as_one_that_certs_may_write() -> None:
    secret = named("Secret", "flyte-admission-tls")
    assert secret["metadata"]["labels"]["flyte-admission.io/managed-by"] == "flyte-admission-certs"
    assert not {"data", "stringData", "immutable"} & secret.keys()


@pytest.mark.parametrize("webhook", WEBHOOKS)
def test_no_webhook_can_lock_the_cluster_out_of_its_repair(webhook: Json) -> None:
    assert webhook["failurePolicy"] == "Ignore"
    assert webhook["timeoutSeconds"] == 2
    assert webhook["namespaceSelector"] == {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "flyte-admission"]}
        ]
    }


@pytest.mark.parametrize("webhook", WEBHOOKS)
def test_webhooks_are_called_for_new_pods_and_resizes_alone(webhook: Json) -> None:
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "scope": "Namespaced"}
    assert webhook["rules"] == [
        {**pods, "operations": ["CREATE"], "resources": ["pods"]},
        {**pods, "operations": ["UPDATE"], "resources": ["pods/resize"]},
    ]
    assert (webhook["sideEffects"], webhook["matchPolicy"]) == ("None", "Equivalent")


def selected_by(kind: str, labels: Json) -> list[str]:
    """The webhooks of the configuration that such a Pod is sent to, as the API server chooses them."""

    def matches(selector: Json) -> bool:
        return all((term["key"] in labels) == (term["operator"] == "Exists") for term in selector["matchExpressions"])

    webhooks = named(kind, "flyte-admission")["webhooks"]
    return [webhook["name"].partition(".")[0] for webhook in webhooks if matches(webhook["objectSelector"])]


@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.parametrize(
    ("labels", "expect"),
    [
        ({"app": "nginx"}, []),
        ({"execution-id": "a4k7h2", "project": "p", "domain": "d"}, ["flyte1"]),
        ({"flyte.org/run": "r1", "flyte.org/managed": "true"}, ["flyte2"]),
        ({"execution-id": "a4k7h2", "flyte.org/run": "r1"}, ["flyte1"]),
    ],
    ids=["nobody's", "Flyte 1", "Flyte 2", "both"],
)
def test_a_pod_is_sent_once(kind: str, labels: Json, expect: list[str]) -> None:
    assert selected_by(kind, labels) == expect


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_jobs_have_entries_of_their_own_which_differ_in_their_rules_alone(kind: str) -> None:
    entries = entries_for_jobs()[kind]
    pods = named(kind, "flyte-admission")["webhooks"]
    names = [webhook["name"].replace(".", "-jobs.", 1) for webhook in pods]
    rules = entries[0]["rules"]
    assert entries == [{**webhook, "name": name, "rules": rules} for webhook, name in zip(pods, names, strict=True)]


def test_every_kind_of_job_is_sent_when_it_is_created() -> None:
    for entry in (entry for entries in entries_for_jobs().values() for entry in entries):
        sent = [(group, name) for rule in entry["rules"] for group in rule["apiGroups"] for name in rule["resources"]]
        assert sorted(sent) == sorted(KINDS)
        assert all(rule["operations"] == ["CREATE"] for rule in entry["rules"])


def test_mutation_is_asked_for_again_where_others_have_added_something() -> None:
    webhooks = named("MutatingWebhookConfiguration", "flyte-admission")["webhooks"]
    assert {webhook["reinvocationPolicy"] for webhook in webhooks} == {"IfNeeded"}


def test_everything_is_in_our_namespace_or_in_none_and_bears_our_name() -> None:
    for each in objects():
        expected = None if each["kind"] in CLUSTER_WIDE else "flyte-admission"
        assert each["metadata"].get("namespace") == expected, each
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "flyte-admission", each


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_what_selects_pods_selects_those_of_one_deployment(deployment: str) -> None:
    labels = pod_of(deployment)["metadata"]["labels"]
    assert named("Service", deployment)["spec"]["selector"] == labels
    assert named("Deployment", deployment)["spec"]["selector"]["matchLabels"] == labels
    assert named("NetworkPolicy", deployment)["spec"]["podSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_metrics_are_for_namespaces_that_are_labelled_for_it_and_calls_go_to_the_api_server(deployment: str) -> None:
    spec = named("NetworkPolicy", deployment)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    readers = [{"namespaceSelector": {"matchLabels": {"flyte-admission.io/metrics": "read"}}}]
    health = [rule.get("from") for rule in spec["ingress"] for port in rule["ports"] if port["port"] == "health"]
    assert health == [readers]
    assert [port["port"] for rule in spec["egress"] for port in rule["ports"]] == [443, 6443]


class Asked(dict[str, str | None]):
    """Labels that remember which of them were asked for."""

    def __init__(self, **labels: str) -> None:
        super().__init__(labels)
        self.names: set[object] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def test_the_labels_that_decide_what_a_pod_may_use_stay_as_they_are_where_every_pod_is_enforced() -> None:
    names: set[object] = set()
    for labels in (Asked(**{"flyte.org/run": "r1"}), Asked(**{"execution-id": "e1"})):
        pod = Pod(metadata=ObjectMeta(labels=labels))
        identify(pod, "default", Identification(labels="always"))
        names |= labels.names
    (owned,) = (
        variable["expression"]
        for variable in named("ValidatingAdmissionPolicy", "flyte-admission-every-pod")["spec"]["variables"]
        if variable["name"] == "owned"
    )
    # Tolerations are added to new Pods alone, so that a later change of `interruptible` gives nothing.
    assert set(ast.literal_eval(owned)) == names - {"interruptible"}


def test_the_policy_that_is_shipped_loads_and_only_tells() -> None:
    text = (BASE / "policy.yaml").read_text()
    assert load(text, "policy.yaml").warnings == ()
    assert yaml.safe_load(text)["mode"] == "audit"


def test_two_replicas_are_spread_and_not_drained_at_once() -> None:
    spec = named("Deployment", "flyte-admission")["spec"]
    assert spec["replicas"] == 2
    spread = [term["topologyKey"] for term in spec["template"]["spec"]["topologySpreadConstraints"]]
    assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    budget = named("PodDisruptionBudget", "flyte-admission")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, spec["selector"])
