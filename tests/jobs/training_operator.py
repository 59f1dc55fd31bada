"""A model of Kubeflow's training operator, written from its source: the Pods that it makes of a job.

Source: training-operator v1.8.0 `pkg/controller.v1`: `common/pod.go` (createNewPod), `pytorch/initcontainer.go`,
`mpi/mpijob_controller.go` (newLauncher, newWorker), and the defaults in `pkg/apis/kubeflow.org/v1`.
"""

import copy

from tests.apiserver import Json
from tests.jobs.kuberay import pod_of

FIELDS = {"PyTorchJob": "pytorchReplicaSpecs", "TFJob": "tfReplicaSpecs", "MPIJob": "mpiReplicaSpecs"}
INIT_PYTORCH = {
    "name": "init-pytorch",
    "resources": {"limits": {"cpu": "100m", "memory": "20Mi"}, "requests": {"cpu": "50m", "memory": "10Mi"}},
}
ALL_OF_KUBECTL = {"cpu": "100m", "memory": "512Mi", "ephemeral-storage": "5Gi"}
KUBECTL = {"name": "kubectl-delivery", "resources": {"limits": ALL_OF_KUBECTL, "requests": ALL_OF_KUBECTL}}
TYPES = {"master": "Master", "worker": "Worker"}  # setTypeNameToCamelCase
OWN = ("init-pytorch", "kubectl-delivery")


def pods(job: Json) -> list[Json]:
    """The Pods of the job; of workers whose number may change, the fewest."""
    kind, spec = job["kind"], job["spec"]
    types = {TYPES.get(name.lower(), name): replica for name, replica in spec[FIELDS[kind]].items()}
    made = []
    for name, replica in types.items():
        for _ in range(count(kind, name, replica.get("replicas"), spec.get("elasticPolicy"))):
            pod = pod_of(replica["template"])
            inits = pod["spec"].setdefault("initContainers", [])
            if kind == "PyTorchJob" and "Master" in types and name == "Worker":
                inits.append(copy.deepcopy(INIT_PYTORCH))
            if kind == "MPIJob" and name == "Launcher":
                inits.append(copy.deepcopy(KUBECTL))
            made.append(pod)
    return made


def count(kind: str, name: str, replicas: int | None, elastic: Json | None) -> int:
    if kind == "MPIJob" and name == "Launcher":
        return 1
    if replicas is None:
        replicas = 0 if kind == "MPIJob" else 1
    if elastic and name == "Worker" and "minReplicas" in elastic:
        return int(min(replicas, elastic["minReplicas"]))
    return replicas
