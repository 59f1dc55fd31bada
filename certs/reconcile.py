"""One pass: read the Secret and the webhook configurations, and repair them where they drift.

Each step leaves the webhook trusted: a CA is in every caBundle before its leaf is in the Secret, and the CA before it
stays there.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from cryptography.x509 import Certificate

from certs import pki, rotation
from certs.cluster import ApiError, Json, ObjectClient
from certs.metrics import Metrics
from certs.pki import Issued
from certs.rotation import Bundle, Lifetimes, Reason
from webhook.shared.pem import certificates
from webhook.telemetry import logs

MANAGED_BY: Final = "flyte-admission.io/managed-by"  # Helm overwrites app.kubernetes.io/managed-by
OURS: Final = "flyte-admission-certs"  # the value of that label on a Secret that certs may write
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Plan:
    """The objects to reconcile: a Secret, and the webhook configurations that trust it; and how."""

    namespace: str
    secret: str
    names: tuple[str, ...]  # of the leaf
    mutating: tuple[str, ...]
    validating: tuple[str, ...]
    lifetimes: Lifetimes
    settle: float  # seconds for API servers to notice a caBundle, before its leaf is written

    @property
    def secrets(self) -> str:
        """The path of the Secrets of the namespace."""
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/secrets"

    @property
    def configurations(self) -> list[str]:
        """The paths of the webhook configurations."""
        kinds = {"mutatingwebhookconfigurations": self.mutating, "validatingwebhookconfigurations": self.validating}
        return [f"{ADMISSION}/{kind}/{quote(name, safe='')}" for kind, names in kinds.items() for name in names]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A webhook configuration as it was read."""

    path: str
    object: Json

    @property
    def bundles(self) -> list[bytes]:
        """The caBundle of each webhook, as PEM."""
        configs = [webhook.get("clientConfig") or {} for webhook in self.object.get("webhooks") or ()]
        return [b64decode(config.get("caBundle") or "") for config in configs]

    def patch(self, authorities: tuple[Certificate, ...]) -> list[Json]:
        """Return the JSON Patch that sets every caBundle, unless the configuration has changed since it was read."""
        value = b64encode(pki.certificates_pem(authorities)).decode()
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": _version(self.object)}
        places = [f"/webhooks/{number}/clientConfig/caBundle" for number in range(len(self.bundles))]
        return [version, *({"op": "add", "path": place, "value": value} for place in places)]


def _version(found: Json) -> Any:
    return found["metadata"]["resourceVersion"]


