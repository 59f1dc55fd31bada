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
from webhook.jobs import KINDS, Kind
from webhook.jobs.role import Job, Role

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
R = TypeVar("R", bound="_Request")
T = TypeVar("T")


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
    """One review, parsed: `pod` or `job` is there for what we decide about, `old` for a resize.

    `problem` says why the object is not one that rules can look at: it is larger than a Pod can be, or not a Pod.
    """

    uid: str
    name: str = ""
    namespace: str = ""
    dry_run: bool = False
    kind: str = "Pod"
    resource: str = "pods"  # with its API group
    pod: Pod | None = None
    job: Job | None = None
    old: Pod | None = None
    problem: str = ""

    @property
    def meta(self) -> pods.ObjectMeta:
        """The Pod's metadata, empty without a Pod."""
        return self.pod.metadata if self.pod else pods.ObjectMeta()

    @property
    def metadata(self) -> pods.ObjectMeta:
        """The metadata of the Pod or job, empty without one."""
        return self.job.metadata if self.job else self.meta

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of the job; a Pod is its only role."""
        if self.job:
            return self.job.roles
        return (Role("", self.pod),) if self.pod else ()

    @property
    def object_name(self) -> str:
        """The name the API server's own messages use: of the request, the object, or its generateName."""
        name = self.name or self.metadata.name or self.metadata.generate_name or "Unknown"
        return name if len(name) <= bounds.TEXT else f"{name[: bounds.TEXT]}…"

    @property
    def who(self) -> str:
        """The object as the API server's own messages name it: `pods "x"`."""
        return f'{self.resource} "{self.object_name}"'

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
    uid = _UID.search(head[:HEAD])
    if uid is None:
        raise BadReviewError(f"{problem} - at `$`")
    return Request(uid[1].decode(), namespace=namespace_of(head).decode(), problem=problem)


def namespace_of(head: bytes | bytearray) -> bytes:
    """Return the namespace of a review by how it begins, empty without one."""
    found = _NAMESPACE.search(head[:HEAD])
    return found[1] if found else b""


OF_A_GROUP: Final = b'"resource":{"group":"'  # as Go writes it
OF_NO_GROUP: Final = OF_A_GROUP + b'"'
HEAD: Final = 4096  # bytes of a review that have these, in the order in which Go writes them
_UID: Final = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([-\w]{1,256})"')
_NAMESPACE: Final = re.compile(rb'"namespace"\s*:\s*"([-.\w]{1,253})"\s*,\s*"operation"')


def _decode(body: bytes | bytearray) -> Request:
    request, found, problem = _in_one_go(body) or _piece_by_piece(body)
    handled, resize = _handled(request)
    old: Pod | None = None
    if handled and resize and not problem:
        old, problem = _read(pods.decode, request.old_object, "oldObject")
    if isinstance(found, Pod) and found.status is not None and not resize:
        found = Pod(found.metadata, found.spec)  # its status is the user's word; the API server resets it after us
    if handled and found is not None and not problem:
        problem = _too_much(found)
    namespace = request.namespace or (found and found.metadata.namespace) or ""
    if len(namespace) > bounds.TEXT:
        namespace, problem = "", problem or f"metadata.namespace: more than {bounds.TEXT} characters"
    decided = found if handled and not problem else None
    kind = _kind(request)
    return Request(
        uid=request.uid,
        name=request.name or "",
        namespace=namespace,
        dry_run=bool(request.dry_run),
        kind=kind.name if kind else "Pod",
        resource=_resource(request) if kind else "pods",
        pod=decided if isinstance(decided, Pod) else None,
        job=decided if isinstance(decided, Job) else None,
        old=old,
        problem=problem if handled else "",
    )


def _in_one_go(body: bytes | bytearray) -> tuple[_Request, Pod, str] | None:
    """Return the request and its Pod, where all of it is as it is in nearly every review."""
    if body.find(OF_A_GROUP, 0, HEAD) >= 0 > body.find(OF_NO_GROUP, 0, HEAD):
        return None
    try:
        request = _request(_decode_of_pod(body))
    except (msgspec.DecodeError, UnicodeDecodeError, BadReviewError):
        return None
    return (request, request.object, "") if request.object and not _kind(request) else None


def _piece_by_piece(body: bytes | bytearray) -> tuple[_Request, Pod | Job | None, str]:
    """Return the request, and its object or problem if we decide about it: nothing else has to be as expected."""
    try:
        request = _request(_decode_of_anything(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        raise BadReviewError(text if "`$" in text else f"{text} - at `$`") from error
    handled, resize = _handled(request)
    if not handled:
        return request, None, ""
    if kind := _kind(request):
        return request, *_read(kind.decode, request.object, "object")
    return request, *_read(pods.decode if resize else pods.decode_new, request.object, "object")


def _read(decode: Callable[[Raw], T], data: Raw, field: str) -> tuple[T | None, str]:
    """Return the object in that field of the request, or what is wrong with it."""
    try:
        return decode(data), ""
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = plainly(str(error))
        return None, f"of the {field}, {text}" if field == "oldObject" else text


def _too_much(found: Pod | Job) -> str:
    """Return what all containers together have too much of; empty for nothing."""
    parts = [found] if isinstance(found, Pod) else [role.pod for role in found.roles]
    blocks = [container.resources for pod in parts for _, container in pods.containers(pod)]
    if len(parts) > 1 and len(blocks) > bounds.JOB_CONTAINERS:
        return f"containers: more than {bounds.JOB_CONTAINERS} in all Pod templates"
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


def _kind(request: _Request) -> Kind | None:
    """Return the kind of job that the request is about; None for Pods, and for anything else."""
    resource = request.resource
    return KINDS.get((resource.group or "", resource.resource or "")) if resource else None


def _resource(request: _Request) -> str:
    resource = request.resource or _Resource()
    return f"{resource.resource}.{resource.group}"


def _handled(request: _Request) -> tuple[bool, bool]:
    """Return whether we decide about this at all, and whether it is a resize.

    Decided are CREATE of pods and of jobs, and UPDATE of pods/resize.
    """
    if _kind(request):
        return request.operation == "CREATE" and not request.sub_resource, False
    resource = request.resource or _Resource()
    if resource.group or resource.resource != "pods":
        return False, False
    resize = request.operation == "UPDATE" and request.sub_resource == "resize"
    return resize or (request.operation == "CREATE" and not request.sub_resource), resize


_decode_of_pod: Final = msgspec.json.Decoder(_Review[_OfPod], dec_hook=decode_hook, float_hook=str).decode
_decode_of_anything: Final = msgspec.json.Decoder(_Review[_OfAnything]).decode
