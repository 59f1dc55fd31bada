"""Jobs as people meet them: `review` on a file, and bounds on what a job may hold."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.apiserver import Json
from tests.jobs import LABELS, NAMESPACE, review_of
from tests.process import EXAMPLES, examples
from webhook.admission import wire
from webhook.api import bounds
from webhook.cli.main import main

QUOTA = f"""\
apiVersion: v1
kind: ResourceQuota
metadata: {{name: q, namespace: {NAMESPACE}}}
status:
  hard: {{limits.cpu: 10}}
  used: {{limits.cpu: 8}}
"""


def template(name: str, **limits: object) -> Json:
    container = {"name": name, "resources": {"limits": limits or {"cpu": 16}}}
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}


def job(version: str, kind: str, spec: Json, **metadata: Json | list[Json]) -> Json:
    known = {"name": "j", "namespace": NAMESPACE, "labels": LABELS}
    return {"apiVersion": version, "kind": kind, "metadata": {**known, **metadata}, "spec": spec}


def pytorch_job(workers: int, **metadata: Json | list[Json]) -> Json:
    of_worker = template("pytorch", **{"cpu": 2, "memory": "1Gi", "nvidia.com/gpu": 1})
    specs = {"Worker": {"replicas": workers, "template": of_worker}}
    return job("kubeflow.org/v1", "PyTorchJob", {"pytorchReplicaSpecs": specs}, **metadata)


def reviewed(folder: Path, job: Json, *arguments: str) -> str:
    (folder / "quotas.yaml").write_text(QUOTA)
    options = ["--policy", str(EXAMPLES / "policy.yaml"), "--quotas", str(folder / "quotas.yaml"), "-f", "-"]
    return CliRunner().invoke(main, ["review", *options, *arguments], input=yaml.safe_dump(job)).stdout


def test_the_text_has_each_role_with_its_pods_and_what_each_of_them_gets() -> None:
    text = CliRunner().invoke(main, ["review", *map(str, examples()), "-f", str(EXAMPLES / "jobs.yaml")]).stdout
    for line in (
        "  lowered: limits cpu of ray-head (rayClusterSpec/headGroupSpec) from 6 to 4 (over the maximum 4)",
        "    head: 1 Pod",
        "      ray-head: limits cpu=4,ephemeral-storage=1Gi,memory=4Gi",
    ):
        assert line in text.splitlines()


def test_the_text_names_what_is_lowered_beside_the_templates_by_its_path() -> None:
    group = {"groupName": "a", "resources": {"CPU": "16"}, "template": template("ray-worker")}
    ray = job("ray.io/v1", "RayJob", {"rayClusterSpec": {"workerGroupSpecs": [group]}})
    side = {"cores": 16, "memory": "64g"}
    spark = job("sparkoperator.k8s.io/v1beta2", "SparkApplication", {"driver": side})
    policy = ["--policy", str(EXAMPLES / "policy.yaml"), "-f", "-"]
    text = CliRunner().invoke(main, ["review", *policy], input=yaml.safe_dump_all([ray, spark])).stdout
    for line in (
        "  lowered: rayClusterSpec/workerGroupSpecs/0/resources/CPU from 16 to 4 (over the limit 4 of the container)",
        "  lowered: driver/cores from 16 to 4 (over the limit 4 of the container)",
        "  lowered: driver/memory from 64g to 7448m (over the maximum 8Gi, with its overhead)",
    ):
        assert line in text.splitlines()


def test_a_job_that_waits_says_for_what(tmp_path: Path) -> None:
    waits = "exceeded quota: q, requested: limits.cpu=4 (worker 2 × 2), used: limits.cpu=8, limited: limits.cpu=10; "
    text = reviewed(tmp_path, pytorch_job(2))
    assert f"  waits: {waits}" in text
    assert "    worker: 2 Pods\n" in text
    assert '      tolerates {"key":"nvidia.com/gpu"' in text
    (report,) = json.loads(reviewed(tmp_path, pytorch_job(2), "-o", "json"))
    assert (report["pytorchjob"], report["waits"].startswith(waits)) == ("j", True)


def test_what_an_operator_derived_from_a_job_is_ignored(tmp_path: Path) -> None:
    owner = {"kind": "TrainJob", "name": "t", "uid": "u", "controller": True}
    text = reviewed(tmp_path, pytorch_job(2, ownerReferences=[owner]))
    assert text == f"{NAMESPACE}/j: ignored (an operator derived it from another object)\n"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"replicas": bounds.REPLICAS + 1}, "spec.pytorchReplicaSpecs[...].replicas: Expected `int` <= 2147483647"),
        (
            {"template": {"spec": 1}},
            "spec.pytorchReplicaSpecs[...].template.spec: a whole number where a map is expected",
        ),
        (
            {"template": {"spec": {"containers": [{"name": f"c{n}"} for n in range(bounds.CONTAINERS + 1)]}}},
            "spec.pytorchReplicaSpecs[...].template.spec.containers: more than 100 items",
        ),
    ],
    ids=["replicas", "no object", "containers"],
)
def test_a_job_that_cannot_be_read_has_its_problem_named(change: Json, problem: str) -> None:
    job = pytorch_job(1)
    job["spec"]["pytorchReplicaSpecs"]["Worker"] |= change
    assert wire.decode(review_of("pytorchjobs.kubeflow.org", job)).problem == problem


def test_all_templates_together_have_a_bound() -> None:
    job = pytorch_job(1)
    template = {"spec": {"containers": [{"name": f"c{number}"} for number in range(bounds.CONTAINERS)]}}
    job["spec"]["pytorchReplicaSpecs"] = {name: {"template": template} for name in ("A", "B", "C")}
    problem = wire.decode(review_of("pytorchjobs.kubeflow.org", job)).problem
    assert problem == f"containers: more than {bounds.JOB_CONTAINERS} in all Pod templates"
