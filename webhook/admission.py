"""AdmissionReview to Decision and back: the pure core, without HTTP, clock, or I/O."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from webhook import patch
from webhook import pod as pods
from webhook.decision import Allowed, Change, Context, Decision, Denied, NegativeUsage
from webhook.effective import computed_qos
from webhook.flyte import identify
from webhook.pod import Pod, Wire
from webhook.policy import Policy
from webhook.rules import MUTATING, clamp, default, unclampable
from webhook.rules import quota as quota_rule
from webhook.snapshot import ResourceQuota

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
T = TypeVar("T")


class BadReviewError(ValueError):
    """The body is no AdmissionReview that could be answered; the message has the JSON path."""


class _Resource(Wire, frozen=True):
    group: str | None = None
    resource: str | None = None


class _Request(Wire, frozen=True):
    uid: str
    resource: _Resource | None = None
    sub_resource: str | None = None
    name: str | None = None
    namespace: str | None = None
    operation: str | None = None
    object: Raw = Raw(b"null")
    old_object: Raw = Raw(b"null")
    dry_run: bool | None = None


class _Review(Wire, frozen=True):
    api_version: str | None = None
    kind: str | None = None
    request: _Request | None = None


class Request(Struct, frozen=True):
    """One review, parsed: `pod` is there for what we decide about, `old` for a resize."""

    uid: str
    name: str = ""
    namespace: str = ""
    dry_run: bool = False
    pod: Pod | None = None
    old: Pod | None = None

    @property
    def meta(self) -> pods.ObjectMeta:
        """The Pod's metadata, empty without a Pod."""
        return self.pod.metadata if self.pod else pods.ObjectMeta()

    @property
    def pod_name(self) -> str:
        """The name the API server's own messages use: of the request, the Pod, or its generateName."""
        return self.name or self.meta.name or self.meta.generate_name or "Unknown"

    @property
    def resize(self) -> bool:
        """Whether this is an UPDATE of pods/resize; else it is a CREATE of pods."""
        return self.old is not None


def decode(body: bytes) -> Request:
    """The review in `body`; BadReviewError says what it is instead, and where."""
    review = _decoded(_decode_review, body, "$")
    if review.kind != KIND or review.api_version != API_VERSION:
        found = f"{review.kind} of {review.api_version}" if review.kind else "something else"
        raise BadReviewError(f"{found} where {KIND} of {API_VERSION} is expected - at `$.apiVersion` and `$.kind`")
    request = review.request
    if request is None or not request.uid:
        raise BadReviewError("a request with a uid is expected - at `$.request.uid`")
    handled, resize = _handled(request)
    pod = _decoded(pods.decode, request.object, "$.request.object") if handled else None
    if pod is not None and pod.status is not None and not resize:
        pod = replace(pod, status=None)  # the user's word; the API server resets it after us
    return Request(
        uid=request.uid,
        name=request.name or "",
        namespace=request.namespace or (pod and pod.metadata.namespace) or "",
        dry_run=bool(request.dry_run),
        pod=pod,
        old=_decoded(pods.decode, request.old_object, "$.request.oldObject") if resize else None,
    )


def _handled(request: _Request) -> tuple[bool, bool]:
    """Whether we decide about this at all, and whether it is a resize: CREATE of pods, UPDATE of pods/resize."""
    resource = request.resource or _Resource()
    if resource.group or resource.resource != "pods":
        return False, False
    resize = request.operation == "UPDATE" and request.sub_resource == "resize"
    return resize or (request.operation == "CREATE" and not request.sub_resource), resize


_decode_review: Final = msgspec.json.Decoder(_Review).decode


def _decoded(decode: Callable[[bytes | Raw], T], data: bytes | Raw, root: str) -> T:
    """What `decode` makes of the data; `root` is where in the review the data stands."""
    try:
        return decode(data)
    except RecursionError:
        raise BadReviewError(f"nested too deeply - at `{root}`") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error).replace("`$", f"`{root}")
        raise BadReviewError(text if "`$" in text else f"{text} - at `{root}`") from error


def mutate(request: Request, policy: Policy, quotas: Sequence[ResourceQuota]) -> Decision:
    """Fill, clamp, tolerate; refuse what would break a quota even so. `quotas` are those of the namespace."""
    pod, context = request.pod, _context(request, policy)
    if pod is None or context is None:
        return Allowed()
    changes: list[Change] = []
    for rule in MUTATING:
        pod, made = rule(pod, context)
        changes += made
    if refusal := _unresizable(request, pod, context, changes):
        return _denied(request, refusal)
    return _within_quota(request, pod, quotas, _merged(changes))


