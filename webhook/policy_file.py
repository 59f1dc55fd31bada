"""The policy file: YAML in the words of Flyte's own configuration, checked as a whole before it is used."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from webhook.policy import Devices, Policy, Scope
from webhook.policy_compile import Block, compiled, devices, k8s_of, kubernetes_name, override_block, platform_block
from webhook.policy_problems import located
from webhook.policy_schema import FLYTE_K8S_KEYS, FLYTE_PLUGINS, K8s, Override, Plugins, PolicyFile, fields
from webhook.yaml_text import Document, Path, Problem, ProblemsError, load_all

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
    documents = load_all(text, file, strict=True)
    if not documents:
        raise ProblemsError(file, [Problem(1, 1, "nothing in the file; write one policy, such as task_resources: …")])
    document, *attributes = documents
    errors, unused = _flyte_keys(document)
    problems = [*errors, *_twice(document)]
    content = _validated(PolicyFile, document, problems)
    further = [(it, override) for it in attributes if (override := _validated(Override, it, problems))]
    if content is None:
        raise ProblemsError(file, problems)
    platform, gpu = platform_block(document, content), devices(k8s_of(content))
    overrides = [override_block(document, ("overrides", i), it) for i, it in enumerate(content.overrides or ())]
    overrides += [override_block(it, (), override) for it, override in further]
    problems += [*_gpu_twice([platform, *overrides], gpu), *_misdirected(overrides)]
    if problems:
        raise ProblemsError(file, problems)
    policy = compiled(content, platform, overrides, digest(text))
    warnings = sorted([*unused, *_defaults_over_limits([platform, *overrides], policy), *_bounded(platform, policy)])
    return Loaded(policy, policy.digest, tuple(problem.at(file) for problem in warnings))


def _validated(kind: type[M], document: Document, problems: list[Problem]) -> M | None:
    """The content of the document, or further problems."""
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        problems += [located(document, found, kind) for found in error.errors()]
        return None


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
    """Overrides for nobody in particular, and those for the same tasks as another."""
    first: dict[tuple[int, Scope], Block] = {}
    for block in overrides:
        # Each Flyte has its own way to make labels of names, and two names may become one in either.
        keys = (1, block.scope.as_labels(1)), (2, block.scope.as_labels(2))
        same = next((first[key] for key in keys if key in first), None)
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


def _defaults_over_limits(blocks: Iterable[Block], policy: Policy) -> Iterator[Problem]:
    """Flyte clamps them, and so do we."""
    for block in blocks:
        limits = policy.settings_of(policy.matching(block.scope)).limits
        for key, amounts in block.amounts():
            for name, amount in amounts.items() if key != "limits" else ():
                most = limits.get(kubernetes_name(name, policy.devices))
                if amount and most and amount > most:
                    what = f"warning: {amount} is over the limit {most}, which is what tasks get"
                    yield block.document.problem((*block.paths[key], name), what)


def _bounded(platform: Block, policy: Policy) -> Iterator[Problem]:
    """A maximum without a default becomes one, as in a LimitRange; few will want that."""
    bounds = policy.settings_of(()).defaults.bounds
    for key in platform.content.limits or ():
        if (name := kubernetes_name(key, policy.devices)) in bounds:
            what = f"warning: no default; a container that states none gets all of {bounds[name]}, as request and limit"
            yield platform.document.problem((*platform.paths["limits"], key), what, at_key=True)
