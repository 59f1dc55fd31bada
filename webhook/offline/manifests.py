"""Kubernetes manifests from YAML or JSON text: Pods, ResourceQuotas, LimitRanges, Lists of them, AdmissionReviews."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from webhook.api.limit_range import LimitRange
from webhook.api.pod import PodStatus
from webhook.api.resource_list import is_extended
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook
from webhook.api.wire import plainly
from webhook.policy.yaml_text import Document, Path, Problem, ProblemsError, load_all

QUOTAS: Final = ("ResourceQuota",)
T = TypeVar("T", ResourceQuota, LimitRange)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file, and where it stands."""

    kind: str
    data: dict[str, Any]
    document: Document
    path: Path  # to the object in its document

    @property
    def namespace(self) -> str:
        """The namespace that it states, or `default`."""
        metadata = self.data.get("metadata")
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        return namespace if namespace and isinstance(namespace, str) else "default"

    @property
    def is_stored(self) -> bool:
        """Whether it is a Pod of a cluster, which quotas count already."""
        metadata = self.data.get("metadata")
        return self.kind == "Pod" and isinstance(metadata, dict) and bool(metadata.get("uid"))

    @property
    def has_ended(self) -> bool:
        """Whether it is a Pod or a job that has ended."""
        status = self.data.get("status")
        if not isinstance(status, dict):
            return False
        if self.kind == "Pod":
            return PodStatus(phase=status.get("phase")).has_ended
        return status.get("jobDeploymentStatus") in ("Complete", "Failed")  # of a RayJob

    def problem(self, what: str) -> ProblemsError:
        """Return an error with the file, line and column of the object."""
        name = (self.data.get("metadata") or {}).get("name") if isinstance(self.data.get("metadata"), dict) else None
        who = f"{self.kind} {name}" if name else self.kind
        line = self.document.problem(self.path, "")
        return ProblemsError(self.document.file, [Problem(line.line, line.column, f"{who}: {what}")])


def read(text: str, file: str, kinds: tuple[str, ...], *, pass_over: bool = False) -> list[Manifest]:
    """Return the objects of these kinds, also those in Lists; ProblemsError for others, and for an empty file.

    With `pass_over`, objects of other kinds are left out.
    """
    documents = _documents(text, file)
    if not documents:
        raise ProblemsError(file, [Problem(1, 1, f"nothing in it; {any_of(kinds)}, or a List of them, is expected")])
    wanted = _Wanted(kinds, pass_over)
    return [manifest for document in documents for manifest in _objects(document, document.data, (), wanted)]


class _Wanted(NamedTuple):
    kinds: tuple[str, ...]
    pass_over: bool  # other kinds


def within(document: Document, path: Path, kinds: tuple[str, ...]) -> list[Manifest]:
    """Return the objects at that path of a document; ProblemsError for those of other kinds."""
    return [*_objects(document, document.at(path), path, _Wanted(kinds, pass_over=False))]


def _documents(text: str, file: str) -> list[Document]:
    """Parse JSON as JSON, for YAML does not take its tabs; everything else as YAML."""
    if text.lstrip()[:1] in ("{", "["):
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [Document(msgspec.json.decode(text), file)]
    return load_all(text, file)


def any_of(kinds: tuple[str, ...]) -> str:
    """Return the kinds for a message: `A, B or C`."""
    return ", ".join((*kinds[:-2], " or ".join(kinds[-2:])))


def _objects(document: Document, data: Any, path: Path, wanted: _Wanted) -> Iterator[Manifest]:
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind in wanted.kinds:
        yield Manifest(kind, data, document, path)
    elif isinstance(kind, str) and kind.endswith("List") and isinstance(data.get("items"), list):
        for index, item in enumerate(data["items"]):
            named = {"kind": kind.removesuffix("List")} if kind != "List" and isinstance(item, dict) else {}
            yield from _objects(document, {**named, **item} if named else item, (*path, "items", index), wanted)
    elif not (wanted.pass_over and isinstance(kind, str)):
        found = f"kind {kind}" if kind else "an object without a kind" if isinstance(data, dict) else "not an object"
        problem = document.problem(path, f"{found}; {any_of(wanted.kinds)}, or a List of them, is expected")
        raise ProblemsError(document.file, [problem])


def quotas(text: str, file: str, namespace: str = "") -> list[ResourceQuota]:
    """Return the ResourceQuotas of the file; ProblemsError if one has no name or cannot be read.

    Objects of other kinds are passed over beside them. `namespace` is that of quotas that state none.
    """
    return _of_kind(text, file, ResourceQuota, namespace)


def limit_ranges(text: str, file: str, namespace: str = "") -> list[LimitRange]:
    """Return the LimitRanges of the file, likewise."""
    return _of_kind(text, file, LimitRange, namespace)


def _of_kind(text: str, file: str, kind: type[T], namespace: str) -> list[T]:
    kinds = (kind.__name__,)
    found = [converted(manifest, kind, namespace) for manifest in read(text, file, kinds, pass_over=True)]
    return found or [converted(manifest, kind) for manifest in read(text, file, kinds)]


def quota_warnings(text: str, file: str, namespace: str = "") -> Iterator[str]:
    """Yield what the quotas of the file probably do not mean: names that count nothing, and no namespace."""
    for manifest in read(text, file, QUOTAS, pass_over=True):
        quota = converted(manifest, ResourceQuota)
        if not (namespace or quota.metadata.namespace):
            what = "warning: no namespace, so it is a quota of default; write metadata.namespace, or give --namespace"
            yield str(manifest.problem(what))
        for name in quota.spec.hard if quota.spec and quota.spec.hard else ():
            if counting := that_counts(name):
                yield str(manifest.problem(f"warning: {name} counts nothing; write {counting}"))


def that_counts(name: str) -> str:
    """Return the name by which a quota counts the devices of this name; empty if it counts, or is of something else."""
    device = name.removeprefix("limits.")
    of_others = device.startswith("count/") or ".storageclass.storage.k8s.io/" in device
    return f"requests.{device}" if is_extended(device) and not of_others else ""


def converted(manifest: Manifest, kind: type[T], namespace: str = "") -> T:
    """Return the object, of that namespace if it states none; ProblemsError if it cannot be read or named."""
    try:
        found = msgspec.convert(manifest.data, kind, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        raise manifest.problem(plainly(str(error))) from error
    if not found.name:
        raise manifest.problem("no metadata.name; write one")
    meta = found.metadata
    return found if meta.namespace or not namespace else replace(found, metadata=replace(meta, namespace=namespace))