def _unresizable(request: Request, clamped: Pod, context: Context, changes: Sequence[Change]) -> str:
    """Why a resize cannot be clamped to the maxima, if so: it may not change the QoS class, nor is all of it ours."""
    if over := unclampable(clamped, context):
        return _over(over)
    if request.old is None or request.pod is None or not changes:
        return ""
    before, asked, after = map(computed_qos, (request.old, request.pod, clamped))
    if not before == asked != after:
        return ""
    return f"{_over(changes)}; at the maximum the QoS class would change from {before} to {after}, which no resize may"


def _over(changes: Sequence[Change]) -> str:
    """What is too much, by its place in the Pod."""
    places = (patch.unescape(change.path.removeprefix("/spec/")) for change in changes)
    return "; ".join(f"{where} is {change.before}, {change.why}" for where, change in zip(places, changes, strict=True))


def validate(request: Request, policy: Policy, quotas: Sequence[ResourceQuota]) -> Decision:
    """Refuse what came in after /mutate: anything over a maximum, or over a quota."""
    pod, context = request.pod, _context(request, policy)
    if pod is None or context is None:
        return Allowed()
    _, clamped = clamp(pod, context)
    if over := (*clamped, *unclampable(pod, context)):
        return _denied(request, _over(over))
    return _within_quota(request, pod, quotas, ())


def _context(request: Request, policy: Policy) -> Context | None:
    """None for what is not ours to decide: no request that we handle, or no Pod of Flyte's."""
    task = identify(request.pod) if request.pod else None
    return Context(task, policy.settings(task), request.old) if task else None


def _within_quota(request: Request, pod: Pod, quotas: Sequence[ResourceQuota], changes: tuple[Change, ...]) -> Decision:
    """Allowed or Denied, by what the API server would charge for the Pod."""
    if not quotas:
        return Allowed(changes)
    stored, _ = default(pod)
    verdict = quota_rule.check(stored, quotas, request.old)
    # The API server has an error of its own for a negative amount, and gives it before it looks at quotas.
    violations = [violation for violation in verdict.violations if not isinstance(violation, NegativeUsage)]
    if violations:
        return _denied(request, "; ".join(map(str, violations)), changes)
    return Allowed(changes, verdict.charges)


def _denied(request: Request, why: str, changes: tuple[Change, ...] = ()) -> Denied:
    """As the API server's own plugins refuse: 403, and a text that Flyte and others recognise."""
    return Denied(403, "Forbidden", f'pods "{request.pod_name}" is forbidden: {why}', changes)


def _merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One Change a value: what it was at first, what it is in the end, and every reason in between."""
    merged: dict[str, Change] = {}
    appended: list[Change] = []
    for change in changes:
        if change.path.endswith("/-"):
            appended.append(change)
        elif first := merged.get(change.path):
            merged[change.path] = replace(change, before=first.before, why=f"{first.why}; {change.why}")
        else:
            merged[change.path] = change
    return (*merged.values(), *appended)


class _Status(Wire, frozen=True):
    code: int
    reason: str
    message: str


class _Response(Wire, frozen=True):
    uid: str
    allowed: bool
    audit_annotations: dict[str, str] | None = None
    patch_type: str | None = None
    patch: bytes | None = None
    status: _Status | None = None


class _Answer(Wire, frozen=True):
    response: _Response
    api_version: str
    kind: str


def encode(request: Request, decision: Decision) -> bytes:
    """The AdmissionReview that answers the request; a patch is there only if something changes.

    The audit annotation `changes` tells each change as path, from, to, rule, why.
    """
    changes = decision.changes
    audit = {"changes": told(changes)} if changes else None
    if isinstance(decision, Denied):
        status = _Status(decision.code, decision.reason, decision.message)
        response = _Response(request.uid, allowed=False, audit_annotations=audit, status=status)
    elif changes:
        response = _Response(
            request.uid, allowed=True, audit_annotations=audit, patch_type="JSONPatch", patch=patch_of(request, changes)
        )
    else:
        response = _Response(request.uid, allowed=True)
    return _encode(_Answer(response, API_VERSION, KIND))


def told(changes: Sequence[Change]) -> str:
    """The changes as JSON, for people and programs: a list of path, from, to, rule, why."""
    return _encode(changes).decode()


_encode: Final = msgspec.json.Encoder().encode


def patch_of(request: Request, changes: Iterable[Change]) -> bytes:
    """The JSON Patch that makes the changes to the Pod of the request."""
    return _encode(patch.build(changes, pods.absent(request.pod) if request.pod else ()))
