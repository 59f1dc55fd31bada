"""Whether a Pod or a job of a dump has ended, by what is in its status.

Sources: kuberay `apis/ray/v1/rayjob_types.go` (IsJobDeploymentTerminal), spark-operator
`api/v1beta2/sparkapplication_types.go`, dask-kubernetes `kubernetes.dask.org/v1/types.go`, training-operator
`pkg/apis/kubeflow.org/v1/common_types.go`, jobset `api/jobset/v1alpha2/jobset_types.go`.
"""

from collections.abc import Mapping
from typing import Any, Final

# Where the state of a kind is, and which states are final.
STATES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "Pod": (("phase",), ("Succeeded", "Failed")),
    "RayJob": (("jobDeploymentStatus",), ("Complete", "Failed")),
    "SparkApplication": (("applicationState", "state"), ("COMPLETED", "FAILED")),
    "DaskJob": (("jobStatus",), ("Successful", "Failed")),
}
# The kinds whose state is among their conditions, and which conditions are final.
WITH_CONDITIONS: Final = frozenset({"PyTorchJob", "TFJob", "MPIJob", "JobSet"})
FINAL_PHASES: Final = ("Succeeded", "Completed", "Failed")


def has_ended(kind: str, status: Any) -> bool:
    """Return whether an object of this kind and status has ended; one whose status makes no sense has not."""
    if kind in STATES:
        path, final = STATES[kind]
        for step in path:
            status = status.get(step) if isinstance(status, dict) else None
        return status in final
    conditions = status.get("conditions") if kind in WITH_CONDITIONS and isinstance(status, dict) else None
    return isinstance(conditions, list) and any(
        isinstance(it, dict) and it.get("type") in FINAL_PHASES and it.get("status") == "True" for it in conditions
    )
