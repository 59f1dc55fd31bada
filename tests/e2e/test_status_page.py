"""The status page of a webhook on a real control plane, in a browser: on a telephone and on a large screen."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.installed import Installed
from tests.e2e.pods import FLYTE_1, pod
from tests.server.test_status import Text

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
HARD = {"limits.cpu": "8", "limits.memory": "4Gi"}
SMALL = {"limits": {"cpu": "1", "memory": "1Gi"}}
LARGE = {"limits": {"cpu": "4", "memory": "8Gi"}}
USED = {"limits.cpu": "1", "limits.memory": "1Gi"}


@pytest.fixture
def tasks(admin: Client, webhook: Installed, namespace: str) -> None:
    """A quota with one task in it that was changed, and one that never fits, whose name is markup."""
    admin.created({"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": HARD}})
    path = path_of("ResourceQuota", namespace, "q")
    wait_for("the quota to be counted", lambda: admin.must("GET", path)["status"].get("used"))
    wait_for("the webhook to know it", lambda: amounts(snapshot(webhook), namespace))
    admin.created(pod(namespace, "small", FLYTE_1, SMALL))
    refused = admin.create(pod(namespace, HOSTILE, FLYTE_1, LARGE))
    assert refused.code == 413, refused
    wait_for("the webhook to know the use", lambda: amounts(snapshot(webhook), namespace) == USED)


def snapshot(webhook: Installed) -> Json:
    """What /status.json has."""
    probes = webhook.server.health()
    found: Json = probes.get("/status.json").json
    probes.connection.close()
    return found


def amounts(found: Json, namespace: str) -> dict[str, str]:
    """What is used of the quotas of the namespace."""
    return {
        amount["name"]: amount["used"]
        for each in found["namespaces"] if each["namespace"] == namespace
        for quota in each["quotas"] for amount in quota["resources"]
    }  # fmt: skip


def shown(webhook: Installed, folder: Path, width: int) -> str:
    """The document of the page as Chromium has it in the end."""
    command = ["chromium", *FLAGS, f"--user-data-dir={folder}", f"--window-size={width},900", "--dump-dom"]
    address = webhook.server.listening["health"]
    return subprocess.run([*command, f"{address}/status"], check=True, capture_output=True, timeout=60).stdout.decode()


@pytest.mark.usefixtures("tasks")
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [360, 1200])
def test_chromium_shows_what_the_snapshot_has_and_no_name_becomes_markup(
    webhook: Installed, namespace: str, tmp_path: Path, width: int
) -> None:
    found, dom = snapshot(webhook), shown(webhook, tmp_path, width)
    page = Text(dom)
    assert {"img", "script"}.isdisjoint(page.tags)
    assert "owned" not in dom.partition("</title>")[0]
    for each in found["namespaces"]:
        assert each["namespace"] in page.text
        for quota in each["quotas"]:
            labels = [f"{it['name']}: {it['used']} of {it['hard']} used" for it in quota["resources"]]
            assert set(labels) <= set(page.labels)
    (refusal,) = (it for it in found["refusals"] if it["namespace"] == namespace)
    assert (refusal["pod"], HOSTILE in page.text, refusal["message"] in page.text) == (HOSTILE, True, True)
    assert found["policy"]["digest"] in page.text
    decided = page.text.partition("Decisions of the last hour")[2].partition("Latest refusals")[0]
    rows = "".join(f"{it['outcome']}{it['reason'] or '-'}{it['count']}" for it in found["last_hour"])
    assert decided.strip() == f"outcomereasonreviews{rows}"
    assert {"changed", "denied"} <= {it["outcome"] for it in found["last_hour"]}
