"""With our process killed, the failurePolicy of the configurations decides."""

import signal
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.installed import installed
from tests.e2e.pods import FLYTE_1, pod, resources

OVER = {"limits": {"cpu": "6"}}  # over the maximum


@pytest.mark.parametrize("policy", ["Ignore", "Fail"])
def test_with_our_process_killed_the_failure_policy_decides(
    admin: Client, namespace: str, tmp_path: Path, policy: str
) -> None:
    with installed(admin, tmp_path, "--no-quotas", failurePolicy=policy) as webhook:
        webhook.server.stop(signal.SIGKILL)
        reply = admin.create(pod(namespace, "task", FLYTE_1, OVER))
        nginx = admin.create(pod(namespace, "nginx", {"app": "nginx"}))
    assert nginx.code == 201
    if policy == "Ignore":
        assert (reply.code, resources(reply.body)["limits"]["cpu"]) == (201, "6")
    else:
        assert reply.code == 500
        assert 'failed calling webhook "flyte1.flyte-admission.io"' in reply.message
