"""Loads the policy file, YAML with the keys of Flyte's own configuration, and checks it as a whole."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from webhook.policy.compile import PolicyBlock, compile_policy, gpu_devices, k8s_of, override_block, platform_block
from webhook.policy.flyte_file import FlyteFile
from webhook.policy.json_schema import SURROUNDINGS
from webhook.policy.model import Devices, OverrideKey, Policy, TaskScope
from webhook.policy.problems import to_problem
from webhook.policy.schema import FLYTE_SECTIONS, K8s, Override, Plugins, PolicyFile, fields
from webhook.policy.spelling import NEARLY_THE_SAME, closest
from webhook.policy.warnings import find_warnings
from webhook.policy.yaml_text import Document, Path, Problem, ProblemsError, read_all

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A valid policy, and what is to be said about its file: `file:line:col: …` lines."""

    policy: Policy
    warnings: tuple[str, ...] = ()
    left_to_flyte: tuple[str, ...] = ()  # keys of Flyte's that are not used here; the warnings count them

    def warnings_on(self, day: str) -> tuple[str, ...]:
        """Return the warnings, and those about exemptions and overrides that have ended on that day, YYYY-MM-DD."""
        return (*self.warnings, *self.policy.expired(day))


def load(text: str, file: str) -> LoadedPolicy:
    """Return the policy in `text`, or raise ProblemsError with all its errors; `file` is for messages only.

    Documents after the first are task-resource-attributes of flytectl; each is one more override.
    """
    flyte = FlyteFile(file)
    documents = read_all(text, file, strict=True, prepare=flyte.policy)
    if not documents:
        raise ProblemsError(file, [Problem(1, 1, "nothing in the file; write one policy, such as task_resources: …")])
    document, *attributes = documents
    problems = [*flyte.problems, *_platform_twice(document), *(problem for it in documents for problem in it.problems)]
    content = _validated(PolicyFile, document, (), problems)
    # Each is validated by itself, so that an error elsewhere does not hide conflicts between overrides.
    overrides = [*_overrides(document), *_attribute_overrides(attributes, problems)]
    problems += _override_problems(overrides)
    blocks = [platform_block(document, content), *overrides] if content else overrides
    gpu = gpu_devices(k8s_of(content) if content else K8s())
    problems += _gpu_twice(blocks, gpu)
    if content is None or problems:
        raise ProblemsError(file, list(_deduplicated(problems, documents)))
    policy = compile_policy(content, blocks[0], overrides, digest(text))
    unused = dict(_left_to_flyte(document))
    warnings = sorted({*flyte.warnings, *_misspelled(document, unused), *find_warnings(blocks, policy)})
    of_plugins = [document.problem(path, "left to Flyte", at_key=True) for path, near in unused.items() if not near]
    left = sorted({*flyte.left, *of_plugins})
    return LoadedPolicy(
        policy, tuple(problem.at(file) for problem in (*warnings, *_counted(left))), tuple(it.at(file) for it in left)
    )


def _validated(kind: type[M], document: Document, path: Path, problems: list[Problem]) -> M | None:
    """Return the content at the path; add to `problems` and return None where it is not valid."""
    try:
        return kind.model_validate(document.at(path))
    except ValidationError as error:
        problems += [to_problem(document, found, kind) for found in error.errors()]
        return None


def _deduplicated(problems: Iterable[Problem], documents: Iterable[Document]) -> Iterator[Problem]:
    """Drop a second problem of a scalar that YAML misreads, unless it says what is accepted instead."""
    misread = {problem for document in documents for problem in document.problems}
    places = {(problem.line, problem.column) for problem in misread}
    for problem in dict.fromkeys(problems):
        if problem in misread or (problem.line, problem.column) not in places or "is not accepted" in problem.text:
            yield problem


def _overrides(document: Document) -> Iterator[PolicyBlock]:
    """Yield the valid overrides; problems of the others are reported with the rest of the file."""
    listed = document.data.get("overrides") if isinstance(document.data, dict) else None
    for index in range(len(listed) if isinstance(listed, list) else 0):
        if override := _validated(Override, document, ("overrides", index), []):
            yield override_block(document, ("overrides", index), override)


def _attribute_overrides(documents: Iterable[Document], problems: list[Problem]) -> Iterator[PolicyBlock]:
    """Yield the overrides in documents of flytectl."""
    for document in documents:
        if override := _validated(Override, document, (), problems):
            yield override_block(document, (), override)


