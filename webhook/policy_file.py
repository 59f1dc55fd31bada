"""The policy file: YAML in the words of Flyte's own configuration, checked as a whole before it is used."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from webhook import pod
from webhook.policy import Defaults, Policy, Settings, secondary
from webhook.policy_schema import (
    FLYTE_K8S_KEYS,
    FLYTE_PLUGINS,
    SPELLINGS,
    K8s,
    Plugins,
    PolicyFile,
    Section,
    TaskResources,
    Toleration,
    fields,
)
from webhook.resource_list import ResourceList
from webhook.yaml_text import Document, Path, Problem, ProblemsError, load_all


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy that can be used, and what its file says in vain: `file:line:col: warning: …` lines."""

    policy: Policy
    digest: str  # of the text, to tell one policy from another
    warnings: tuple[str, ...] = ()


def load(text: str, file: str) -> Loaded:
    """The policy in `text`; ProblemsError has everything that is wrong with it. `file` is for messages only."""
    documents = load_all(text, file, strict=True)
    if len(documents) != 1:
        found = f"{len(documents)} documents" if documents else "nothing"
        raise ProblemsError(file, [Problem(1, 1, f"{found} in the file; write one policy, such as task_resources: …")])
    document = documents[0]
    errors, unused = _flyte_keys(document)
    problems = [*errors, *_twice(document)]
    try:
        content = PolicyFile.model_validate(document.data)
    except ValidationError as error:
        problems += [_located(document, found) for found in error.errors()]
    else:
        problems += _gpu_twice(document, content)
    if problems:
        raise ProblemsError(file, problems)
    warnings = sorted([*unused, *_defaults_over_limits(document, content)])
    return Loaded(_compile(content), digest(text), tuple(problem.at(file) for problem in warnings))


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


def _compile(content: PolicyFile) -> Policy:
    k8s = _k8s(content)
    resources, _ = _task_resources(content)
    defaults = _kubernetes(resources.defaults, k8s)
    own = content.secondary_defaults
    platform = Settings(
        defaults=Defaults(defaults),
        secondary_defaults=secondary(defaults, None if own is None else _kubernetes(own, k8s)),
        limits=_kubernetes(resources.limits, k8s),
        tolerations=_tolerations(k8s),
    )
    return Policy(platform)


def _k8s(content: PolicyFile) -> K8s:
    return (content.plugins and content.plugins.k8s) or K8s()


def _task_resources(content: PolicyFile) -> tuple[TaskResources, Path]:
    """The one block of the file that has them, and where it stands."""
    outer = content.task_resource_defaults
    if outer is not None and outer.task_resources is not None:
        return outer.task_resources, ("task_resource_defaults", "task_resources")
    if outer is not None and content.task_resources is None:
        return outer, ("task_resource_defaults",)
    return content.task_resources or TaskResources(), ("task_resources",)


def _kubernetes(amounts: ResourceList | None, k8s: K8s) -> ResourceList:
    """The amounts under Kubernetes' names; a zero says nothing."""
    names = {**SPELLINGS, "gpu": k8s.gpu_resource_name}
    return {names.get(key, key): amount for key, amount in (amounts or {}).items() if amount}


def _tolerations(k8s: K8s) -> dict[str, tuple[pod.Toleration, ...]]:
    configured = k8s.resource_tolerations or {}
    by_resource: dict[str, list[Toleration]] = {}
    for entry in configured if isinstance(configured, list) else [configured]:
        for name, tolerations in entry.items():
            by_resource.setdefault(name, []).extend(tolerations if isinstance(tolerations, list) else [tolerations])
    return {name: tuple(_toleration(t) for t in tolerations) for name, tolerations in by_resource.items()}


def _toleration(toleration: Toleration) -> pod.Toleration:
    return pod.Toleration(
        key=toleration.key or None,
        operator=toleration.operator or None,
        value=toleration.value or None,
        effect=toleration.effect or None,
        toleration_seconds=toleration.tolerationSeconds,
    )


def _located(document: Document, found: ErrorDetails) -> Problem:
    path = tuple(step for step in found["loc"] if not (isinstance(step, str) and step.startswith("<")))
    at_key = found["type"] == "extra_forbidden" or path[-1:] == ("[key]",)
    return document.problem(path[:-1] if path[-1:] == ("[key]",) else path, _what(found), at_key=at_key)


def _what(found: ErrorDetails) -> str:
    """A pydantic error in the words of this file: what it is, and what would be accepted."""
    value = found["input"]
    match found["type"]:
        case "extra_forbidden":
            return f"unknown key; accepted: {', '.join(_accepted(found['loc'][:-1]))}"
        case "value_error":
            return str(found["ctx"]["error"])
        case "literal_error":
            return f"{value!r} is not accepted; write {found['ctx']['expected']}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{_kind(value)} where a map is expected; write `key: value` lines below it"
        case "string_type":
            return f"{_kind(value)} where a text is expected; write it in quotes"
        case "int_type":
            return f"{_kind(value)} where a whole number is expected"
        case "greater_than_equal" | "less_than":
            return f"{value} is beyond 64 bits; write a whole number of seconds"
    return found["msg"]


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a map"
        case list():
            return "a list"
        case bool():
            return "a boolean"
    return repr(value)


def _accepted(path: Path) -> Iterable[str]:
    """The keys of the section at the path."""
    section: type[BaseModel] = PolicyFile
    for step in path:
        if step == "<one>" or isinstance(step, int):
            section = Toleration
            continue
        field = next((f for name, f in section.model_fields.items() if step in (f.alias, name)), None)
        nested = [kind for kind in get_args(field.annotation) if isinstance(kind, type)] if field else []
        section = next((kind for kind in nested if issubclass(kind, BaseModel)), section)
    return fields(section)


def _flyte_keys(document: Document) -> tuple[list[Problem], list[Problem]]:
    """Keys of Flyte's sections that mean nothing here: those that Flyte does not know either, and its own."""
    errors, warnings = [], []
    sections: tuple[tuple[type[Section], frozenset[str], Path], ...] = (
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


def _gpu_twice(document: Document, content: PolicyFile) -> Iterator[Problem]:
    """`gpu` is the same as the resource it stands for."""
    name = _k8s(content).gpu_resource_name
    for path, amounts in _amounts(content):
        if amounts and "gpu" in amounts and name in amounts:
            yield document.problem((*path, name), "the same resource as gpu; keep one of them")


def _amounts(content: PolicyFile) -> Iterator[tuple[Path, ResourceList | None]]:
    """Every block of amounts, and where it stands."""
    resources, path = _task_resources(content)
    yield (*path, "defaults"), resources.defaults
    yield (*path, "limits"), resources.limits
    yield ("secondary_defaults",), content.secondary_defaults


def _keys(data: Any, *path: str | int) -> list[str]:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return list(data) if isinstance(data, dict) else []


def _defaults_over_limits(document: Document, content: PolicyFile) -> Iterator[Problem]:
    k8s = _k8s(content)
    limits = _kubernetes(_task_resources(content)[0].limits, k8s)
    for path, amounts in _amounts(content):
        for key, amount in (amounts or {}).items():
            (name,) = _kubernetes({key: amount}, k8s) or (key,)
            if name in limits and amount > limits[name]:
                what = f"warning: {amount} is over the limit {limits[name]}, which is what tasks get"
                yield document.problem((*path, key), what)
