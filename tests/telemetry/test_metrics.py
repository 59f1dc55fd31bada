"""The labels of metrics are bounded."""

from prometheus_client import generate_latest

from webhook.admission.decision import Denied
from webhook.telemetry.metrics import LABELLED_NAMESPACES, Metrics, Reviewed


def test_refusals_have_a_label_for_so_many_namespaces_and_one_for_all_others() -> None:
    metrics, denied = Metrics(), Denied(403, "Forbidden", "", outlook="fits-later")
    for number in range(LABELLED_NAMESPACES + 2):
        metrics.answered(Reviewed("/mutate", "denied", "other", f"n{number}", 0.0), denied, {})
    metrics.answered(Reviewed("/mutate", "denied", "other", "n0", 0.0), denied, {})
    text = generate_latest(metrics.registry).decode()
    samples = [line for line in text.splitlines() if line.startswith("flyte_admission_quota_denials_total{")]
    assert len(samples) == LABELLED_NAMESPACES + 1
    assert 'flyte_admission_quota_denials_total{namespace="other",outlook="fits-later"} 2.0' in samples
    assert 'flyte_admission_quota_denials_total{namespace="n0",outlook="fits-later"} 2.0' in samples