def digest(text: str) -> str:
    """Return the first 12 hex digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the policy file, for editors and CI."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    schema["$defs"]["Surroundings"] = SURROUNDINGS
    schema["patternProperties"] = {f"^({'|'.join(sorted(FLYTE_SECTIONS))})$": {"$ref": "#/$defs/Surroundings"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "flyte-admission policy",
    }


def _left_to_flyte(document: Document) -> Iterator[tuple[Path, str]]:
    """Yield the keys of Flyte's plugins that are not used here, each with the key that it may be a misspelling of."""
    sections: tuple[tuple[type[BaseModel], Path], ...] = ((Plugins, ("plugins",)), (K8s, ("plugins", "k8s")))
    for section, path in sections:
        for key in _keys(document.data, *path):
            if key not in fields(section):
                yield (*path, key), closest(key, fields(section), NEARLY_THE_SAME)


def _misspelled(document: Document, unused: Mapping[Path, str]) -> Iterator[Problem]:
    for path, meant in unused.items():
        if meant:
            what = f"warning: not used here; did you mean {meant}?"
            yield document.problem(path, what, at_key=True)


def _counted(left: Sequence[Problem]) -> Iterator[Problem]:
    """Yield one warning for all keys that are left to Flyte, at the first of them."""
    if left:
        keys = "1 key is" if len(left) == 1 else f"{len(left)} keys are"
        yield replace(left[0], text=f"warning: {keys} left to Flyte and not used here; `policy check -v` lists them")


def _platform_twice(document: Document) -> list[Problem]:
    """Report platform resources that are given in more than one of Flyte's shapes."""
    outer = _keys(document.data, "task_resource_defaults")
    problems = []
    if outer and "task_resources" in _keys(document.data):
        what = "given in task_resources too; keep one of them"
        problems.append(document.problem(("task_resource_defaults",), what, at_key=True))
    if "task_resources" in outer and ("defaults" in outer or "limits" in outer):
        what = "given beside defaults or limits; keep one of them"
        problems.append(document.problem(("task_resource_defaults", "task_resources"), what, at_key=True))
    return problems


def _gpu_twice(blocks: Iterable[PolicyBlock], gpu: Devices) -> Iterator[Problem]:
    """Report defaults of both `gpu` and the resource that it stands for."""
    for block in blocks:
        for key, names in block.defaults():
            if "gpu" in names and gpu.name in names:
                what = "the same resource as gpu; keep one of them"
                yield block.document.problem((*block.paths[key], gpu.name), what, at_key=True)


def _override_problems(overrides: Iterable[PolicyBlock]) -> Iterator[Problem]:
    """Report overrides for all tasks, two for the same tasks, and modes that task authors could choose."""
    first: dict[tuple[int, OverrideKey], PolicyBlock] = {}
    for block in overrides:
        # Each generation of Flyte makes labels of names in its own way, and in either two names can become equal.
        own = block.key  # one that ends may stand on one that ends later, or never
        keys = [(1, own._replace(scope=labels)) for labels in own.scope.labels(1)]
        keys += [(2, own._replace(scope=labels)) for labels in own.scope.labels(2)]
        same = next((first[key] for key in keys if key in first), None)
        if block.content.mode and (block.scope.workflow or block.scope.task):
            what = "not for a workflow or task, whose labels its author can set; give a project or domain alone"
            yield block.document.problem(block.paths["mode"], what, at_key=True)
        if own.of_operators and block.content.max_replicas:
            what = "for jobs, which Flyte creates, not operators; give it without made_by"
            yield block.document.problem(block.paths["max_replicas"], what, at_key=True)
        if own.scope == TaskScope() and not (block.content.org or own.of_operators):
            what = "for all tasks; give project, domain, workflow or task, or org: flyte if all are meant"
            yield block.document.problem(block.paths[""], what)
        elif same:
            until = f" until {own.until}" if own.until else ""
            what = f"for the same tasks as line {_line(same)}, {same.key}{until}; join the two"
            yield block.document.problem(block.paths[""], what)
        else:
            first |= dict.fromkeys(keys, block)


def _line(block: PolicyBlock) -> int:
    return block.document.problem(block.paths[""], "").line


def _keys(data: Any, *path: str | int) -> list[str]:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return list(data) if isinstance(data, dict) else []
