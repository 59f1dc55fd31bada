"""docs/cli.md lists every finding of `doctor`, each of which links to a chapter, and every key of a policy test."""

import re
from pathlib import Path

import pytest

from webhook.offline.cases import CaseFile, Expected, ExpectedChange
from webhook.offline.findings import FINDING_KINDS, FindingKind

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([\w-]+)` \| (error|warning) \| .+ \|$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_the_table_has_the_findings_of_the_code_in_their_order() -> None:
    chapter = (ROOT / "docs" / "cli.md").read_text().partition("\nAll findings:\n")[2]
    assert ROW.findall(chapter) == [(kind.id, kind.severity) for kind in FINDING_KINDS]
    assert len({kind.id for kind in FINDING_KINDS}) == len(FINDING_KINDS) > 10


@pytest.mark.parametrize("kind", FINDING_KINDS, ids=lambda kind: kind.id)
def test_each_finding_leads_to_a_chapter(kind: FindingKind) -> None:
    file, _, anchor = kind.page.partition("#")
    headings = HEADING.findall((ROOT / file).read_text())
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_of_a_policy_test_has_the_keys_of_the_code() -> None:
    chapter = (ROOT / "docs" / "cli.md").read_text().partition("| key | what it is |\n")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| (`.+?`) \| (.+) \|$", chapter, re.MULTILINE))
    named = [key for row in rows for key in re.findall(r"`([\w.]+)`", row)]
    assert sorted(named) == sorted([*CaseFile.model_fields, *(f"expect.{key}" for key in Expected.model_fields)])
    of_change = {field.alias or key for key, field in ExpectedChange.model_fields.items()}
    assert set(re.findall(r"`(\w+)`", rows["`expect.changes`"])) == of_change
