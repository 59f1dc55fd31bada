"""Policy tests: each case is a policy, an object, and what is expected of the decision about it."""

import base64
import difflib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, TypeAlias

import yaml
from pydantic import Field, JsonValue, PlainValidator, ValidationError

from webhook.admission import record
from webhook.admission.answer import encode
from webhook.admission.decide import mutate, validate
from webhook.admission.decision import Decision, Denied, outcome
from webhook.admission.wire import BadReviewError, Request
from webhook.api import version
from webhook.api.limit_range import LimitRange
from webhook.api.patch import unescape
from webhook.api.quantity import QuantityError, parse
from webhook.api.resource_quota import ResourceQuota
from webhook.api.version import NEWEST, Version
from webhook.cluster.ledger import Ledger
from webhook.offline import manifests
from webhook.offline.manifests import Manifest
from webhook.offline.review import REVIEWED, Report, decide, request_of
from webhook.policy.file import LoadedPolicy, load
from webhook.policy.problems import to_problem
from webhook.policy.schema import Day
from webhook.policy.settings import Mode
from webhook.policy.spelling import shown
from webhook.policy.values import Section
from webhook.policy.yaml_text import Document, Path, ProblemsError, load_all
from webhook.rules.findings import Change

Endpoint: TypeAlias = Literal["mutate", "validate"]
Read: TypeAlias = Callable[[PurePath], str]  # ProblemsError if there is no such file
GOLDEN: Final = ("policy.yaml", "review.json", "response.json")  # the files of a case that is a folder
QUOTAS_FILE: Final = "quotas.yaml"
LIMIT_RANGES_FILE: Final = "limit-ranges.yaml"
EMPTY: Final[dict[str, list[Any]]] = {"changes": [], "warnings": []}  # what null means, where it is not null
DECIDE: Final = {"mutate": mutate, "validate": validate}
Word: TypeAlias = Literal["unchanged", "changed", "refused", "ignored", "would be changed", "would be refused"]


class ExpectedChange(Section):
    """A change, as far as the case states it; the path has containers by their index or by their name."""

    path: str = Field(examples=["/spec/containers/main/resources/limits/cpu"])
    before: JsonValue = Field(default=None, alias="from")
    to: JsonValue = None
    rule: str = ""
    why: str = ""


class Expected(Section):
    """The expected decision; a missing key matches anything, and null matches only nothing."""

    outcome: Word | None = None
    code: int | None = None
    reason: str | None = None
    message: str | None = None  # a part of it
    changes: list[ExpectedChange] | None = None  # all of them, in any order
    warnings: list[str] | None = None


def _version(value: object) -> Version:
    if not isinstance(value, str):  # 1.40 is the number 1.4 in YAML
        what = f"{shown(value)} where a text is expected; write one in quotes, such as '{NEWEST}'"
        raise ValueError(what)  # noqa: TRY004 - pydantic reports no TypeError
    return version.parse(value)


