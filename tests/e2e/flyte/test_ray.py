"""A job of an operator: propeller makes a RayJob, KubeRay makes its Pods."""

import pytest
import yaml

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.flyte.conftest import Project
from tests.e2e.flyte.platform import SOON, Flyte, reasons
from tests.manifests import COMPONENTS, documents

pytestmark = pytest.mark.usefixtures("webhook")


def events(admin: Client, namespace: str) -> list[Json]:
    """The events of the RayCluster that say our words."""
    found = [it for it in admin.items("Event", namespace) if it["involvedObject"]["kind"] == "RayCluster"]
    return [it for it in found if "exceeded quota: project-quota" in it["message"]]


@pytest.mark.slow
def test_the_pods_of_ray_are_made_as_far_as_the_quota_has_room(flyte: Flyte, admin: Client, project: Project) -> None:
    namespace = project({"limits.cpu": "5"})
    execution = flyte.launch("ray", namespace)
    wait_for("a head and one of two workers", lambda: len(execution.pods()) == 2, SOON)
    wait_for("an event of the second worker", lambda: events(admin, namespace), SOON)
    more = {"spec": {"hard": {"limits.cpu": "6"}}}
    admin.must("PATCH", path_of("ResourceQuota", namespace, "project-quota"), more)
    wait_for("the second worker", lambda: len(execution.pods()) == 3, 2 * SOON)


def test_of_a_ray_job_that_never_fits_the_reason_is_in_the_events_of_its_cluster_and_not_in_flyte(
    flyte: Flyte, admin: Client, project: Project
) -> None:
    namespace = project({"limits.cpu": "1"})
    execution = flyte.launch("ray", namespace)
    found = wait_for("an event of the head", lambda: events(admin, namespace), SOON)
    assert "with nothing else running" in found[0]["message"]
    wait_for("Flyte to show the job", lambda: execution.events("task"), SOON)
    assert not [it for event in execution.events("task") for it in reasons(event) if "quota" in it]
    assert "FAILED" not in execution.phases("workflow")


@pytest.fixture
def jobs_decided(admin: Client) -> None:
    """The webhook entries of the component `jobs`, until the configurations of the module go."""
    (component,) = documents(COMPONENTS / "jobs" / "kustomization.yaml")
    for patch in component["patches"]:
        path = path_of(patch["target"]["kind"], name="flyte-admission")
        reached = admin.must("GET", path)["webhooks"][0]["clientConfig"]
        entries = yaml.safe_load(patch["patch"])
        for entry in entries:
            service = entry["value"]["clientConfig"]["service"]
            url = reached["url"].rpartition("/")[0] + service["path"]
            entry["value"]["clientConfig"] = {"url": url, "caBundle": reached["caBundle"]}
        assert admin.ask("PATCH", path, entries, patch="json-patch").code == 200


@pytest.mark.usefixtures("jobs_decided")
def test_a_ray_job_that_never_fits_fails_at_once_where_jobs_are_decided_as_a_whole(
    flyte: Flyte, project: Project
) -> None:
    execution = flyte.launch("ray", project({"limits.cpu": "1"}))
    message = execution.until("FAILED")["error"]["message"]
    assert "exceeded quota: project-quota" in message
    assert "(head 2, workers 2 × 2" in message
    assert {event.get("retry_attempt", 0) for event in execution.events("task")} == {0}
