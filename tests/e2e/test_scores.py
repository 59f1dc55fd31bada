"""kube-score on what kustomize and Helm render: it finds nothing but what is justified here."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.controlplane.binaries import Binaries, MissingError
from tests.e2e.rendering import CHOICES, TOGETHER, kustomized, templated, values

WEBHOOK, CERTS = "flyte-admission", "flyte-admission-certs"
JUSTIFIED: Final = {
    "CPU limit is not set": "a throttled webhook is a late one",
    "Ephemeral Storage request is not set": "the root is read-only and /tmp in memory: there is only the log",
    "Ephemeral Storage limit is not set": "the kubelet rotates the log; over a limit it would end a Pod that works",
    "ImagePullPolicy is not set to Always": "a replica starts while the registry is away; pin the image by its digest",
}
JUSTIFIED_FOR_CERTS: Final = JUSTIFIED | {
    "Deployment few replicas": "two would issue certificates against each other; the webhook does not wait for it",
    "Deployment update strategy": "the same: the one before ends first",
}
ON_OPENSHIFT: Final = {
    "The container is running with a low user ID": "the security context constraint chooses the user",
    "The container running with a low group ID": "and the group",
}
OPTIONAL: Final = ["container-seccomp-profile", "container-ports-check"]
# Values of the chart that no component has, but for those that turn a protection off.
MORE_VALUES: Final = [
    "replicaCount=5", f"image.digest=sha256:{'0123456789abcdef' * 4}", "imagePullSecrets[0].name=pull",
    "existingConfigMap=mine", "webhook.failurePolicy=Fail", "shutdownDelaySeconds=0", "shutdownDelaySeconds=40",
    "podDisruptionBudget.maxUnavailable=50%", "topologySpread.hostname=DoNotSchedule,topologySpread.zone=DoNotSchedule",
    "priorityClassName=admission-webhooks", "nodeSelector.a=b", "tolerations[0].operator=Exists",
    "extraArgs[0]=--no-status-page", "commonLabels.team=ml,podLabels.app=x,podAnnotations.a=b", "rbac.create=false",
    "networkPolicy.apiServerPorts[0]=8443", "statusPage.enabled=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def kube_score(programs: Binaries) -> str:
    try:
        return programs.path("kube-score")
    except MissingError as error:
        pytest.skip(str(error))


def scored(kube_score: str, rendered: str) -> dict[str, set[str]]:
    """What it finds, by the name of the object."""
    optional = [f"--enable-optional-test={name}" for name in OPTIONAL]
    command = [kube_score, "score", "--kubernetes-version=v1.30", "--output-format=json", *optional, "-"]
    done = subprocess.run(command, input=rendered, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {}
    for each in json.loads(done.stdout):
        for check in each["checks"] or ():
            if not check["skipped"] and check["grade"] < 10:
                comments = {comment["summary"] for comment in check["comments"] or ()} or {check["check"]["name"]}
                found.setdefault(each["object_meta"]["name"], set()).update(comments)
    return found


@pytest.mark.parametrize("way", ["kustomize", "Helm"])
@pytest.mark.parametrize("names", [[], *([name] for name in CHOICES), TOGETHER], ids=lambda it: "+".join(it) or "base")
def test_it_finds_in_each_component_only_what_is_justified(
    programs: Binaries, kube_score: str, tmp_path: Path, names: list[str], way: str
) -> None:
    rendered = kustomized(programs, tmp_path, names) if way == "kustomize" else templated(programs, *values(names))
    chosen = ON_OPENSHIFT if "openshift" in names else {}
    expect = {WEBHOOK: {*JUSTIFIED, *chosen}, CERTS: {*JUSTIFIED_FOR_CERTS, *chosen}}
    assert scored(kube_score, rendered) == expect


@pytest.mark.parametrize("value", MORE_VALUES)
def test_it_finds_with_each_value_only_what_is_justified(programs: Binaries, kube_score: str, value: str) -> None:
    found = scored(kube_score, templated(programs, f"--set={value}"))
    assert found == {WEBHOOK: {*JUSTIFIED}, CERTS: {*JUSTIFIED_FOR_CERTS}}


def test_it_finds_what_is_wrong(programs: Binaries, kube_score: str) -> None:
    found = scored(
        kube_score, templated(programs, "--set=networkPolicy.enabled=false,podDisruptionBudget.enabled=false")
    )
    assert {"The pod does not have a matching NetworkPolicy", "No matching PodDisruptionBudget was found"} <= found[
        WEBHOOK
    ]
