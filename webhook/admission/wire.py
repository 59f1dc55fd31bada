"""The AdmissionReview of `admission.k8s.io/v1`: from bytes to a Request."""

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from webhook.api import bounds
from webhook.api import pod as pods
from webhook.api.nesting import TooManyError, prune, weigh
from webhook.api.pod import Pod
from webhook.api.resources import decode_hook
from webhook.api.wire import Wire, plainly

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
R = TypeVar("R", bound="_Request")


class BadReviewError(ValueError):
    """The body is not an AdmissionReview that could be answered; the message has the JSON path."""


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
    old_object: Raw = Raw(b"null")
    dry_run: bool | None = None


class _OfPod(_Request, frozen=True):
    object: Pod | None = None


class _OfAnything(_Request, frozen=True):
    object: Raw = Raw(b"null")


class _Review(Wire, Generic[R], frozen=True):
    api_version: str | None = None
    kind: str | None = None
    request: R | None = None


class Request(Struct, frozen=True):
    """One review, parsed: `pod` is there for what we decide about, `old` for a resize.

    `problem` says why the object is not one that rules can look at: it is larger than a Pod can be, or not a Pod.
    """

    uid: str
    name: str = ""
    namespace: str = ""
    dry_run: bool = False
    pod: Pod | None = None
    old: Pod | None = None
    problem: str = ""

    @property
    def meta(self) -> pods.ObjectMeta:
        """The Pod's metadata, empty without a Pod."""
        return self.pod.metadata if self.pod else pods.ObjectMeta()

    @property
    def pod_name(self) -> str:
        """The name the API server's own messages use: of the request, the Pod, or its generateName."""
        name = self.name or self.meta.name or self.meta.generate_name or "Unknown"
        return name if len(name) <= bounds.TEXT else f"{name[: bounds.TEXT]}…"

    @property
    def resize(self) -> bool:
        """Whether this is an UPDATE of pods/resize; else it is a CREATE of pods."""
        return self.old is not None


def decode(body: bytes | bytearray) -> Request:
    """Decode the review in `body`; BadReviewError says what it is instead, and where.

    Whatever the object holds, the review can be answered: see `Request.problem`.
    """
    try:
        weigh(body)
        try:
            return _decode(body)
        except RecursionError:
            return _decode(prune(body))
    except TooManyError as error:
        return undecoded(body, str(error))


def undecoded(head: bytes | bytearray, problem: str) -> Request:
    """Return the request of a review too large to be decoded, by how it begins; BadReviewError if that is not one."""
    uid, namespace = _UID.search(head[:HEAD]), _NAMESPACE.search(head[:HEAD])
    if uid is None:
        raise BadReviewError(f"{problem} - at `$`")
    return Request(uid[1].decode(), namespace=namespace[1].decode() if namespace else "", problem=problem)


HEAD: Final = 4096  # bytes of a review that have these, in the order in which Go writes them
_UID: Final = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([-\w]{1,256})"')
_NAMESPACE: Final = re.compile(rb'"namespace"\s*:\s*"([-.\w]{1,253})"\s*,\s*"operation"')


def _decode(body: bytes | bytearray) -> Request:
    request, pod, problem = _in_one_go(body) or _piece_by_piece(body)
    handled, resize = _handled(request)
    old: Pod | None = None
    if handled and resize and not problem:
        old, problem = _pod(pods.decode, request.old_object, "oldObject")
    if pod is not None and pod.status is not None and not resize:
        pod = Pod(pod.metadata, pod.spec)  # its status is the user's word; the API server resets it after us
    if handled and pod is not None and not problem:
        problem = _too_many_amounts(pod)
    namespace = request.namespace or (pod and pod.metadata.namespace) or ""
    if len(namespace) > bounds.TEXT:
        namespace, problem = "", problem or f"metadata.namespace: more than {bounds.TEXT} characters"
    return Request(
        uid=request.uid,
        name=request.name or "",
        namespace=namespace,
        dry_run=bool(request.dry_run),
        pod=pod if handled and not problem else None,
        old=old,
        problem=problem if handled else "",
    )


def _in_one_go(body: bytes | bytearray) -> tuple[_Request, Pod, str] | None:
    """Return the request and its Pod, where all of it is as it is in nearly every review."""
    try:
        request = _request(_decode_of_pod(body))
    except (msgspec.DecodeError, UnicodeDecodeError, BadReviewError):
        return None
    return (request, request.object, "") if request.object else None


def _piece_by_piece(body: bytes | bytearray) -> tuple[_Request, Pod | None, str]:
    """Return the request, and its Pod or problem if we decide about it: nothing else has to be as expected."""
    try:
        request = _request(_decode_of_anything(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        raise BadReviewError(text if "`$" in text else f"{text} - at `$`") from error
    handled, resize = _handled(request)
    if not handled:
        return request, None, ""
    return request, *_pod(pods.decode if resize else pods.decode_new, request.object, "object")


def _pod(decode: Callable[[Raw], Pod], data: Raw, field: str) -> tuple[Pod | None, str]:
    """Return the Pod of that field of the request, or what is wrong with it."""
    try:
        return decode(data), ""
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = plainly(str(error))
        return None, f"of the {field}, {text}" if field == "oldObject" else text


def _too_many_amounts(pod: Pod) -> str:
    blocks = [container.resources for _, container in pods.containers(pod)]
    amounts = sum([len(block.requests or ()) + len(block.limits or ()) for block in blocks if block])
    return f"requests and limits: more than {bounds.AMOUNTS} in all containers" if amounts > bounds.AMOUNTS else ""


def _request(review: _Review[R]) -> R:
    """Return the request of what must be an AdmissionReview."""
    if review.kind != KIND or review.api_version != API_VERSION:
        found = f"{review.kind} of {review.api_version}" if review.kind else "something else"
        raise BadReviewError(f"{found} where {KIND} of {API_VERSION} is expected - at `$.apiVersion` and `$.kind`")
    if review.request is None or not review.request.uid:
        raise BadReviewError("a request with a uid is expected - at `$.request.uid`")
    return review.request


def _handled(request: _Request) -> tuple[bool, bool]:
    """Return whether we decide about this at all, and whether it is a resize: CREATE of pods, UPDATE of pods/resize."""
    resource = request.resource or _Resource()
    if resource.group or resource.resource != "pods":
        return False, False
    resize = request.operation == "UPDATE" and request.sub_resource == "resize"
    return resize or (request.operation == "CREATE" and not request.sub_resource), resize


_decode_of_pod: Final = msgspec.json.Decoder(_Review[_OfPod], dec_hook=decode_hook, float_hook=str).decode
_decode_of_anything: Final = msgspec.json.Decoder(_Review[_OfAnything]).decode
