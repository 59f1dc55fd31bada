"""Whatever a Pod asks for, the API server stores it within the maxima, and refuses nothing that we have made of it.

The Pods are made at random, from a seed; each of them is valid without the webhook.
"""

from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from tests.apiserver import amounts, containers, effective
from tests.e2e import generated
from tests.e2e.client import Client, Json, path_of
from tests.e2e.installed import installed
from tests.e2e.pods import FLYTE_1, pod

POLICY = """
task_resources:
  defaults: {cpu: 250m, memory: 64Mi}
  limits: {cpu: 1, memory: 512Mi, gpu: 1, hugepages-*: 64Mi}
pod_limits: {cpu: 1500m, memory: 600Mi, ephemeralStorage: 1Gi, gpu: 1, example.com/*: 2, hugepages-2Mi: 6Mi}
"""
MOST = {
    "cpu": Fraction(3, 2), "memory": Fraction(600 * 2**20), "ephemeral-storage": Fraction(2**30),
    "nvidia.com/gpu": Fraction(1), "example.com/fpga": Fraction(2), "hugepages-2Mi": Fraction(6 * 2**20),
}  # fmt: skip
PODS = 600


def generated_pods(admin: Client, namespace: str) -> list[Json]:
    """Those that the API server takes, most of them with something stated for the Pod as a whole."""
    numbers, found = Random("bounds"), []  # noqa: S311 - to repeat it is the point
    for index in range(4 * PODS):
        made = generated.pod(numbers, namespace, f"pod-{index}")
        for field in ("priorityClassName", "runtimeClassName", "affinity"):
            made["spec"].pop(field, None)
        if ("resources" in made["spec"] or index % 4 == 0) and admin.create(made, dry_run=True).code == 201:
            found.append(made)
    return found


def test_no_pod_is_over_and_none_is_refused(admin: Client, namespace: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    found = generated_pods(admin, namespace)
    assert sum("resources" in made["spec"] for made in found) > PODS // 8
    with installed(admin, tmp_path, "--no-quotas", f"--policy={policy}"):
        for made in found:
            reply = admin.create(made, dry_run=True)
            assert reply.code == 201, (made, reply.message)
            for side in ("requests", "limits"):
                for name, value in effective(reply.body, side).items():
                    assert value <= MOST.get(name, value), (made, name)
            level = reply.body["spec"].get("resources") or {}
            for name in {*amounts(level, "requests"), *amounts(level, "limits")} & {"cpu", "memory"}:
                each = [amounts(it.get("resources"), "limits").get(name) for it in containers(reply.body)]
                assert amounts(level, "limits").get(name) or all(each), (made, name)


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_a_resize_takes_no_container_over_the_maximum_nor_its_limit_away(
    admin: Client, namespace: str, kind: str
) -> None:
    block = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    init = {"name": "init", "image": "example.com/task:1", "resources": block}
    admin.created(pod(namespace, "task", FLYTE_1, block, initContainers=[init]))
    path = path_of("Pod", namespace, "task")
    name = "main" if kind == "containers" else "init"
    for asked, stored in (({"cpu": "64"}, "4"), ({"cpu": "3"}, "3"), ({"cpu": "0"}, "4")):
        patch = {"spec": {kind: [{"name": name, "resources": {"limits": asked}}]}}
        reply = admin.ask("PATCH", f"{path}/resize", patch, patch="strategic-merge-patch")
        assert reply.code == 200, reply.message
        assert admin.must("GET", path)["spec"][kind][0]["resources"]["limits"]["cpu"] == stored
