"""Pods and jobs that have ended, by what each operator writes into the status."""

import pytest

from webhook.jobs import KINDS
from webhook.offline.ended import STATES, WITH_CONDITIONS, has_ended


def conditions(*types: str, status: str = "True") -> dict[str, object]:
    return {"conditions": [{"type": each, "status": status} for each in types]}


@pytest.mark.parametrize(
    ("kind", "status", "ended"),
    [
        *(("Pod", {"phase": phase}, phase in ("Succeeded", "Failed"))
          for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown")),
        *(("RayJob", {"jobDeploymentStatus": state}, state in ("Complete", "Failed"))
          for state in ("", "Initializing", "Running", "Suspended", "Retrying", "Complete", "Failed")),
        *(("SparkApplication", {"applicationState": {"state": state}}, state in ("COMPLETED", "FAILED"))
          for state in ("", "SUBMITTED", "SUBMISSION_FAILED", "PENDING_RERUN", "RUNNING", "COMPLETED", "FAILED")),
        *(("DaskJob", {"jobStatus": state}, state in ("Successful", "Failed"))
          for state in ("JobCreated", "ClusterCreated", "Running", "Successful", "Failed")),
        *((kind, conditions("Created", last), last in ("Succeeded", "Failed"))
          for kind in ("PyTorchJob", "TFJob", "MPIJob")
          for last in ("Running", "Restarting", "Suspended", "Succeeded", "Failed")),
        *(("JobSet", conditions("StartupPolicyCompleted", last), last in ("Completed", "Failed"))
          for last in ("StartupPolicyInProgress", "Suspended", "Completed", "Failed")),
        ("PyTorchJob", conditions("Failed", status="False"), False),
        ("ResourceQuota", conditions("Failed"), False),
    ],
)  # fmt: skip
def test_a_status_says_whether_it_has_ended(kind: str, status: object, ended: object) -> None:
    assert has_ended(kind, status) is ended


@pytest.mark.parametrize("kind", ["Pod", "SparkApplication", "JobSet"])
@pytest.mark.parametrize(
    "status",
    [None, "Failed", {}, {"phase": ["Failed"]}, {"applicationState": "FAILED"}, {"conditions": {"type": "Failed"}},
     {"conditions": ["Failed"]}],
)  # fmt: skip
def test_what_makes_no_sense_has_not_ended(kind: str, status: object) -> None:
    assert not has_ended(kind, status)


def test_every_kind_of_job_is_known() -> None:
    assert {kind.name for kind in KINDS.values()} <= {*STATES, *WITH_CONDITIONS}
