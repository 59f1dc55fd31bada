"""The AdmissionReview that answers: from a Decision to bytes."""

from typing import Final

import msgspec
from msgspec import Raw

from webhook.admission import record
from webhook.admission.decision import Allowed, Decision, Denied, outcome
from webhook.admission.wire import API_VERSION, KIND, Request
from webhook.api.wire import Wire


class _Details(Wire, frozen=True):
    retry_after_seconds: int


class _Status(Wire, frozen=True):
    code: int
    reason: str
    message: str
    details: _Details | None = None


class _Response(Wire, frozen=True):
    uid: str
    allowed: bool
    audit_annotations: dict[str, str | Raw] | None = None
    patch_type: str | None = None
    patch: bytes | None = None
    status: _Status | None = None
    warnings: list[str] | None = None


class _Answer(Wire, frozen=True):
    response: _Response
    api_version: str
    kind: str


def encode(request: Request, decision: Decision) -> bytes:
    """Return the AdmissionReview that answers the request; it has a patch only if something changes.

    Changes are in the audit annotation `changes`, and on the Pod in an annotation; see `webhook.admission.record`.
    """
    if not (request.pod or request.job or request.problem):
        return _encode(_Answer(_Response(request.uid, allowed=True), API_VERSION, KIND))
    text = record.record(request, outcome(decision))
    operations = _patch(request, decision, text) if isinstance(decision, Allowed) else b""
    response = _Response(
        request.uid,
        allowed=not isinstance(decision, Denied),
        audit_annotations=record.audit(decision, text),
        patch_type="JSONPatch" if operations else None,
        patch=operations or None,
        status=_status(decision) if isinstance(decision, Denied) else None,
        warnings=record.warnings(request, decision) or None,
    )
    return _encode(_Answer(response, API_VERSION, KIND))


_encode: Final = msgspec.json.Encoder().encode


def _status(denied: Denied) -> _Status:
    seconds = denied.retry_after_seconds
    return _Status(denied.code, denied.reason, denied.message, None if seconds is None else _Details(seconds))


def patch_of(request: Request, decision: Allowed) -> bytes:
    """Return the JSON Patch that makes the changes to the object of the request, and notes them on it."""
    return _patch(request, decision, record.record(request, decision))


def _patch(request: Request, decision: Allowed, text: bytes) -> bytes:
    """Return the JSON Patch that makes the changes and leaves `text`, the record, on the object; empty for none."""
    note = record.note(request.metadata, text) if decision.is_noted else b""
    operations = [each for each in (decision.patch, note) if each]
    return b"[%b]" % b",".join(operations) if operations else b""
