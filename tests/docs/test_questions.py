"""The fifteen questions of an admin: each has a chapter with a command, and every command is executed somewhere."""

import re

import pytest

from tests.docs.test_readme import BLOCK, ROOT

DOCS = ROOT / "docs"
# What each chapter has to be about; the commands of `console` blocks are run by test_readme, their answers compared.
QUESTIONS = (
    "all Pods of my cluster", "changed or refused last night", "uses up the quota", "eight GPUs", "exempt a namespace",
    "policy in CI", "Flyte 2, Ray, Spark and Kubeflow", "webhook is down", "dashboard and alerts",
    "upgrade, roll back, and uninstall", "versions", "licence", "task authors see", "kinds of GPUs", "add a rule",
)  # fmt: skip
CHAPTERS = re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", (DOCS / "questions.md").read_text(), re.MULTILINE)


def test_there_are_fifteen_each_about_what_admins_ask() -> None:
    assert [subject for subject, (title, _) in zip(QUESTIONS, CHAPTERS, strict=True) if subject not in title] == []


@pytest.mark.parametrize("chapter", [text for _, text in CHAPTERS], ids=QUESTIONS)
def test_each_has_a_command_that_is_executed_and_leads_further(chapter: str) -> None:
    blocks = BLOCK.findall(chapter)
    assert any(kind == "console" for kind, _ in blocks)
    assert "](" in chapter
    # For a cluster: `make e2e` executes those of install.md.
    installing = (DOCS / "install.md").read_text().splitlines()
    assert [line for kind, text in blocks if kind == "sh" for line in text.splitlines() if line not in installing] == []
