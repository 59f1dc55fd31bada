"""The AdmissionReview of `admission.k8s.io/v1`: from bytes to a Request, from a Decision to bytes."""

import re
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from webhook.api import bounds as limits
from webhook.api import pod as pods
from webhook.api.nesting import TooNestedError, prune
from webhook.api.pod import Pod
from webhook.api.resources import decode_hook
from webhook.api.wire import Wire

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
R = TypeVar("R", bound="_Request")


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

    `problem` says why the object is not one that rules can look at: it is larger than a Pod can be, or no Pod.
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
        return name if len(name) <= limits.TEXT else f"{name[: limits.TEXT]}…"

    @property
    def resize(self) -> bool:
        """Whether this is an UPDATE of pods/resize; else it is a CREATE of pods."""
        return self.old is not None


def decode(body: bytes | bytearray) -> Request:
    """Decode the review in `body`; BadReviewError says what it is instead, and where.

    Whatever the object holds, the review can be answered: see `Request.problem`.
    """
    try:
        return _decode(body)
    except RecursionError:
        pass
    try:
        return _decode(prune(body))
    except TooNestedError as error:
        uid = _UID.search(body[:_HEAD])
        if uid is None:
            raise BadReviewError(f"{error} - at `$`") from None
        return Request(uid[1].decode(), problem=str(error))


_HEAD: Final = 4096
_UID: Final = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([-\w]{1,256})"')  # where Go writes it: first of all


def _decode(body: bytes | bytearray) -> Request:
    request, pod, problem = _in_one_go(body) or _piece_by_piece(body)
    handled, resize = _handled(request)
    old: Pod | None = None
    if handled and resize and not problem:
        old, problem = _pod(request.old_object, "oldObject")
    if pod is not None and pod.status is not None and not resize:
        pod = Pod(pod.metadata, pod.spec)  # its status is the user's word; the API server resets it after us
    namespace = request.namespace or (pod and pod.metadata.namespace) or ""
    if len(namespace) > limits.TEXT:
        namespace, problem = "", problem or f"metadata.namespace: more than {limits.TEXT} characters"
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
    return request, *(_pod(request.object, "object") if any(_handled(request)) else (None, ""))


def _pod(data: Raw, field: str) -> tuple[Pod | None, str]:
    """Return the Pod of that field of the request, or what is wrong with it."""
    try:
        return pods.decode(data), ""
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = _plainly(str(error))
        return None, f"of the {field}, {text}" if field == "oldObject" else text


_UNITS: Final = {"array": "items", "object": "names", "str": "characters"}
_TOO_LONG: Final = re.compile(
    r"(?:(?P<part>\w+): )?Expected `(?P<kind>\w+)` of length <= (?P<most>\d+) - at `\$\.(?P<at>.*)`"
)


def _plainly(problem: str) -> str:
    """Return what msgspec says of a Pod in the words of its author: the place first, `spec.containers: …`."""
    if match := _TOO_LONG.fullmatch(problem):
        where = f"{match['at']}.{match['part']}" if match["part"] else match["at"]
        return f"{where}: more than {match['most']} {_UNITS[match['kind']]}"
    what, _, where = problem.partition(" - at `$")
    return f"{where.strip('.`') or 'the object'}: {what}"


def _request(review: _Review[R]) -> R:
    """The request of what must be an AdmissionReview."""
    if review.kind != KIND or review.api_version != API_VERSION:
        found = f"{review.kind} of {review.api_version}" if review.kind else "something else"
        raise BadReviewError(f"{found} where {KIND} of {API_VERSION} is expected - at `$.apiVersion` and `$.kind`")
    if review.request is None or not review.request.uid:
        raise BadReviewError("a request with a uid is expected - at `$.request.uid`")
    return review.request


def _handled(request: _Request) -> tuple[bool, bool]:
    """Whether we decide about this at all, and whether it is a resize: CREATE of pods, UPDATE of pods/resize."""
    resource = request.resource or _Resource()
    if resource.group or resource.resource != "pods":
        return False, False
    resize = request.operation == "UPDATE" and request.sub_resource == "resize"
    return resize or (request.operation == "CREATE" and not request.sub_resource), resize


_decode_of_pod: Final = msgspec.json.Decoder(_Review[_OfPod], dec_hook=decode_hook, float_hook=str).decode
_decode_of_anything: Final = msgspec.json.Decoder(_Review[_OfAnything]).decode
