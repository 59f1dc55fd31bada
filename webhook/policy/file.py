"""The policy file: YAML in the words of Flyte's own configuration, checked as a whole before it is used."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from webhook.policy.compile import Block, compiled, devices, k8s_of, override_block, platform_block
from webhook.policy.model import Devices, Policy, Scope
from webhook.policy.problems import located
from webhook.policy.schema import FLYTE_K8S_KEYS, FLYTE_PLUGINS, K8s, Override, Plugins, PolicyFile, fields
from webhook.policy.warnings import oddities
from webhook.policy.yaml_text import Document, Path, Problem, ProblemsError, read_all

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy that can be used, and what its file says in vain: `file:line:col: warning: …` lines."""

    policy: Policy
    digest: str  # of the text, to tell one policy from another
    warnings: tuple[str, ...] = ()


def load(text: str, file: str) -> Loaded:
    """The policy in `text`; ProblemsError has everything that is wrong with it. `file` is for messages only.

    Documents after the first are those of flytectl for task-resource-attributes, and count as further overrides.
    """
    documents = read_all(text, file, strict=True)
    if not documents:
        raise ProblemsError(file, [Problem(1, 1, "nothing in the file; write one policy, such as task_resources: …")])
    document, *attributes = documents
    errors, unused = _flyte_keys(document)
    problems = [*errors, *_twice(document), *(problem for it in documents for problem in it.problems)]
    content = _validated(PolicyFile, document, (), problems)
    # Each by itself, so that what is wrong elsewhere hides nothing of what they have to do with each other.
    overrides = [*_overrides(document), *_attributes(attributes, problems)]
    problems += _misdirected(overrides)
    blocks = [platform_block(document, content), *overrides] if content else overrides
    gpu = devices(k8s_of(content) if content else K8s())
    problems += _gpu_twice(blocks, gpu)
    if content is None or problems:
        raise ProblemsError(file, list(_once(problems, documents)))
    policy = compiled(content, blocks[0], overrides, digest(text))
    warnings = sorted({*unused, *oddities(blocks, policy)})
    return Loaded(policy, policy.digest, tuple(problem.at(file) for problem in warnings))


def _validated(kind: type[M], document: Document, path: Path, problems: list[Problem]) -> M | None:
    """The content of the document, or of what stands at the path, or further problems."""
    try:
        return kind.model_validate(document.at(path))
    except ValidationError as error:
        problems += [located(document, found, kind) for found in error.errors()]
        return None


def _once(problems: Iterable[Problem], documents: Iterable[Document]) -> Iterator[Problem]:
    """Without a second complaint of a scalar that YAML has misread, unless it says what is accepted instead."""
    misread = {problem for document in documents for problem in document.problems}
    places = {(problem.line, problem.column) for problem in misread}
    for problem in dict.fromkeys(problems):
        if problem in misread or (problem.line, problem.column) not in places or "; write '" in problem.text:
            yield problem


def _overrides(document: Document) -> Iterator[Block]:
    """The overrides that are good in themselves; what is wrong with others is told with the rest of the file."""
    listed = document.data.get("overrides") if isinstance(document.data, dict) else None
    for index in range(len(listed) if isinstance(listed, list) else 0):
        if override := _validated(Override, document, ("overrides", index), []):
            yield override_block(document, ("overrides", index), override)


def _attributes(documents: Iterable[Document], problems: list[Problem]) -> Iterator[Block]:
    """The documents of flytectl."""
    for document in documents:
        if override := _validated(Override, document, (), problems):
            yield override_block(document, (), override)


def digest(text: str) -> str:
    """What tells one policy file from another, short enough for people."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the policy file, for editors and CI."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PolicyFile.model_json_schema(by_alias=True),
        "title": "flyte-admission policy",
    }


def _flyte_keys(document: Document) -> tuple[list[Problem], list[Problem]]:
    """Keys of Flyte's sections that mean nothing here: those that Flyte does not know either, and its own."""
    errors, warnings = [], []
    sections: tuple[tuple[type[BaseModel], frozenset[str], Path], ...] = (
        (Plugins, FLYTE_PLUGINS, ("plugins",)),
        (K8s, FLYTE_K8S_KEYS, ("plugins", "k8s")),
    )
    for section, known, path in sections:
        own = fields(section)
        for key in _keys(document.data, *path):
            if key in known:
                warnings.append(document.problem((*path, key), "warning: left to Flyte, not used here", at_key=True))
            elif key not in own:
                what = f"unknown key, to Flyte too; used here: {', '.join(own)}"
                errors.append(document.problem((*path, key), what, at_key=True))
    return errors, warnings


def _twice(document: Document) -> list[Problem]:
    """The platform's resources may be given in one of the shapes that Flyte has for them."""
    outer = _keys(document.data, "task_resource_defaults")
    problems = []
    if outer and "task_resources" in _keys(document.data):
        what = "given in task_resources too; keep one of them"
        problems.append(document.problem(("task_resource_defaults",), what, at_key=True))
    if "task_resources" in outer and ("defaults" in outer or "limits" in outer):
        what = "given beside defaults or limits; keep one of them"
        problems.append(document.problem(("task_resource_defaults", "task_resources"), what, at_key=True))
    return problems


def _gpu_twice(blocks: Iterable[Block], gpu: Devices) -> Iterator[Problem]:
    """`gpu` is the same as the resource it stands for."""
    for block in blocks:
        for key, amounts in block.amounts():
            if "gpu" in amounts and gpu.name in amounts:
                what = "the same resource as gpu; keep one of them"
                yield block.document.problem((*block.paths[key], gpu.name), what, at_key=True)


def _misdirected(overrides: Iterable[Block]) -> Iterator[Problem]:
    """Overrides for nobody in particular, those for the same tasks as another, and modes that authors could choose."""
    first: dict[tuple[int, Scope], Block] = {}
    for block in overrides:
        # Each Flyte has its own way to make labels of names, and two names may become one in either.
        keys = (1, block.scope.as_labels(1)), (2, block.scope.as_labels(2))
        same = next((first[key] for key in keys if key in first), None)
        if block.content.mode and (block.scope.workflow or block.scope.task):
            what = "not for a workflow or task, whose labels its author can set; give a project or domain alone"
            yield block.document.problem(block.paths["mode"], what, at_key=True)
        if block.scope == Scope():
            what = "for all tasks; give project, domain, workflow or task, or write it in task_resources"
            yield block.document.problem(block.paths[""], what)
        elif same:
            what = f"for the same tasks as line {_line(same)}, {same.scope}; join the two"
            yield block.document.problem(block.paths[""], what)
        else:
            first |= dict.fromkeys(keys, block)


def _line(block: Block) -> int:
    return block.document.problem(block.paths[""], "").line


def _keys(data: Any, *path: str | int) -> list[str]:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return list(data) if isinstance(data, dict) else []
