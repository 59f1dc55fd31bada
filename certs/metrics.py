"""What Prometheus sees of the certificates."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CERTIFICATES: Final = ("ca", "leaf")


class Metrics:
    """One set of figures; each run has its own."""

    def __init__(self) -> None:
        """Nothing known yet."""
        self.registry = CollectorRegistry()
        self._expiry = Gauge(
            "flyte_admission_certs_expiry_seconds",
            "When what the Secret holds expires, as a Unix time, by certificate: ca, leaf.",
            ["certificate"],
            registry=self.registry,
        )
        self._success = Gauge(
            "flyte_admission_certs_last_success_seconds",
            "When a pass last found or put everything in order, as a Unix time.",
            registry=self.registry,
        )
        self._rotations = Counter(
            "flyte_admission_certs_rotations",
            "Certificates issued and written, by the reason for it.",
            ["reason"],
            registry=self.registry,
        )
        self._published = Counter(
            "flyte_admission_certs_published",
            "Webhook configurations whose caBundle was written.",
            registry=self.registry,
        )
        self._trusting = Gauge(
            "flyte_admission_certs_trusted",
            "1 if the caBundles of a configuration hold just the CAs that they should, 0 until that is mended.",
            ["configuration"],
            registry=self.registry,
        )
        self._errors = Counter(
            "flyte_admission_certs_errors",
            "Passes that did not end well, by error: config, unreachable, forbidden, not_found, conflict, refused, "
            "foreign_secret, unexpected.",
            ["error"],
            registry=self.registry,
        )

    def expires(self, ends: Mapping[str, datetime]) -> None:
        """Tell of the certificates that the Secret holds, and no more of those that it held before."""
        for certificate in CERTIFICATES:
            if end := ends.get(certificate):
                self._expiry.labels(certificate).set(end.timestamp())
            else:
                self._expiry.remove(certificate)

    def rotated(self, reason: str) -> None:
        """Count a new certificate."""
        self._rotations.labels(reason).inc()

    def published(self) -> None:
        """Count a configuration that was patched."""
        self._published.inc()

    def trusting(self, configuration: str, *, trusted: bool) -> None:
        """Tell whether the API server trusts what is served, by the kind and name of a webhook configuration."""
        self._trusting.labels(configuration).set(trusted)

    def succeeded(self, now: datetime) -> None:
        """Take note of a pass that ended well."""
        self._success.set(now.timestamp())

    def failed(self, error: str) -> None:
        """Count a pass that did not."""
        self._errors.labels(error).inc()

    def text(self) -> bytes:
        """The exposition that /metrics answers with."""
        return generate_latest(self.registry)
