"""One pass: look at the Secret and the webhook configurations, put in order what is not.

Every step leaves the webhook trusted: what is written next to the Secret is in each caBundle before, and what the
Secret held before stays there.
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
from certs.cluster import Api, ClusterError, Json
from certs.metrics import Metrics
from certs.pki import Issued
from certs.rotation import Bundle, Lifetimes, Reason
from webhook.shared.pem import certificates
from webhook.telemetry import logs

MANAGED_BY: Final = "flyte-admission.io/managed-by"  # app.kubernetes.io/managed-by is overwritten by Helm
OURS: Final = "flyte-admission-certs"  # the value of that label on a Secret which may be written
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept in order: a Secret, and the webhook configurations that are to trust it."""

    namespace: str
    secret: str
    names: tuple[str, ...]  # that the leaf is for
    mutating: tuple[str, ...]
    validating: tuple[str, ...]
    lifetimes: Lifetimes
    settle: float  # seconds for API servers to take up a caBundle, before its leaf is put out

    @property
    def secrets(self) -> str:
        """Where Secrets are created."""
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/secrets"

    @property
    def configurations(self) -> list[str]:
        """Where the webhook configurations are."""
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
        """Have every webhook trust the CAs, if this is still the configuration that was read."""
        value = b64encode(pki.certificates_pem(authorities)).decode()
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": _version(self.object)}
        places = [f"/webhooks/{number}/clientConfig/caBundle" for number in range(len(self.bundles))]
        return [version, *({"op": "add", "path": place, "value": value} for place in places)]


def _version(found: Json) -> Any:
    return found["metadata"]["resourceVersion"]


class Reconciler:
    """A plan, and the means to carry it out once."""

    def __init__(self, plan: Plan, api: Api, metrics: Metrics) -> None:
        """The connection is for one pass, the metrics are for all of them."""
        self._plan = plan
        self._api = api
        self._metrics = metrics

    async def run(self, now: datetime) -> None:
        """Put everything in order; ClusterError says what could not be, and what was done before that stands."""
        # The configurations come first: where somebody publishes a CA after that, our own patch is a conflict.
        configurations, missing = await self._configurations()
        secret = await self._secret()
        bundle = Bundle.read(_data(secret)) if secret else None
        reason = rotation.why_rotate(bundle, self._plan.names, now, self._plan.lifetimes.renew_before)
        self._metrics.expires(bundle.ends if bundle else {})  # also where a rotation fails
        if reason:
            bundle = await self._rotate(reason, secret, bundle, configurations, now)
            self._metrics.expires(bundle.ends)
            configurations, missing = await self._configurations()
        assert bundle  # noqa: S101 - there is no reason to rotate it, so it is there
        await self._publish(configurations, rotation.trusted(bundle.authorities, _published(configurations), now))
        if missing:
            raise ClusterError("not_found", "; ".join(missing))

    async def _rotate(
        self, reason: Reason, secret: Json | None, before: Bundle | None, found: list[Configuration], now: datetime
    ) -> Bundle:
        """Issue, have it trusted, then put it out; nobody is served by it before everybody trusts it."""
        lifetimes, published = self._plan.lifetimes, _published(found)
        issued = pki.issue(self._plan.names, now, lifetimes.authority, lifetimes.leaf)
        known = before.authorities if before else ()
        after = rotation.successor(issued, known, published, reason, now)
        # Where the Secret cannot be written, no caBundle needs to change, now and in each pass to come.
        with _because(reason):
            await self._write(secret, after, issued, dry_run=True)
        await self._publish(found, after, reason)
        if len(after) > 1:
            await asyncio.sleep(self._plan.settle)
        with _because(reason):
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
            wrong = [why for pem in configuration.bundles if (why := rotation.why_publish(pem, wanted))]
            self._metrics.trusting(name, trusted=not wrong)
            if wrong:
                why = reason or wrong[0]
                with _because(why):
                    await self._api.patch(configuration.path, configuration.patch(wanted))
                self._metrics.trusting(name, trusted=True)
                self._metrics.published()
                logs.info("caBundle written", reason=why, path=configuration.path, cas=len(wanted))

    async def _configurations(self) -> tuple[list[Configuration], list[str]]:
        """Those that there are, and why the others are not: one that is not there keeps nobody from being served."""
        found: list[Configuration] = []
        missing: list[str] = []
        for path in self._plan.configurations:
            try:
                found.append(Configuration(path, await self._api.get(path)))
            except ClusterError as error:
                if error.kind != "not_found":
                    raise
                missing.append(str(error))
        return found, missing

    async def _secret(self) -> Json | None:
        """The Secret, None if there is none; ClusterError if it is somebody else's."""
        path = f"{self._plan.secrets}/{quote(self._plan.secret, safe='')}"
        try:
            secret = await self._api.get(path)
        except ClusterError as error:
            if error.kind == "not_found":
                return None
            raise
        if (secret["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS:
            return secret
        raise ClusterError(
            "foreign_secret",
            f"Secret {self._plan.namespace}/{self._plan.secret} is not ours and is left alone: it has no label "
            f"{MANAGED_BY}={OURS}; name another with --secret, or delete it to have one made",
        )

    async def _write(
        self, secret: Json | None, authorities: tuple[Certificate, ...], issued: Issued, *, dry_run: bool
    ) -> None:
        """Create the Secret, or replace the three keys of the one that was read."""
        data = {key: b64encode(value).decode() for key, value in rotation.secret_data(authorities, issued).items()}
        if secret is None:
            metadata = {"name": self._plan.secret, "namespace": self._plan.namespace, "labels": {MANAGED_BY: OURS}}
            made = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata}
            await self._api.create(self._plan.secrets, {**made, "data": data}, dry_run=dry_run)
        else:
            path = f"{self._plan.secrets}/{quote(self._plan.secret, safe='')}"
            changed = {**secret, "data": {**(secret.get("data") or {}), **data}}
            await self._api.update(path, changed, dry_run=dry_run)


@contextmanager
def _because(reason: str) -> Iterator[None]:
    """A ClusterError of the block begins with why the block is."""
    try:
        yield
    except ClusterError as error:
        raise ClusterError(error.kind, f"{reason}: {error}") from error


def _data(secret: Json) -> dict[str, bytes]:
    return {key: b64decode(value) for key, value in (secret.get("data") or {}).items()}


def _published(configurations: list[Configuration]) -> list[Certificate]:
    return [ca for found in configurations for pem in found.bundles for ca in certificates(pem)]
