"""Prints settings of Flyte 2 and attributes of flytectl as a policy."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from webhook.policy.flyte_file import FlyteFile
from webhook.policy.problems import to_problem
from webhook.policy.schema import Override
from webhook.policy.yaml_text import ProblemsError, read_all

SCOPE = ("domain", "project", "workflow", "task")


def imported(text: str, file: str, scope: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each document as an override, of that scope where it does not say its own; ProblemsError if it is none."""
    flyte = FlyteFile(file)
    overrides = []
    for document in read_all(text, file, strict=True, prepare=lambda _, node: flyte.override(node)):
        problems = list(document.problems)
        try:
            Override.model_validate(document.data)
        except ValidationError as error:
            problems += [to_problem(document, found, Override) for found in error.errors()]
        if problems:
            raise ProblemsError(file, problems)
        overrides.append({**scope, **document.data})
    return overrides


def as_policy(overrides: Iterable[Mapping[str, Any]]) -> str:
    """Return the overrides as the text of a policy; those without a scope are the platform's."""
    policy: dict[str, Any] = {}
    for override in overrides:
        if any(override.get(key) for key in SCOPE):
            policy.setdefault("overrides", []).append(override)
        else:
            platform = policy.setdefault("task_resources", {})
            for side, amounts in override.items():
                platform.setdefault(side, {}).update(amounts)
    return yaml.safe_dump(policy, sort_keys=False)
