"""Prints settings of Flyte 2 and attributes of flytectl as a policy."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from webhook.policy.flyte_file import FlyteFile
from webhook.policy.problems import to_problem
from webhook.policy.schema import Override
from webhook.policy.yaml_text import Problem, ProblemsError, read_all

SCOPE = ("domain", "project", "workflow", "task")


class Imported(NamedTuple):
    """The documents of a file as overrides, and what is to be said about them: `file:line:col: …` lines."""

    overrides: list[dict[str, Any]]
    warnings: list[str]


def imported(text: str, file: str, scope: Mapping[str, str]) -> Imported:
    """Return each document as an override, of that scope where it does not say its own; ProblemsError if it is none."""
    flyte = FlyteFile(file)
    overrides = []
    problems: list[Problem] = []
    for document in read_all(text, file, strict=True, prepare=flyte.overrides):
        problems += document.problems
        try:
            Override.model_validate(document.data)
            overrides.append({**scope, **document.data})
        except ValidationError as error:
            problems += [to_problem(document, found, Override) for found in error.errors()]
    if problems := [*flyte.problems, *problems]:
        raise ProblemsError(file, problems)
    return Imported(overrides, [problem.at(file) for problem in flyte.warnings])


def as_policy(overrides: Iterable[Mapping[str, Any]]) -> str:
    """Return the overrides as the text of a policy; defaults and limits without a scope are the platform's."""
    policy: dict[str, Any] = {}
    for override in overrides:
        stated = {key: value for key, value in override.items() if key != "org"}
        if stated.keys() <= {"defaults", "limits"}:
            platform = policy.setdefault("task_resources", {})
            for side, amounts in stated.items():
                platform.setdefault(side, {}).update(amounts or {})
        else:
            is_for_all = not any(stated.get(key) for key in SCOPE)
            policy.setdefault("overrides", []).append({"org": "flyte", **stated} if is_for_all else stated)
    return yaml.safe_dump(policy, sort_keys=False)