class CaseFile(Section):
    """One document of a case file; policy and manifests are given in place, or as the name of a file."""

    name: str = ""
    policy: JsonValue = Field(examples=["policy.yaml"])
    object: JsonValue = Field(examples=["pod.yaml"])
    quotas: JsonValue = None
    limit_ranges: JsonValue = None
    endpoint: Endpoint = "mutate"
    mode: Mode | None = None
    today: Day | None = None
    kubernetes: Annotated[Version, PlainValidator(_version)] = NEWEST
    expect: Expected | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case, read."""

    name: str
    loaded: LoadedPolicy
    manifest: Manifest
    ledger: Ledger
    expected: Expected | dict[str, Any] | None  # of the decision, or the whole answer
    endpoint: Endpoint = "mutate"
    mode: Mode | None = None
    today: str = ""


def of_file(file: PurePath, read: Read) -> Iterator[Case]:
    """Yield the cases of a file, one for each document; ProblemsError for the first that cannot be read."""
    for number, document in enumerate(load_all(read(file), str(file)), 1):
        try:
            stated = CaseFile.model_validate(document.data)
        except ValidationError as error:
            raise ProblemsError(str(file), [to_problem(document, it, CaseFile) for it in error.errors()]) from error
        found = _objects(document, "object", read, REVIEWED)
        if len(found) != 1:
            what = f"{len(found)} objects where one {manifests.any_of(REVIEWED)} is expected"
            raise ProblemsError(str(file), [document.problem(("object",), what)])
        quotas = _objects(document, "quotas", read, ("ResourceQuota",)) if stated.quotas else []
        ranges = _objects(document, "limit_ranges", read, ("LimitRange",)) if stated.limit_ranges else []
        yield Case(
            name=f"{file}: {stated.name or number}",
            loaded=_policy(document, read),
            manifest=found[0],
            ledger=Ledger(
                [manifests.converted(each, ResourceQuota) for each in quotas],
                [manifests.converted(each, LimitRange) for each in ranges],
                stated.kubernetes,
            ),
            expected=stated.expect,
            endpoint=stated.endpoint,
            mode=stated.mode,
            today=stated.today or "",
        )


def _policy(document: Document, read: Read) -> LoadedPolicy:
    stated = document.data["policy"]
    if isinstance(stated, str):
        file = _beside(document, stated)
        return load(read(file), str(file))
    return load(yaml.safe_dump(stated, sort_keys=False), f"{document.file} (policy)")


def _objects(document: Document, key: str, read: Read, kinds: tuple[str, ...]) -> list[Manifest]:
    stated = document.data[key]
    if isinstance(stated, str):
        file = _beside(document, stated)
        return manifests.read(read(file), str(file), kinds)
    paths: list[Path] = [(key, index) for index in range(len(stated))] if isinstance(stated, list) else [(key,)]
    return [found for path in paths for found in manifests.within(document, path, kinds)]


def _beside(document: Document, file: str) -> PurePath:
    return PurePath(document.file).parent / file


def of_folder(folder: PurePath, read: Read, others: Collection[str]) -> Case:
    """Return the case of a folder with policy.yaml, review.json, response.json, and those of the `others` that it has.

    These are quotas.yaml and limit-ranges.yaml.

    In response.json the patch and the record are JSON, not the texts that the wire has. A folder whose name begins with
    `validate-` is a case of /validate.
    """
    policy, review, response, quotas, ranges = (folder / name for name in (*GOLDEN, QUOTAS_FILE, LIMIT_RANGES_FILE))
    (manifest,) = manifests.read(read(review), str(review), REVIEWED)
    return Case(
        name=str(folder),
        loaded=load(read(policy), str(policy)),
        manifest=manifest,
        ledger=Ledger(
            manifests.quotas(read(quotas), str(quotas)) if QUOTAS_FILE in others else (),
            manifests.limit_ranges(read(ranges), str(ranges)) if LIMIT_RANGES_FILE in others else (),
        ),
        expected=json.loads(read(response)),
        endpoint="validate" if folder.name.startswith("validate-") else "mutate",
    )


def difference(case: Case, today: str, mode: Mode | None, fail_on: Collection[str]) -> str:
    """Return how the decision differs from what is expected; empty where it does not.

    `mode` is for cases that state none. Where nothing is expected, an outcome that `fail_on` names is a difference. So
    is an object that the webhook ignores, such as for a typo in its label, unless that is what is expected.
    """
    request, decision = _decide(case, today, case.mode or mode)
    report = Report(request, decision, None)
    if isinstance(case.expected, dict):
        expected, found = case.expected, readable(encode(request, decision))
        return _diff(json.dumps(expected, indent=2), json.dumps(found, indent=2)) if expected != found else ""
    if report.ignored_for and (case.expected is None or case.expected.outcome != report.outcome):
        return f"outcome: {report.outcome} ({report.ignored_for})"
    if case.expected is None:
        return f"outcome: {report.outcome}" if report.decided_outcome in fail_on else ""
    stated = case.expected.model_dump(by_alias=True, exclude_unset=True)
    expected = {key: EMPTY.get(key) if value is None else value for key, value in stated.items()}
    found = {key: value for key, value in _found(expected, report).items() if key in expected}
    return _diff("\n".join(_lines(expected)), "\n".join(_lines(found)))


def _decide(case: Case, today: str, mode: Mode | None) -> tuple[Request, Decision]:
    try:
        request = request_of(case.manifest, case.ledger)[0]
    except BadReviewError as error:
        raise case.manifest.problem(str(error)) from error
    policy = case.loaded.policy.in_mode(mode) if mode else case.loaded.policy
    return request, decide(request, policy, case.ledger, case.today or today, DECIDE[case.endpoint])


def readable(answer: bytes) -> dict[str, Any]:
    """Return the answer in the form of response.json."""
    review: dict[str, Any] = json.loads(answer)
    response = review["response"]
    if "patch" in response:
        response["patch"] = json.loads(base64.b64decode(response["patch"]))
    for key in {"changes", "more-changes"} & response.get("auditAnnotations", {}).keys():
        response["auditAnnotations"][key] = json.loads(response["auditAnnotations"][key])
    return review


def _found(expected: dict[str, Any], report: Report) -> dict[str, Any]:
    """Return what was decided, in the words of the expectation where it meets them."""
    decided = outcome(report.decision)
    code, reason, message = None, None, None
    if isinstance(decided, Denied):
        code, reason, message = decided.code, decided.reason, decided.message
    part = expected.get("message")
    pairs = list(zip(decided.changes, record.by_name(report.request.roles, decided.changes), strict=True))
    return {
        "outcome": report.outcome,
        "code": code,
        "reason": reason,
        "message": part if part is not None and part in (message or "") else message,
        "changes": _changes(expected.get("changes") or [], pairs),
        "warnings": record.warnings(report.request, report.decision),
    }


def _changes(expected: list[dict[str, Any]], pairs: list[tuple[Change, Change]]) -> list[dict[str, Any]]:
    """Return the expected changes that were made, then those that nobody expected."""
    made = []
    for wanted in expected:
        if hit := next((pair for pair in pairs if any(_meets(wanted, change) for change in pair)), None):
            pairs.remove(hit)
            made.append(wanted)
    return [*made, *({"path": change.path, "from": change.before, "to": change.after} for _, change in pairs)]


def _meets(wanted: dict[str, Any], change: Change) -> bool:
    has = {"path": change.path, "from": change.before, "to": change.after, "rule": change.rule, "why": change.why}
    return all(
        unescape(str(value)) == unescape(change.path) if key == "path" else _same(value, has[key])
        for key, value in wanted.items()
    )


def _same(wanted: Any, found: Any) -> bool:
    """Return whether the values are equal, as amounts too: 4 is "4", and 0.5 is 500m."""
    if wanted == found:
        return True
    try:
        return parse(str(wanted)) == parse(str(found))
    except QuantityError:
        return False


def _lines(values: dict[str, Any]) -> Iterator[str]:
    """Yield the values as YAML, a change on one line."""
    for key, value in values.items():
        if isinstance(value, list):
            yield f"{key}:"
            yield from (f"- {json.dumps(item)}" for item in value)
        else:
            yield f"{key}: {json.dumps(value)}"


def _diff(expected: str, found: str) -> str:
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "expected", "found", n=2, lineterm="")
    return "\n".join(lines)
