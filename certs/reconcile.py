"""One pass: read the Secret and the webhook configurations, and repair them where they drift.

Each step leaves the webhook trusted: a CA is in every caBundle before its leaf is in the Secret, and the CA before it
stays there. That holds for a certificate that was issued here as for one that is taken from another Secret.
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
from certs.rotation import OVERLAP, Bundle, Lifetimes, Reason, Trust
from webhook.shared.pem import certificates
from webhook.telemetry import logs

MANAGED_BY: Final = "flyte-admission.io/managed-by"  # Helm overwrites app.kubernetes.io/managed-by
OURS: Final = "flyte-admission-certs"  # the value of that label on a Secret that certs may write
REPLACED: Final = "flyte-admission.io/replaced"  # the annotation of the Secret with the time of the last replacement
CERT_MANAGERS: Final = "cert-manager.io/certificate-name"  # the annotation of a Secret that cert-manager writes
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
    source: str | None = None  # the Secret that the certificate is taken from; it is issued where this is None

    @property
    def secrets(self) -> str:
        """The path of the Secrets of the namespace."""
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/secrets"

    def path(self, secret: str) -> str:
        """Return the path of a Secret of the namespace."""
        return f"{self.secrets}/{quote(secret, safe='')}"

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

    def patch(self, trust: Trust) -> list[Json]:
        """Return the JSON Patch that sets every caBundle, unless the configuration has changed since it was read."""
        version: Any = self.object["metadata"]["resourceVersion"]
        values = [b64encode(trust.ca_bundle(found)).decode() for found in self.bundles]
        return [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            *({"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": value}
              for number, value in enumerate(values)),
        ]  # fmt: skip


class Reconciler:
    """The reconciler of a plan, for one pass."""

    def __init__(self, plan: Plan, client: ObjectClient, metrics: Metrics) -> None:
        self._plan = plan
        self._client = client
        self._metrics = metrics

    async def run(self, now: datetime) -> None:
        """Reconcile once; ApiError says what failed, and what was written before that stays."""
        # The configurations come first: if another writer publishes a CA after that, our patch conflicts.
        configurations, problems = await self._configurations()
        secret = await self._secret()
        held = Bundle.read(_data(secret)) if secret and _data(secret) else None
        self._metrics.expires(held.ends if held else {})  # even if the replacement fails
        names = self._plan.names
        new: Bundle | None = None
        reason: Reason | None = None
        if self._plan.source is None:
            reason = rotation.why_issue(held, names, now, self._plan.lifetimes.renew_before)
        else:
            try:
                new = await self._offered(self._plan.source, now)
                reason = rotation.why_take(held, new, names, now)
            except ApiError as error:  # what is there stays in use, and trusted
                problems.append(error)
        if reason:
            held = await self._replace(reason, secret, new or self._issued(now), configurations, now)
            self._metrics.expires(held.ends)
            configurations, problems = await self._configurations()
        if held and held.authorities:
            published = _published(configurations)
            await self._publish(configurations, Trust(rotation.trusted(held.authorities, published, now)))
        if problems:
            raise ApiError(problems[0].kind, "; ".join(map(str, problems)))

    def _issued(self, now: datetime) -> Bundle:
        lifetimes = self._plan.lifetimes
        return Bundle.of(pki.issue(self._plan.names, now, lifetimes.authority, lifetimes.leaf))

    async def _replace(
        self, reason: Reason, secret: Json | None, new: Bundle, found: list[Configuration], now: datetime
    ) -> Bundle:
        """Publish the CA of the new certificate, and only then write the certificate to the Secret."""
        known = Bundle.read(_data(secret)).authorities if secret else ()
        kept = rotation.still_served(known, reason, soon=_replaced_soon(secret, now))
        dropped = frozenset(known) - frozenset(kept)
        published = [ca for ca in _published(found) if ca not in dropped]
        after = rotation.successor(new.authorities, kept, published, reason, now)
        changed = self._changed(secret, rotation.secret_data(after, new), now)
        # A Secret that cannot be written changes no caBundle, now or in later passes.
        with _with_reason(reason):
            await self._write(changed, dry_run=True)
        await self._publish(found, Trust(after, dropped), reason)
        if known or published:
            await asyncio.sleep(self._plan.settle)
        with _with_reason(reason):
            await self._write(changed, dry_run=False)
        self._metrics.rotated(reason)
        written = Bundle(after, new.chain, new.key)
        logs.info(
            "certificate replaced", reason=reason, secret=f"{self._plan.namespace}/{self._plan.secret}",
            names=self._plan.names, ca_expires=written.ends["ca"], leaf_expires=written.ends["leaf"], cas=len(after),
        )  # fmt: skip
        return written

    async def _publish(self, found: list[Configuration], trust: Trust, reason: Reason | None = None) -> None:
        for configuration in found:
            name = configuration.path.removeprefix(f"{ADMISSION}/")
            wrong = [why for pem in configuration.bundles if (why := trust.drift(pem))]
            self._metrics.trusting(name, trusted=not wrong)
            if wrong:
                why = reason or wrong[0]
                with _with_reason(why):
                    await self._client.patch(configuration.path, configuration.patch(trust))
                self._metrics.trusting(name, trusted=True)
                self._metrics.published()
                logs.info("caBundle written", reason=why, path=configuration.path, cas=len(trust.wanted))

    async def _configurations(self) -> tuple[list[Configuration], list[ApiError]]:
        """Return the configurations that exist, and the errors of the missing ones, which do not end the pass."""
        found: list[Configuration] = []
        missing: list[ApiError] = []
        for path in self._plan.configurations:
            try:
                found.append(Configuration(path, await self._client.get(path)))
            except ApiError as error:
                if error.kind != "not_found":
                    raise
                missing.append(error)
        return found, missing

    async def _secret(self) -> Json | None:
        """Return the Secret, None if there is none; ApiError if it is not ours to write."""
        try:
            secret = await self._client.get(self._plan.path(self._plan.secret))
        except ApiError as error:
            if error.kind == "not_found":
                return None
            raise
        place = f"Secret {self._plan.namespace}/{self._plan.secret}"
        metadata = secret["metadata"]
        if (metadata.get("labels") or {}).get(MANAGED_BY) != OURS:
            raise ApiError(
                "foreign_secret",
                f"{place} is not ours and is left alone: it has no label {MANAGED_BY}={OURS}; name another with "
                "--secret, or delete it to have one made",
            )
        if owner := _annotations(secret).get(CERT_MANAGERS):
            raise ApiError(
                "foreign_secret",
                f"{place} is left alone: cert-manager writes it for the Certificate {owner}; give that another "
                "secretName, and name it with --from-secret",
            )
        return secret

    async def _offered(self, source: str, now: datetime) -> Bundle:
        """Return the certificate of the source; ApiError if there is none, or one that cannot be served."""
        try:
            offered = Bundle.offered(_data(await self._client.get(self._plan.path(source))), now)
        except ApiError as error:
            if error.kind != "not_found":
                raise
            raise ApiError("source", f"there is no Secret {self._plan.namespace}/{source} yet") from error
        if reason := rotation.why_unusable(offered, self._plan.names, now):
            raise ApiError("source", f"Secret {self._plan.namespace}/{source} cannot be used: {reason}")
        return offered

    def _changed(self, secret: Json | None, data: dict[str, bytes], now: datetime) -> Json:
        """Return the Secret with this data; what others have added to the present one stays."""
        made: Json = {
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": self._plan.secret, "namespace": self._plan.namespace, "labels": {MANAGED_BY: OURS}},
        }  # fmt: skip
        found = secret or made
        annotations = {**_annotations(found), REPLACED: now.isoformat(timespec="seconds")}
        encoded = {key: b64encode(value).decode() for key, value in data.items()}
        metadata = {**found["metadata"], "annotations": annotations}
        return {**found, "metadata": metadata, "data": {**(found.get("data") or {}), **encoded}}

    async def _write(self, secret: Json, *, dry_run: bool) -> None:
        """Replace the Secret that was read, else create it."""
        if "resourceVersion" in secret["metadata"]:
            await self._client.update(self._plan.path(self._plan.secret), secret, dry_run=dry_run)
        else:
            await self._client.create(self._plan.secrets, secret, dry_run=dry_run)


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


def _annotations(secret: Json) -> Json:
    return secret["metadata"].get("annotations") or {}


def _replaced_soon(secret: Json | None, now: datetime) -> bool:
    """Return whether the Secret was written within OVERLAP; True if it does not say when."""
    try:
        return secret is None or now - datetime.fromisoformat(_annotations(secret)[REPLACED]) < OVERLAP
    except (KeyError, ValueError, TypeError):
        return True
