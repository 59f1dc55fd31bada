"""What a namespace demands is met, whether its quotas may deny a Pod or not."""

import pytest

from tests.vectors import pod_of, quota_of
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.admission.decision import Allowed, Denied
from webhook.admission.wire import Request
from webhook.policy.file import load

POLICY = load("{}", "policy.yaml").policy
QUOTA = quota_of(
    {
        "metadata": {"name": "q", "namespace": "n"},
        "status": {"hard": {"limits.memory": "1Gi", "requests.cpu": "1"}, "used": {"limits.memory": "1Gi"}},
    }
)
REQUESTS = {"requests": {"cpu": "10m", "memory": "40Mi"}}
POD = pod_of(
    {
        "metadata": {"labels": {"execution-id": "x"}},
        "spec": {"containers": [{"name": "main", "resources": {}}, {"name": "proxy", "resources": REQUESTS}]},
    }
)


@pytest.mark.parametrize("may_deny", [True, False])
def test_a_quota_that_may_not_deny_has_its_demands_met_all_the_same(may_deny: bool) -> None:  # noqa: FBT001
    decided = mutate(Request("u", "p", "n", pod=POD), POLICY, Constraints([QUOTA], may_deny=may_deny), "2026-11-25")
    assert isinstance(decided, Denied if may_deny else Allowed)
    assert [(change.path, change.after) for change in decided.changes] == [
        ("/spec/containers/1/resources/limits/memory", "40Mi")
    ]
