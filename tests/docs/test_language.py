"""Plain English: phrases of a translation that must not come back, and what to write instead.

A list of words finds only what it names. It is here for what has been wrong before; add to it what you correct.
"""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.manifests import MANIFESTS, ROOT
from webhook.cli.main import main

INSTEAD = {
    r"\bfor ever\b": "forever, or keeps retrying",
    r"\bis no (?:quantity|number|JSON|YAML|object|list|map|date|name|certificate|key)\b": "is not a valid …",
    r"\b(?:is|are|was|were|be|been) told\b|\btells? (?:it|the reason|the domain|of it)\b": "report, say, show",
    r"(?:^|[.;:] )Who (?:may|can|is|has|does)\b": "Anyone who …, or name the reader: you",
    r"(?:^|[.;:] )What would\b": "name the thing: a change that would be made",
    r"\bas (?:it|they) (?:was|were) made\b": "unchanged",
    r"\b(?:is|are) to (?:be|have|say|decide)\b": "must, or should",
    r"\bnot to be had\b|\bto be had\b": "not available",
    r"\b[Mm]end(?:s|ed|ing)?\b": "repair, fix",
    r"\bin force\b": "in use",
    r"\blikewise\b": "also, in the same way",
    r"\bamid\b": "during",
    r"\bstands? in for\b": "replace",
    r"\bkeeps? nobody from\b|\bnobody's\b": "no one's, or say who is affected",
    r"\bgoes for\b": "applies to",
    r"\bhas us \w+\b": "name who does it",
    r"\bwith us\b|\bto us\b|\bfor us\b": "the webhook",
    r"\b(?:Pods?|one|two|both|label|CA|folder) of ours\b": "our …, or the webhook's",
    r"\bas (?:it|they) came\b": "unchanged",
    r"\bwhosoever\b|\bwhichever way\b": "whoever, however",
}
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(file for file in MANIFESTS.rglob("*") if file.suffix in {".yaml", ".tpl", ".txt", ".md"}),
]


def wrong(text: str) -> list[str]:
    """Each phrase to replace, with its line and what to write instead."""
    return [
        f"line {text.count(chr(10), 0, found.start()) + 1}: {found[0].strip()!r}: write {instead}"
        for pattern, instead in INSTEAD.items()
        for found in re.finditer(pattern, text, re.MULTILINE)
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_that_people_read_are_in_plain_english(file: Path) -> None:
    assert wrong(file.read_text()) == []


def commands(group: click.Command, *path: str) -> list[tuple[str, ...]]:
    """The command and all below it."""
    below = group.commands.items() if isinstance(group, click.Group) else ()
    return [path, *(found for name, command in below for found in commands(command, *path, name))]


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_help_is_in_plain_english(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert wrong(" ".join(result.output.split())) == []


def test_a_phrase_is_found_with_its_line() -> None:
    assert wrong("Fine.\nThe Pod is told why.") == ["line 2: 'is told': write report, say, show"]
