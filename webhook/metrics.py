"""What Prometheus sees. Labels are bounded: never a Pod, a user, or a name that a task author chose."""

from datetime import datetime
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from webhook.decision import Change

# A review takes some 0.1 ms here; the API server's patience is seconds.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0)


class Metrics:
    """One set of counters; each server has its own."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "flyte_admission_requests",
            "Reviews answered, by endpoint and by what came out: allowed, changed, denied, bad_request.",
            ["endpoint", "decision"],
            registry=self.registry,
        )
        self._duration = Histogram(
            "flyte_admission_duration_seconds",
            "Time from the body's last byte to the answer.",
            ["endpoint"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._changes = Counter(
            "flyte_admission_changes",
            "Values changed in Pods, by rule: fill, clamp, tolerate.",
            ["rule"],
            registry=self.registry,
        )

        self._policies = Counter(
            "flyte_admission_policy_reloads",
            "Contents of the policy file that were read, by result: good, or bad, which changes nothing.",
            ["result"],
            registry=self.registry,
        )
        self._policy = Info(
            "flyte_admission_policy", "The policy in use, by the digest of its file.", registry=self.registry
        )
        self._certificates = Counter(
            "flyte_admission_certificate_reloads",
            "Contents of the certificate's files that were read, by result: good, or bad, which changes nothing.",
            ["result"],
            registry=self.registry,
        )
        self._expiry = Gauge(
            "flyte_admission_certificate_expiry_seconds",
            "When what is served expires, as a Unix time, by certificate: leaf, and ca where ca.crt has its CA.",
            ["certificate"],
            registry=self.registry,
        )
        self._trusted = Gauge(
            "flyte_admission_certificate_trusted",
            "0 if there is a ca.crt and it does not verify the certificate that is served, else 1.",
            registry=self.registry,
        )
        self._outcome = lru_cache(self._requests.labels)
        self._seconds = lru_cache(self._duration.labels)
        self._rule = lru_cache(self._changes.labels)

    def answered(self, endpoint: str, decision: str, seconds: float, changes: tuple[Change, ...]) -> None:
        """Count one review."""
        self._outcome(endpoint, decision).inc()
        self._seconds(endpoint).observe(seconds)
        counts: dict[str, int] = {}
        for change in changes:
            counts[change.rule] = counts.get(change.rule, 0) + 1
        for rule, count in counts.items():
            self._rule(rule).inc(count)

    def policy_read(self, digest: str) -> None:
        """Count a policy that is used from now on."""
        self._policies.labels("good").inc()
        self._policy.info({"digest": digest})

    def policy_refused(self) -> None:
        """Count a content of the policy file that cannot be used."""
        self._policies.labels("bad").inc()

    def certificate_used(self, leaf: datetime, ca: datetime | None, *, trusted: bool) -> None:
        """Count a certificate that is served from now on, and tell until when."""
        self._certificates.labels("good").inc()
        self._expiry.clear()
        self._expiry.labels("leaf").set(leaf.timestamp())
        if ca:
            self._expiry.labels("ca").set(ca.timestamp())
        self._trusted.set(trusted)

    def certificate_refused(self) -> None:
        """Count a content of the certificate's files that cannot be used."""
        self._certificates.labels("bad").inc()

    def text(self) -> bytes:
        """The exposition that /metrics answers with."""
        return generate_latest(self.registry)