class Reconciler:
    """The reconciler of a plan, for one pass."""

    def __init__(self, plan: Plan, client: ObjectClient, metrics: Metrics) -> None:
        self._plan = plan
        self._client = client
        self._metrics = metrics

    async def run(self, now: datetime) -> None:
        """Reconcile once; ApiError says what failed, and what was written before that stays."""
        # The configurations come first: if another writer publishes a CA after that, our patch conflicts.
        configurations, missing = await self._configurations()
        secret = await self._secret()
        bundle = Bundle.read(_data(secret)) if secret else None
        reason = rotation.why_rotate(bundle, self._plan.names, now, self._plan.lifetimes.renew_before)
        self._metrics.expires(bundle.ends if bundle else {})  # even if the rotation fails
        if reason:
            bundle = await self._rotate(reason, secret, bundle, configurations, now)
            self._metrics.expires(bundle.ends)
            configurations, missing = await self._configurations()
        assert bundle  # noqa: S101 - there is no reason to rotate it, so it is there
        await self._publish(configurations, rotation.trusted(bundle.authorities, _published(configurations), now))
        if missing:
            raise ApiError("not_found", "; ".join(missing))

    async def _rotate(
        self, reason: Reason, secret: Json | None, before: Bundle | None, found: list[Configuration], now: datetime
    ) -> Bundle:
        """Issue a certificate, publish its CA, and only then write it to the Secret."""
        lifetimes, published = self._plan.lifetimes, _published(found)
        issued = pki.issue(self._plan.names, now, lifetimes.authority, lifetimes.leaf)
        known = before.authorities if before else ()
        after = rotation.successor(issued, known, published, reason, now)
        # A Secret that cannot be written changes no caBundle, now or in later passes.
        with _with_reason(reason):
            await self._write(secret, after, issued, dry_run=True)
        await self._publish(found, after, reason)
        if len(after) > 1:
            await asyncio.sleep(self._plan.settle)
        with _with_reason(reason):
            await self._write(secret, after, issued, dry_run=False)
        self._metrics.rotated(reason)
        logs.info(
            "certificate rotated", reason=reason, secret=f"{self._plan.namespace}/{self._plan.secret}",
            names=self._plan.names, ca_expires=issued.authority.not_valid_after_utc,
            leaf_expires=issued.leaf.not_valid_after_utc, cas=len(after),
        )  # fmt: skip
        return Bundle(after, issued.leaf, issued.key)

    async def _publish(
        self, found: list[Configuration], wanted: tuple[Certificate, ...], reason: Reason | None = None
    ) -> None:
        for configuration in found:
            name = configuration.path.removeprefix(f"{ADMISSION}/")
            wrong = [why for pem in configuration.bundles if (why := rotation.ca_bundle_drift(pem, wanted))]
            self._metrics.trusting(name, trusted=not wrong)
            if wrong:
                why = reason or wrong[0]
                with _with_reason(why):
                    await self._client.patch(configuration.path, configuration.patch(wanted))
                self._metrics.trusting(name, trusted=True)
                self._metrics.published()
                logs.info("caBundle written", reason=why, path=configuration.path, cas=len(wanted))

    async def _configurations(self) -> tuple[list[Configuration], list[str]]:
        """Return the configurations that exist, and the errors of the missing ones, which do not end the pass."""
        found: list[Configuration] = []
        missing: list[str] = []
        for path in self._plan.configurations:
            try:
                found.append(Configuration(path, await self._client.get(path)))
            except ApiError as error:
                if error.kind != "not_found":
                    raise
                missing.append(str(error))
        return found, missing

    async def _secret(self) -> Json | None:
        """Return the Secret, None if there is none; ApiError if it does not have our label."""
        path = f"{self._plan.secrets}/{quote(self._plan.secret, safe='')}"
        try:
            secret = await self._client.get(path)
        except ApiError as error:
            if error.kind == "not_found":
                return None
            raise
        if (secret["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS:
            return secret
        raise ApiError(
            "foreign_secret",
            f"Secret {self._plan.namespace}/{self._plan.secret} is not ours and is left alone: it has no label "
            f"{MANAGED_BY}={OURS}; name another with --secret, or delete it to have one made",
        )

    async def _write(
        self, secret: Json | None, authorities: tuple[Certificate, ...], issued: Issued, *, dry_run: bool
    ) -> None:
        """Create the Secret, or replace the three keys of the present one."""
        data = {key: b64encode(value).decode() for key, value in rotation.secret_data(authorities, issued).items()}
        if secret is None:
            metadata = {"name": self._plan.secret, "namespace": self._plan.namespace, "labels": {MANAGED_BY: OURS}}
            made = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata}
            await self._client.create(self._plan.secrets, {**made, "data": data}, dry_run=dry_run)
        else:
            path = f"{self._plan.secrets}/{quote(self._plan.secret, safe='')}"
            changed = {**secret, "data": {**(secret.get("data") or {}), **data}}
            await self._client.update(path, changed, dry_run=dry_run)


@contextmanager
def _with_reason(reason: str) -> Iterator[None]:
    """Begin the message of an ApiError with the reason for the block."""
    try:
        yield
    except ApiError as error:
        raise ApiError(error.kind, f"{reason}: {error}") from error


def _data(secret: Json) -> dict[str, bytes]:
    return {key: b64decode(value) for key, value in (secret.get("data") or {}).items()}


def _published(configurations: list[Configuration]) -> list[Certificate]:
    return [ca for found in configurations for pem in found.bundles for ca in certificates(pem)]
