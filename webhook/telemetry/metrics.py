"""The metrics of the webhook. Labels are bounded: never a Pod, a user, or a name that a task author chose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from webhook.admission.decision import Allowed, Decision, Denied, outcome
from webhook.api.resource_list import NATIVE
from webhook.policy.settings import Settings
from webhook.rules.findings import Change

# A review takes about 0.1 ms; the timeout of the API server is some seconds.
LABELLED_NAMESPACES = 1000  # with a label of their own
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0)


M = TypeVar("M", Counter, Gauge, Histogram, Info)


class Reviewed(NamedTuple):
    """What metrics tell apart of a review; `domain` is one of the policy's, or other."""

    endpoint: str
    word: str  # the decision: allowed, changed, denied, would_be_changed, would_be_denied
    domain: str
    namespace: str
    seconds: float


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._namespaces: set[str] = set()  # that have a label
        self._add_reviews()
        self._add_quotas()
        self._add_files()

    def _new(self, kind: type[M], name: str, text: str, labels: Sequence[str] = (), **options: Any) -> M:
        return kind(name, text, labels, registry=self.registry, **options)

    def _cached(self, kind: type[M], name: str, text: str, labels: Sequence[str], **options: Any) -> Callable[..., M]:
        """Return the function from the values of the labels to the child for them, which it keeps."""
        return cache(self._new(kind, name, text, labels, **options).labels)

    def _add_reviews(self) -> None:
        """Add what each review changes."""
        self._requests = self._cached(
            Counter,
            "flyte_admission_requests",
            "Requests answered, by endpoint and decision: allowed, changed, denied, bad_request, overloaded, and "
            "would_be_changed and would_be_denied in the modes warn and audit; by the domain of the task, other if "
            "the policy does not name it; and by mode.",
            ["endpoint", "decision", "domain", "mode"],
        )
        self._durations = self._cached(
            Histogram,
            "flyte_admission_duration_seconds",
            "Time from the body's last byte to the answer.",
            ["endpoint"],
            buckets=BUCKETS,
        )
        self._changes = self._cached(
            Counter,
            "flyte_admission_changes",
            "Values changed in Pods and jobs, by rule: fill, cpu-limits, clamp, tolerate.",
            ["rule"],
        )
        self._lowered = self._cached(
            Counter,
            "flyte_admission_lowered",
            "Amounts lowered to a maximum, by resource: other if the policy has no maximum by that name.",
            ["resource"],
        )
        self._denials = self._cached(
            Counter,
            "flyte_admission_quota_denials",
            "Pods and jobs refused for a ResourceQuota, by outlook, fits-later or never-fits, and by namespace.",
            ["outlook", "namespace"],
        )
        self._jobs = self._cached(
            Counter,
            "flyte_admission_jobs",
            "Distributed jobs reviewed, by kind and by what came out; flyte_admission_requests has them too.",
            ["kind", "decision"],
        )

    def _add_quotas(self) -> None:
        """Add what reads of the cluster change."""
        self._unread = self._new(
            Counter,
            "flyte_admission_quota_read_errors",
            "Reads of the cluster's ResourceQuotas that failed, by kind: list, watch, live.",
            ["read"],
        )
        self._unread_ranges = self._new(
            Counter,
            "flyte_admission_limit_range_read_errors",
            "Reads of the cluster's LimitRanges that failed, by kind: list, watch.",
            ["read"],
        )
        self._confirmations = self._new(
            Counter,
            "flyte_admission_quota_confirmations",
            "Refusals on cached quotas that were decided once more on live ones, by result: confirmed; overturned, for "
            "the cache was behind; failed, which refuses nothing.",
            ["result"],
        )
        self._waits = self._new(
            Counter,
            "flyte_admission_quota_waits",
            "Reviews that waited for a nearly full quota to count the Pods let through before, by result: settled; "
            "unsettled, which leaves the Pod to the API server's own check.",
            ["result"],
        )

    def _add_files(self) -> None:
        """Add what policy, certificate, and followers change."""
        self._policies = self._new(
            Counter,
            "flyte_admission_policy_reloads",
            "Contents of the policy file that were read, by result: good, or bad, which changes nothing.",
            ["result"],
        )
        self._policy = self._new(Info, "flyte_admission_policy", "The policy in use, by the digest of its file.")
        self._certificates = self._new(
            Counter,
            "flyte_admission_certificate_reloads",
            "Contents of the certificate's files that were read, by result: good, or bad, which changes nothing.",
            ["result"],
        )
        self._clients = self._new(
            Counter,
            "flyte_admission_client_ca_reloads",
            "Contents of --client-ca-file that were read, by result: good, or bad, which changes nothing.",
            ["result"],
        )
        self._failures = self._new(
            Counter,
            "flyte_admission_follower_errors",
            "Unexpected errors of what keeps up with files and cluster, by follower: policy, certificate, quotas.",
            ["follower"],
        )
        self._expiry = self._new(
            Gauge,
            "flyte_admission_certificate_expiry_seconds",
            "When what is served expires, as a Unix time, by certificate: leaf, and ca where ca.crt has its CA.",
            ["certificate"],
        )
        self._trusted = self._new(
            Gauge,
            "flyte_admission_certificate_trusted",
            "0 if there is a ca.crt and it does not verify the certificate that is served, else 1.",
        )

    def rejected(self, endpoint: str, word: str) -> None:
        """Count one request that got no review: bad_request, overloaded."""
        self._requests(endpoint, word, "", "").inc()

    def answered(self, review: Reviewed, decision: Decision, changes: Mapping[str, int]) -> None:
        """Count one review, and its changes by rule."""
        settings = outcome(decision).settings
        self._requests(review.endpoint, review.word, review.domain, settings.mode).inc()
        self._durations(review.endpoint).observe(review.seconds)
        if isinstance(decision, Allowed):
            for rule, count in changes.items():
                self._changes(rule).inc(count)
            if "clamp" in changes:
                self._count_lowered(decision.changes, settings)
        elif isinstance(decision, Denied) and decision.outlook:
            self._denials(decision.outlook, self._bounded(review.namespace)).inc()

    def _count_lowered(self, changes: Iterable[Change], settings: Settings) -> None:
        for name in [change.resource for change in changes if change.rule == "clamp"]:
            self._lowered(name if name in NATIVE or name in settings.limits.exact else "other").inc()

    def _bounded(self, namespace: str) -> str:
        """Return the namespace, or "other" once there are too many for labels."""
        if namespace not in self._namespaces and len(self._namespaces) >= LABELLED_NAMESPACES:
            return "other"
        self._namespaces.add(namespace)
        return namespace

    def job_answered(self, kind: str, word: str) -> None:
        """Count one review of a distributed job by its outcome, `word`."""
        self._jobs(kind, word).inc()

    def policy_read(self, digest: str) -> None:
        """Count a policy that is in use from now on."""
        self._policies.labels("good").inc()
        self._policy.info({"digest": digest})

    def policy_refused(self) -> None:
        """Count a policy that cannot be used."""
        self._policies.labels("bad").inc()

    def observe_cache(
        self,
        age: Callable[[], float],
        synced: Callable[[], bool],
        skipped: Callable[[], int],
        crowded: Callable[[], int],
    ) -> None:
        """Export the cache of the cluster's ResourceQuotas; the functions are called at each scrape."""
        name = "flyte_admission_quota_cache"
        help_text = "Seconds since the API server last sent something about ResourceQuotas; usually up to 60."
        Gauge(f"{name}_age_seconds", help_text, registry=self.registry).set_function(age)
        help_text = "1 once all ResourceQuotas have been read, else 0."
        Gauge(f"{name}_synced", help_text, registry=self.registry).set_function(synced)
        help_text = "ResourceQuotas that cannot be read and are left out; the log names them."
        Gauge(f"{name}_skipped", help_text, registry=self.registry).set_function(skipped)
        help_text = "Namespaces with more ResourceQuotas than a review reads; the log names them."
        Gauge(f"{name}_crowded", help_text, registry=self.registry).set_function(crowded)

    def quota_read_failed(self, read: str) -> None:
        """Count a read of the cluster's ResourceQuotas that failed."""
        self._unread.labels(read).inc()

    def limit_range_read_failed(self, read: str) -> None:
        """Count a read of the cluster's LimitRanges that failed."""
        self._unread_ranges.labels(read).inc()

    def denial_rechecked(self, result: str) -> None:
        """Count an unconfirmed denial, by the result of its live read: confirmed, overturned, failed."""
        self._confirmations.labels(result).inc()

    def waited(self, result: Literal["settled", "unsettled"]) -> None:
        """Count a review that waited for what is under way."""
        self._waits.labels(result).inc()

    def certificate_used(self, leaf: datetime, ca: datetime | None, *, trusted: bool) -> None:
        """Set when the serving certificate and its CA expire, and whether clients trust it."""
        self._expiry.labels("leaf").set(leaf.timestamp())
        if ca:
            self._expiry.labels("ca").set(ca.timestamp())
        else:
            self._expiry.remove("ca")
        self._trusted.set(trusted)

    def certificate_read(self, result: Literal["good", "bad"]) -> None:
        """Count new content of the certificate's files."""
        self._certificates.labels(result).inc()

    def client_authorities_read(self, result: Literal["good", "bad"]) -> None:
        """Count new content of --client-ca-file."""
        self._clients.labels(result).inc()

    def follower_failed(self, name: str) -> None:
        """Count an unexpected error of a follower."""
        self._failures.labels(name).inc()
