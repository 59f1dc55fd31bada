"""What Prometheus sees. Labels are bounded: never a Pod, a user, or a name that a task author chose."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from webhook.admission.decision import Allowed, Decision, Denied

# A review takes some 0.1 ms here; the API server's patience is seconds.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0)


class Metrics:
    """One set of counters; each server has its own."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        # Of these, each Pod takes some: the child for the values of the labels is looked up once.
        self._requests = cache(
            Counter(
                "flyte_admission_requests",
                "Requests answered, by endpoint and by what came out: allowed, changed, denied, bad_request, "
                "overloaded, and would_be_changed and would_be_denied where the mode is warn or audit.",
                ["endpoint", "decision"],
                registry=self.registry,
            ).labels
        )
        self._durations = cache(
            Histogram(
                "flyte_admission_duration_seconds",
                "Time from the body's last byte to the answer.",
                ["endpoint"],
                buckets=BUCKETS,
                registry=self.registry,
            ).labels
        )
        self._changes = cache(
            Counter(
                "flyte_admission_changes",
                "Values changed in Pods, by rule: fill, clamp, tolerate.",
                ["rule"],
                registry=self.registry,
            ).labels
        )
        self._denials = cache(
            Counter(
                "flyte_admission_quota_denials",
                "Pods refused for a ResourceQuota, by outlook: fits-later, never-fits.",
                ["outlook"],
                registry=self.registry,
            ).labels
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
        self._unread = Counter(
            "flyte_admission_quota_read_errors",
            "Reads of the cluster's ResourceQuotas that failed, by kind: list, watch, live.",
            ["read"],
            registry=self.registry,
        )
        self._confirmations = Counter(
            "flyte_admission_quota_confirmations",
            "Refusals on cached quotas that were looked at again with live ones, by result: confirmed; overturned, for "
            "the cache was behind; failed, which refuses nothing.",
            ["result"],
            registry=self.registry,
        )
        self._certificates = Counter(
            "flyte_admission_certificate_reloads",
            "Contents of the certificate's files that were read, by result: good, or bad, which changes nothing.",
            ["result"],
            registry=self.registry,
        )
        self._clients = Counter(
            "flyte_admission_client_ca_reloads",
            "Contents of --client-ca-file that were read, by result: good, or bad, which changes nothing.",
            ["result"],
            registry=self.registry,
        )
        self._failures = Counter(
            "flyte_admission_follower_errors",
            "Unexpected errors of what keeps up with files and cluster, by follower: policy, certificate, quotas.",
            ["follower"],
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

    def rejected(self, endpoint: str, word: str) -> None:
        """Count one request that got no review: bad_request, overloaded."""
        self._requests(endpoint, word).inc()

    def answered(
        self, endpoint: str, word: str, seconds: float, decision: Decision, changes: Mapping[str, int]
    ) -> None:
        """Count one review, under the word for what came out of it; `changes` are how many each rule made."""
        self._requests(endpoint, word).inc()
        self._durations(endpoint).observe(seconds)
        if isinstance(decision, Allowed):
            for rule, count in changes.items():
                self._changes(rule).inc(count)
        elif isinstance(decision, Denied) and decision.outlook:
            self._denials(decision.outlook).inc()

    def policy_read(self, digest: str) -> None:
        """Count a policy that is used from now on."""
        self._policies.labels("good").inc()
        self._policy.info({"digest": digest})

    def policy_refused(self) -> None:
        """Count a content of the policy file that cannot be used."""
        self._policies.labels("bad").inc()

    def observe_cache(self, age: Callable[[], float], synced: Callable[[], bool], skipped: Callable[[], int]) -> None:
        """Have a cache of the cluster's ResourceQuotas shown as it is whenever somebody looks."""
        name = "flyte_admission_quota_cache"
        told = "Seconds since the API server last told of the ResourceQuotas; up to about 60 while nothing is wrong."
        Gauge(f"{name}_age_seconds", told, registry=self.registry).set_function(age)
        told = "1 once all ResourceQuotas have been read, else 0."
        Gauge(f"{name}_synced", told, registry=self.registry).set_function(synced)
        told = "ResourceQuotas that cannot be read and are left out; the log names them."
        Gauge(f"{name}_skipped", told, registry=self.registry).set_function(skipped)

    def quota_read_failed(self, read: str) -> None:
        """Count a read of the cluster's ResourceQuotas that failed."""
        self._unread.labels(read).inc()

    def denial_rechecked(self, result: str) -> None:
        """Count a refusal on cached figures and what live ones made of it."""
        self._confirmations.labels(result).inc()

    def certificate_used(self, leaf: datetime, ca: datetime | None, *, trusted: bool) -> None:
        """Tell until when the certificate that is served is valid, and whether clients trust it."""
        self._expiry.labels("leaf").set(leaf.timestamp())
        if ca:
            self._expiry.labels("ca").set(ca.timestamp())
        else:
            self._expiry.remove("ca")
        self._trusted.set(trusted)

    def certificate_read(self, result: Literal["good", "bad"]) -> None:
        """Count a content of the certificate's files."""
        self._certificates.labels(result).inc()

    def client_authorities_read(self, result: Literal["good", "bad"]) -> None:
        """Count a content of the file of CAs that clients must have a certificate from."""
        self._clients.labels(result).inc()

    def follower_failed(self, name: str) -> None:
        """Count an error that nobody had thought of."""
        self._failures.labels(name).inc()

    def text(self) -> bytes:
        """The exposition that /metrics answers with."""
        return generate_latest(self.registry)
