"""docs/cli.md lists every finding of `doctor`, and each finding links to a chapter that there is."""

import re
from pathlib import Path

import pytest

from webhook.offline.findings import KINDS, Kind

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([\w-]+)` \| (error|warning) \| .+ \|$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_the_table_has_the_findings_of_the_code_in_their_order() -> None:
    chapter = (ROOT / "docs" / "cli.md").read_text().partition("\nAll findings:\n")[2]
    assert ROW.findall(chapter) == [(kind.id, kind.severity) for kind in KINDS]
    assert len({kind.id for kind in KINDS}) == len(KINDS) > 10


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_each_finding_leads_to_a_chapter(kind: Kind) -> None:
    file, _, anchor = kind.page.partition("#")
    headings = HEADING.findall((ROOT / file).read_text())
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
