"""The manifests rendered by the real programs, and taken by a real API server."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import process as server
from tests.e2e.client import Client, Json
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.rendering import (
    CHOICES,
    IMAGE,
    NAMESPACE,
    TOGETHER,
    by_name,
    kustomized,
    overlay,
    run,
    templated,
    values,
)
from tests.manifests import BASE, CHART, ROOT
from webhook.server import tls

COMBINATIONS = [
    pytest.param(names, id="+".join(names) or "base") for names in ([], *([name] for name in CHOICES), TOGETHER)
]
OWN_NAMESPACE = ("Namespace", "", NAMESPACE)
WEBHOOK, CERTS = "flyte-admission", "flyte-admission-certs"


@pytest.fixture(scope="module", autouse=True)
def kubectl(control_plane: ControlPlane, programs: Binaries) -> list[str]:
    """kubectl as the admin, with our namespace there, as both ways to install begin with it."""
    command = [programs.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    run(*command, "apply", f"--filename={BASE / 'namespace.yaml'}")
    return command


@pytest.mark.parametrize("components", COMBINATIONS)
def test_kustomize_and_helm_render_the_same_objects(programs: Binaries, tmp_path: Path, components: list[str]) -> None:
    ours = by_name(kustomized(programs, tmp_path, components))
    del ours[OWN_NAMESPACE]  # a release is stored in its namespace, so that is there before
    assert by_name(templated(programs, *values(components))) == ours


@pytest.mark.parametrize("components", COMBINATIONS)
def test_the_chart_passes_its_linter(programs: Binaries, components: list[str]) -> None:
    assert "0 chart(s) failed" in run(programs.path("helm"), "lint", "--strict", CHART, *values(components))


SELECTOR = "webhook.objectSelector.flyte1"
LIFETIMES = "certificates.selfSigned"
LEAF, RENEW = f"{LIFETIMES}.leafLifetime", f"{LIFETIMES}.renewBefore"


@pytest.mark.parametrize(
    ("argument", "expect"),
    [
        ("webhook.failurePolicy=Open", "'/webhook/failurePolicy': value must be one of 'Ignore', 'Fail'"),
        ("webhook.timeoutSeconds=31", "got 31, want 30"),
        ("replicas=3", "additional properties 'replicas' not allowed"),
        # Helm takes a null for a value that is not there
        ("webhook=null", "at '': missing property 'webhook'"),
        ("config=null", "at '': missing property 'config'"),
        ("resources=null", "at '': missing property 'resources'"),
        ("prometheusRule.runbooks=docs/runbooks.md", "'docs/runbooks.md' does not match pattern"),
        ("certificates.selfSigned=null", "at '/certificates': missing property 'selfSigned'"),
        ("networkPolicy.apiServerPorts=null", "at '/networkPolicy': missing property 'apiServerPorts'"),
        ("networkPolicy.apiServerPorts=[]", "minItems: got 0, want 1"),
        ("networkPolicy.apiServerPorts=[0]", "minimum: got 0, want 1"),
        # a peer that is empty is one of all Pods, to some
        ("networkPolicy.metricsFrom=[{}]", "minProperties: got 0, want 1"),
        ('networkPolicy.reviewsFrom=[{"cidr":"10.0.0.0/8"}]', "additional properties 'cidr' not allowed"),
        ('networkPolicy.reviewsFrom=[{"ipBlock":{"cidr":"10.0.0.1"}}]', "'10.0.0.1' does not match pattern"),
        ('networkPolicy.apiServerTo=[{"ipBlock":{"cidr":"::/0"},"podSelector":{}}]', "maxProperties: got 2, want 1"),
        ("clientCA.key=", "'/clientCA/key': '' does not match pattern"),
        ("image.digest=0.1.0", "'0.1.0' does not match pattern"),
        # a selector that is empty is one of all Pods
        (f"{SELECTOR}.matchExpressions=null", f"at '/{SELECTOR.replace('.', '/')}': missing property 'matchLabels'"),
        (f"{SELECTOR}.matchExpressions=[]", "minItems: got 0, want 1"),
        (f'{SELECTOR}={{"matchExpressions":[],"matchLabels":{{}}}}', "minProperties: got 0, want 1"),
        (f'{SELECTOR}.matchExpressions=[{{"key":"a","operator":"In"}}]', "missing property 'values'"),
        (f'{SELECTOR}.matchExpressions=[{{"key":"a","operator":"In","values":[]}}]', "minItems: got 0, want 1"),
        (f'{SELECTOR}.matchExpressions=[{{"key":"a","operator":"Exists","values":["b"]}}]', "maxItems: got 1, want 0"),
        (f'{SELECTOR}.matchExpressions=[{{"key":"a b","operator":"Exists"}}]', "'a b' does not match pattern"),
        ('webhook.namespaceSelector.matchLabels={"team":"a b"}', "'a b' does not match pattern"),
        ("listenAddress=999.1.1.1", "'/listenAddress': value must be one of '0.0.0.0', '[::]'"),
        ("podDisruptionBudget.maxUnavailable=101%", "'101%' does not match pattern"),
        ("serviceMonitor.interval=0s", "'0s' does not match pattern"),
        (f"{RENEW}=0d", "'0d' does not match pattern"),
        (f"{LEAF}=90", "want string"),
        (f"{LEAF}=366d", f"{LEAF}: 366d is over caLifetime, 365d; write that or less"),
        (f"{LIFETIMES}.caLifetime=60h", f"{LEAF}: 90d is over caLifetime, 60h; write that or less"),
        (f"{RENEW}=90d", f"{RENEW}: 90d is not under leafLifetime, 90d; write less"),
        (f"{LEAF}=43200m", f"{RENEW}: 30d is not under leafLifetime, 43200m; write less"),
        ("certificates.existingSecret=flyte-admission-tls", "certs writes flyte-admission-tls itself; give"),
        ('certificates.certManager.issuerRef={"kind":"ClusterIssuer"}', "missing property 'name'"),
        ('certificates={"certManager":{"enabled":true},"existingSecret":"x"}', "exclude each other"),
        # the policy, by its own schema
        ("config.mode=warn", "write mode at the top of the values"),
        ("config.task_resource={}", "at '/config': additional properties 'task_resource' not allowed"),
        ("config.task_resources.limit={}", "'/config/task_resources': additional properties 'limit' not allowed"),
        ("config.task_resources.limits.cpu=[4]", "'/config/task_resources/limits/cpu': got array"),
        ('config.overrides=[{"mode":"on"}]', "/0/mode': value must be one of 'enforce', 'warn', 'audit'"),
        ('config.exemptions=[{"match":{"project":"p"}}]', "missing properties 'skip', 'reason', 'until'"),
        ("config.task_resources.limits.memory=64GB", "'64GB' does not match pattern"),
        ("config.task_resources.limits.gpu=1.5", "'/config/task_resources/limits/gpu'"),
        ("config.task_resources.limits.cpus=4", "invalid propertyName 'cpus'"),
        ('config.overrides=[{"project":"a b"}]', "'a b' does not match pattern"),
        ('config.overrides=[{"project":"p","until":"Friday"}]', "'Friday' does not match pattern"),
        ("config.verdicts.never_fits.flyte1=500", "value must be one of 403, 413, 422, 429"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told(programs: Binaries, argument: str, expect: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(expect)):
        templated(programs, f"--set-json={as_json(argument)}")


def as_json(argument: str) -> str:
    """What is no JSON is a text."""
    name, _, value = argument.partition("=")
    try:
        json.loads(value)
    except ValueError:
        value = json.dumps(value)
    return f"{name}={value}"


@pytest.mark.parametrize("file", ["examples/policy.yaml", "examples/overrides.yaml"])
def test_a_policy_may_be_pasted_into_the_values(programs: Binaries, tmp_path: Path, file: str) -> None:
    """Documents of flytectl that come after it are items of overrides."""
    policy, *overrides = yaml.safe_load_all((ROOT / file).read_text())
    policy["overrides"] = [*policy.get("overrides", ()), *overrides]
    mode = policy.pop("mode", "audit")
    pasted = tmp_path / "values.yaml"
    pasted.write_text(yaml.safe_dump({"mode": mode, "config": policy}))
    run(programs.path("helm"), "lint", "--strict", CHART, f"--values={pasted}")
    made = by_name(templated(programs, f"--values={pasted}"))
    rendered = made["ConfigMap", NAMESPACE, "flyte-admission-policy"]["data"]["policy.yaml"]
    assert rendered == {"mode": mode, **json.loads(json.dumps(policy, default=str))}  # where a date is a text


@pytest.mark.parametrize(
    "argument",
    [
        f'{SELECTOR}={{"matchExpressions":null,"matchLabels":{{"flyte.org/run":""}}}}',
        f'{LIFETIMES}={{"caLifetime":"90d","leafLifetime":"2160h","renewBefore":"129599m"}}',
        'listenAddress="[::]"',
        "config.task_resources=null",
        'certificates={"existingSecret":"mine","selfSigned":{"leafLifetime":"9d","renewBefore":"3d"}}',
        'certificates.certManager={"enabled":true,"issuerRef":{"kind":"ClusterIssuer","name":"x"}}',
        'podDisruptionBudget.maxUnavailable="100%"',
    ],
)
def test_a_right_value_passes_the_linter(programs: Binaries, argument: str) -> None:
    run(programs.path("helm"), "lint", "--strict", CHART, f"--set-json={argument}")
    templated(programs, f"--set-json={argument}")


@pytest.mark.parametrize(
    "components", [[], ["enforce-every-pod-in-namespace", "high-availability"]], ids=["base", "more"]
)
def test_the_api_server_takes_every_object_without_a_warning(
    kubectl: list[str], programs: Binaries, tmp_path: Path, components: list[str]
) -> None:
    command = [*kubectl, "apply", "--dry-run=server", "-k", str(overlay(tmp_path, components))]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(by_name(kustomized(programs, tmp_path, components)))


def test_values_reach_their_places(programs: Binaries) -> None:
    made = by_name(
        templated(
            programs,
            "--set=webhook.failurePolicy=Fail,webhook.timeoutSeconds=5,shutdownDelaySeconds=15,mode=enforce",
            "--set=webhook.namespaceSelector.matchLabels.team=ml,config.task_resources.limits.cpu=4,image.tag=x",
            "--set=certificates.existingSecret=mine,existingConfigMap=",
        )
    )
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for webhook in made[kind, "", NAMESPACE]["webhooks"]:
            assert (webhook["failurePolicy"], webhook["timeoutSeconds"]) == ("Fail", 5)
            assert webhook["namespaceSelector"]["matchLabels"] == {"team": "ml"}
            own = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
            assert webhook["namespaceSelector"]["matchExpressions"] == [own]
    spec = made["Deployment", NAMESPACE, "flyte-admission"]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 35
    assert spec["volumes"][1]["secret"]["secretName"] == "flyte-admission-tls"
    assert spec["containers"][0]["image"] == "flyte-admission:x"
    policy = made["ConfigMap", NAMESPACE, "flyte-admission-policy"]["data"]["policy.yaml"]
    assert policy == {"mode": "enforce", "task_resources": {"limits": {"cpu": 4}}}
    assert (
        "--from-secret=mine"
        in made["Deployment", NAMESPACE, CERTS]["spec"]["template"]["spec"]["containers"][0]["args"]
    )


def test_null_leaves_out_what_the_chart_would_merge_in(programs: Binaries, tmp_path: Path) -> None:
    chosen = {
        "enforceEveryPodInNamespace": {
            "enabled": True,
            "namespaceSelector": {"matchLabels": {"flyte-admission.io/enforce": None, "team": "ml"}},
        },
        "certificates": {"selfSigned": {"resources": {"limits": None}}},
        "resources": {"limits": None, "requests": {"cpu": None}},
        "grafanaDashboard": {"enabled": True, "labels": {"grafana_dashboard": None, "mine": "yes"}},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(chosen))
    made = by_name(templated(programs, f"--values={file}"))
    binding = made["ValidatingAdmissionPolicyBinding", "", "flyte-admission-every-pod"]
    assert binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] == {"team": "ml"}
    labels = made["ConfigMap", NAMESPACE, "flyte-admission-dashboard"]["metadata"]["labels"]
    assert ("grafana_dashboard" in labels, labels["mine"]) == (False, "yes")
    certs, serve = (
        made["Deployment", NAMESPACE, name]["spec"]["template"]["spec"]["containers"][0]["resources"]
        for name in ("flyte-admission-certs", "flyte-admission")
    )
    assert (certs.keys(), serve) == ({"requests"}, {"requests": {"memory": "128Mi"}})


def test_an_object_selector_of_ones_own_takes_the_place_of_ours(programs: Binaries) -> None:
    chosen = f'{SELECTOR}={{"matchExpressions":null,"matchLabels":{{"team":"ml"}}}}'
    made = by_name(templated(programs, f"--set-json={chosen}"))
    webhook = made["MutatingWebhookConfiguration", "", NAMESPACE]["webhooks"][0]
    assert webhook["objectSelector"] == {"matchLabels": {"team": "ml"}}


def test_it_does_not_go_with_the_policy_that_lets_in_what_our_selectors_send_us(programs: Binaries) -> None:
    chosen = [
        f'--set-json={SELECTOR}={{"matchLabels":{{"team":"ml"}}}}',
        "--set=enforceEveryPodInNamespace.enabled=true",
    ]
    with pytest.raises(AssertionError, match=r"enforceEveryPodInNamespace goes by the labels execution-id and flyte"):
        templated(programs, *chosen)


DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def test_a_digest_takes_the_place_of_the_tag(programs: Binaries) -> None:
    made = by_name(templated(programs, f"--set=image.tag=0.1.0,image.digest={DIGEST}"))
    pods = [made["Deployment", NAMESPACE, name]["spec"]["template"] for name in (WEBHOOK, CERTS)]
    images = {container["image"] for each in pods for container in each["spec"]["containers"]}
    assert images == {f"flyte-admission@{DIGEST}"}


# What docs/install.md has one add to a kustomization, and the values that are the same choice.
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE | re.DOTALL)
SNIPPETS = {
    "failurePolicy": {"webhook": {"failurePolicy": "Fail"}},
    "digest:": {"image": {"repository": "registry.example.com/flyte-admission", "digest": DIGEST}},
    "priorityClassName": {"priorityClassName": "admission-webhooks"},
    "kind: NetworkPolicy": next(yaml.safe_load(text) for text in BLOCKS if text.startswith("networkPolicy:")),
}


@pytest.mark.parametrize(("snippet", "chosen"), SNIPPETS.items(), ids=[*SNIPPETS])
def test_what_the_document_adds_to_a_kustomization_is_what_its_values_do(
    programs: Binaries, tmp_path: Path, snippet: str, chosen: Json
) -> None:
    (text,) = (text for text in BLOCKS if snippet in text and text.startswith(("patches:", "images:")))
    file = overlay(tmp_path, []) / "kustomization.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | yaml.safe_load(text)))
    ours = by_name(run(programs.path("kustomize"), "build", tmp_path))
    del ours[OWN_NAMESPACE]
    made = templated(programs, *(f"--set-json={name}={json.dumps(value)}" for name, value in chosen.items()))
    assert by_name(made) == ours != by_name(templated(programs))


def test_the_priority_class_of_the_document_is_one_that_the_api_server_takes(admin: Client) -> None:
    (text,) = (text for text in BLOCKS if "kind: PriorityClass" in text)
    admin.created(yaml.safe_load(text), dry_run=True)


def test_a_client_ca_may_be_under_any_key(programs: Binaries) -> None:
    made = by_name(templated(programs, "--set-string=clientCA.configMapName=12,clientCA.key=bundle.pem"))
    spec = made["Deployment", NAMESPACE, WEBHOOK]["spec"]["template"]["spec"]
    assert spec["volumes"][-1]["configMap"] == {"name": "12", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
    assert "--client-ca-file=/etc/flyte-admission/client-ca/ca.crt" in spec["containers"][0]["args"]


def test_network_policies_are_narrowed_to_addresses(programs: Binaries) -> None:
    peers = {name: [{"ipBlock": {"cidr": cidr}}] for name, cidr in [("in", "10.0.0.0/28"), ("out", "fd00::1/128")]}
    chosen = {"reviewsFrom": peers["in"], "metricsFrom": [], "apiServerTo": peers["out"], "apiServerPorts": [6443]}
    made = by_name(templated(programs, f"--set-json=networkPolicy={json.dumps(chosen)}"))
    webhook, certs = (made["NetworkPolicy", NAMESPACE, name]["spec"] for name in (WEBHOOK, CERTS))
    assert webhook["ingress"] == [{"ports": [{"port": "https", "protocol": "TCP"}], "from": peers["in"]}]
    assert certs["ingress"] == []
    assert webhook["egress"] == certs["egress"]
    assert certs["egress"] == [{"ports": [{"port": 6443, "protocol": "TCP"}], "to": peers["out"]}]


def test_a_name_that_looks_like_a_number_stays_a_name(programs: Binaries) -> None:
    """The later --namespace is the one that counts."""
    chosen = ["priorityClassName", "existingConfigMap", "certificates.existingSecret", "image.repository", "image.tag"]
    switches = ",".join(f"{name}.enabled=true" for name in ("serviceMonitor", "prometheusRule", "grafanaDashboard"))
    names = [f"--set-string={name}=12" for name in chosen]
    made = by_name(templated(programs, "--namespace=12", f"--set={switches}", *names))
    assert {namespace for _, namespace, _ in made} == {"", "12"}
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        services = [webhook["clientConfig"]["service"] for webhook in made[kind, "", NAMESPACE]["webhooks"]]
        assert [service["namespace"] for service in services] == ["12", "12"]
    (subject,) = made["ClusterRoleBinding", "", "flyte-admission"]["subjects"]
    assert subject["namespace"] == "12"
    spec = made["Deployment", "12", "flyte-admission"]["spec"]["template"]["spec"]
    assert (spec["priorityClassName"], spec["containers"][0]["image"]) == ("12", "12:12")
    assert spec["volumes"][0]["configMap"]["name"] == "12"
    assert made["Role", "12", CERTS]["rules"][1]["resourceNames"] == ["12"]


@pytest.mark.parametrize(
    ("certificates", "expect"),
    [
        (f'{LIFETIMES}={{"leafLifetime":"14d","renewBefore":"4d"}}', (345600, "4d")),
        ('certificates={"existingSecret":"mine","selfSigned":{"renewBefore":"36h"}}', (129600, "36h")),
        ('certificates={"certManager":{"enabled":true},"selfSigned":{"renewBefore":"4d"}}', (2592000, "30d")),
    ],
)
def test_the_alert_fires_when_a_third_of_the_time_for_renewal_is_gone(
    programs: Binaries, certificates: str, expect: tuple[int, str]
) -> None:
    made = by_name(templated(programs, "--set=prometheusRule.enabled=true", f"--set-json={certificates}"))
    (group,) = made["PrometheusRule", NAMESPACE, "flyte-admission"]["spec"]["groups"]
    (rule,) = (rule for rule in group["rules"] if rule["alert"] == "FlyteAdmissionCertificateExpiring")
    seconds, text = expect
    assert rule["expr"].endswith(f" < {seconds} * 2 / 3")
    assert f"renewed {text} before its end" in rule["annotations"]["description"]


def test_the_alerts_lead_to_where_the_runbooks_are(programs: Binaries, tmp_path: Path) -> None:
    (text,) = (text for text in BLOCKS if "replacements:" in text)
    file = overlay(tmp_path, ["monitoring"]) / "kustomization.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | yaml.safe_load(text)))
    ours = by_name(run(programs.path("kustomize"), "build", tmp_path))
    del ours[OWN_NAMESPACE]
    url = "https://wiki.example.org/flyte-admission/runbooks"
    assert by_name(templated(programs, *values(["monitoring"]), f"--set=prometheusRule.runbooks={url}")) == ours
    (group,) = ours["PrometheusRule", NAMESPACE, "flyte-admission"]["spec"]["groups"]
    urls = [rule["annotations"]["runbook_url"] for rule in group["rules"]]
    assert urls == [f"{url}#{rule['alert'].lower()}" for rule in group["rules"]]


def test_an_image_has_to_be_named(programs: Binaries) -> None:
    with pytest.raises(
        AssertionError, match=r"image\.repository: name the registry and repository that your nodes pull"
    ):
        run(programs.path("helm"), "template", "release", CHART)


PLATFORMS = re.findall(
    r"^## ([^\n]+)\n[^#]*?^```yaml\n(.*?)^```\n+^```yaml\n(.*?)^```$",
    (ROOT / "docs" / "platforms.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(("kustomization", "chosen"), [pytest.param(*found[1:], id=found[0]) for found in PLATFORMS])
def test_both_ways_to_install_on_a_platform_are_the_same_and_the_api_server_takes_them(
    kubectl: list[str], programs: Binaries, tmp_path: Path, kustomization: str, chosen: str
) -> None:
    content = yaml.safe_load(kustomization)
    file = overlay(tmp_path, [Path(path).name for path in content.pop("components", [])]) / "kustomization.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | content))
    rendered = run(programs.path("kustomize"), "build", tmp_path)
    (tmp_path / "values.yaml").write_text(chosen)
    ours = by_name(rendered)
    del ours[OWN_NAMESPACE]
    assert by_name(templated(programs, f"--values={tmp_path / 'values.yaml'}")) == ours != by_name(templated(programs))
    (tmp_path / "rendered.yaml").write_text(rendered)
    run(*kubectl, "apply", "--dry-run=server", f"--filename={tmp_path / 'rendered.yaml'}")
    run(programs.path("helm"), "lint", "--strict", CHART, f"--values={tmp_path / 'values.yaml'}")


def test_every_platform_of_the_document_is_rendered() -> None:
    text = (ROOT / "docs" / "platforms.md").read_text()
    assert 2 * len(PLATFORMS) == text.count("```yaml")


def test_labels_of_ones_own_are_on_everything_and_select_nothing(programs: Binaries) -> None:
    labels = "--set=commonLabels.team=ml,podLabels.team=pods,podLabels.app\\.kubernetes\\.io/name=other"
    accounts = "--set=serviceAccount.annotations.role=webhook"
    made = by_name(templated(programs, labels, accounts, *values(TOGETHER)))
    for (kind, _, _), each in made.items():
        assert each["metadata"]["labels"]["team"] == "ml"
        assert "team" not in json.dumps(each["spec"].get("selector", {})) if "spec" in each else True
        if kind == "Deployment":
            template = each["spec"]["template"]
            assert template["metadata"]["labels"]["team"] == "pods"
            assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "flyte-admission"
        if kind == "ServiceAccount":
            assert each["metadata"]["annotations"] == {"role": "webhook"}


def test_more_arguments_come_last(programs: Binaries) -> None:
    made = by_name(templated(programs, "--set=extraArgs[0]=--shutdown-delay=3"))
    (container,) = made["Deployment", NAMESPACE, WEBHOOK]["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--shutdown-delay=3"


def test_helm_test_asks_the_webhook_for_a_review_over_tls_that_it_trusts(programs: Binaries, tmp_path: Path) -> None:
    only = ["--show-only=templates/tests/review.yaml", "--namespace=default"]
    pod = yaml.safe_load(run(programs.path("helm"), "template", "release", CHART, IMAGE, *only))
    (container,) = pod["spec"]["containers"]
    script, url, ca = map(str, container["args"])
    assert container["command"] == ["python", "-c"]
    assert url == "https://flyte-admission.default.svc/validate"
    assert (
        ca == f"{container['volumeMounts'][0]['mountPath']}/{pod['spec']['volumes'][0]['secret']['items'][0]['path']}"
    )
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    files = f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"
    with server.running("--policy", server.EXAMPLES / "policy.yaml", "--no-quotas", *files) as process:
        there = f"{process.listening['webhook']}/validate"
        assert json.loads(run(sys.executable, "-c", script, there, certificate))["allowed"]
        (tmp_path / "other").mkdir()
        other, _ = tls.make_self_signed(tmp_path / "other", ["127.0.0.1"])
        with pytest.raises(AssertionError, match="CERTIFICATE_VERIFY_FAILED"):
            run(sys.executable, "-c", script, there, other)


def test_there_is_no_helm_test_where_only_the_api_server_may_call(programs: Binaries) -> None:
    chosen = values(["client-ca"])
    assert "helm.sh/hook: test" not in run(programs.path("helm"), "template", "release", CHART, IMAGE, *chosen)
