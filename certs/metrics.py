"""The metrics of certs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

CERTIFICATES: Final = ("ca", "leaf")


class Metrics:
    """The metrics of one run, in a registry of their own."""

    def __init__(self) -> None:
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
            "Certificates written to the Secret, by the reason for it.",
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
            "1 if the caBundles of a configuration hold the CAs that they should, 0 until that is repaired.",
            ["configuration"],
            registry=self.registry,
        )
        self._errors = Counter(
            "flyte_admission_certs_errors",
            "Passes that did not end well, by error: config, unreachable, forbidden, not_found, conflict, refused, "
            "foreign_secret, source, unexpected.",
            ["error"],
            registry=self.registry,
        )

    def expires(self, ends: Mapping[str, datetime]) -> None:
        """Set when the certificates of the Secret expire, by certificate: ca, leaf; remove those that are not in it."""
        for certificate in CERTIFICATES:
            if end := ends.get(certificate):
                self._expiry.labels(certificate).set(end.timestamp())
            else:
                self._expiry.remove(certificate)

    def rotated(self, reason: str) -> None:
        """Count a rotation by its reason."""
        self._rotations.labels(reason).inc()

    def published(self) -> None:
        """Count a configuration that was patched."""
        self._published.inc()

    def trusting(self, configuration: str, *, trusted: bool) -> None:
        """Set whether the caBundles of a webhook configuration are as they should be."""
        self._trusting.labels(configuration).set(trusted)

    def succeeded(self, now: datetime) -> None:
        """Set the time of the last successful pass."""
        self._success.set(now.timestamp())

    def failed(self, error: str) -> None:
        """Count a failed pass by its error."""
        self._errors.labels(error).inc()
