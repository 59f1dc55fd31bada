"""Kubernetes manifests from YAML or JSON text: Pods, ResourceQuotas, LimitRanges, Lists of them, AdmissionReviews."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import yaml
from msgspec.structs import replace

from webhook.api.limit_range import LimitRange
from webhook.api.resource_list import HUGEPAGES, is_device
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook
from webhook.api.wire import plainly
from webhook.jobs import KINDS as JOBS
from webhook.offline.ended import has_ended
from webhook.policy.spelling import NEARLY_THE_SAME, SPELLINGS, closest
from webhook.policy.yaml_text import Document, Path, Problem, ProblemsError, load_all
from webhook.rules.edit import SIDES
from webhook.rules.quota import CHARGED_NAMES, is_charged

QUOTA_KINDS: Final = ("ResourceQuota",)
NAME_BY_LOWER_CASE: Final = {key.lower(): name for key, name in SPELLINGS.items()}
# What quotas count beside the Pods: other objects, volumes, and claims of devices.
OBJECTS: Final = frozenset(
    {
        "configmaps", "persistentvolumeclaims", "replicationcontrollers", "requests.storage", "resourcequotas",
        "secrets", "services", "services.loadbalancers", "services.nodeports",
    }
)  # fmt: skip
SUFFIXES_OF_OTHERS: Final = (".storageclass.storage.k8s.io/", ".deviceclass.resource.k8s.io/")
# The API groups of the kinds that are read, but for those of the core, whose group is empty.
GROUPS: Final = {
    **{kind.name: group for (group, _), kind in JOBS.items()},
    "AdmissionReview": "admission.k8s.io", "Event": "audit.k8s.io", "Deployment": "apps",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io",
}  # fmt: skip
# What `kubectl get -o yaml` prints for several objects: no line of an item but its first begins without an indent.
OF_KUBECTL: Final = re.compile(
    r"apiVersion: v1\nitems:\n(?P<items>(?=- )(?:(?:- | ).*\n|\n)++)kind: List\n(?:metadata:\n(?: .*\n)++)?"
)
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
    def uid(self) -> str:
        """The UID of an object of a cluster; empty for one that is not created yet."""
        metadata = self.data.get("metadata")
        return str(metadata.get("uid") or "") if isinstance(metadata, dict) else ""

    @property
    def is_stored(self) -> bool:
        """Whether it is a Pod of a cluster, which quotas count already."""
        return self.kind == "Pod" and bool(self.uid)

    @property
    def has_ended(self) -> bool:
        """Whether it is a Pod or a job that has ended."""
        return has_ended(self.kind, self.data.get("status"))

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
    if layout := OF_KUBECTL.fullmatch(text):
        with suppress(ProblemsError):  # which the whole has too, at its place
            return [*_items(text, layout.span("items"), file)]
    return load_all(text, file)


def _items(text: str, span: tuple[int, int], file: str) -> Iterator[Document]:
    """Yield the items of a List, each parsed on its own: 10,000 Pods at once take gigabytes as nodes of YAML."""
    starts = [match.start() for match in re.compile("^- ", re.MULTILINE).finditer(text, *span)]
    line = text.count("\n", 0, span[0])
    for start, end in pairwise([*starts, span[1]]):
        for document in load_all(text[start:end], file):
            mark = yaml.Mark(file, start, line, 2, None, 0)
            yield Document(document.data[0], file, values={(): mark})
        line += text.count("\n", start, end)


def any_of(kinds: tuple[str, ...]) -> str:
    """Return the kinds for a message: `A, B or C`."""
    return ", ".join((*kinds[:-2], " or ".join(kinds[-2:])))


def _objects(document: Document, data: Any, path: Path, wanted: _Wanted) -> Iterator[Manifest]:
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind in wanted.kinds and not (wanted.pass_over and _is_of_another_group(kind, data.get("apiVersion"))):
        yield Manifest(kind, data, document, path)
    elif isinstance(kind, str) and kind.endswith("List") and isinstance(data.get("items"), list):
        version = {"apiVersion": data["apiVersion"]} if "apiVersion" in data else {}
        named = {"kind": kind.removesuffix("List"), **version} if kind != "List" else {}  # which items leave out
        for index, item in enumerate(data["items"]):
            found = {**named, **item} if isinstance(item, dict) else item
            yield from _objects(document, found, (*path, "items", index), wanted)
    elif not (wanted.pass_over and isinstance(kind, str)):
        found = f"kind {kind}" if kind else "an object without a kind" if isinstance(data, dict) else "not an object"
        problem = document.problem(path, f"{found}; {any_of(wanted.kinds)}, or a List of them, is expected")
        raise ProblemsError(document.file, [problem])


def _is_of_another_group(kind: str, version: object) -> bool:
    """Return whether the apiVersion is of an object that only has the name of the kind: Knative has a Service too."""
    return isinstance(version, str) and version.rpartition("/")[0] != GROUPS.get(kind, "")


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
    for manifest in read(text, file, QUOTA_KINDS, pass_over=True):
        quota = converted(manifest, ResourceQuota)
        if not (namespace or quota.metadata.namespace):
            what = "warning: no namespace, so it is a quota of default; write metadata.namespace, or give --namespace"
            yield str(manifest.problem(what))
        for name in quota.spec.hard if quota.spec and quota.spec.hard else ():
            if (counting := that_counts(name)) is not None:
                what = f"; write {counting}" if counting else ", as no quota counts such a resource"
                yield str(manifest.problem(f"warning: {name} counts nothing{what}"))


def that_counts(name: str) -> str | None:
    """Return the name by which a quota counts what is meant by this one; None if it counts, empty if none does.

    The names without a slash that are not here are refused by the API server (ValidateResourceQuotaResourceName in
    kubernetes `pkg/apis/core/validation/validation.go`).
    """
    if any(mark in name for mark in SUFFIXES_OF_OTHERS) or name in OBJECTS:
        return None
    if name.startswith("count/"):  # any object is counted so
        near = closest(name, ["count/pods"], NEARLY_THE_SAME)
        return near if near and near != name else None
    side, dot, resource = name.partition(".")
    side, resource = (side.lower(), resource) if dot and side.lower() in SIDES else ("", name)
    if "/" in resource:
        known = f"requests.{resource}" if is_device(resource) else ""
        return None if known == name else known
    if is_charged(name):
        return None
    spelled = NAME_BY_LOWER_CASE.get(resource.lower(), resource if resource.startswith(HUGEPAGES) else resource.lower())
    meant = next((each for each in (f"{side}.{spelled}" if side else spelled, spelled) if is_charged(each)), "")
    return "requests.nvidia.com/gpu" if spelled == "gpu" else meant or closest(name, (*CHARGED_NAMES, *OBJECTS))


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
