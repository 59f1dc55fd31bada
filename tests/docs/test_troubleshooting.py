"""docs/troubleshooting.md has messages that the programs really print."""

import re

import pytest

from tests.docs.reference import EVENTS
from tests.manifests import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
HEADINGS = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
# Not messages but what people see happen.
SYMPTOMS = {"My task has less than I asked for", "Pods of Flyte are not changed at all"}
ANSWERS = "\n".join(file.read_text() for file in (ROOT / "tests" / "golden").glob("*/response.json"))
SOURCES = "\n".join(
    file.read_text() for package in ("webhook", "certs") for file in sorted((ROOT / package).rglob("*.py"))
)


@pytest.mark.parametrize("heading", [heading for heading in HEADINGS if heading not in SYMPTOMS])
def test_each_message_is_one_that_is_printed(heading: str) -> None:
    texts = {part.strip() for part in heading.split("…")}
    assert texts <= set(EVENTS) or any(all(part in text for part in texts) for text in (ANSWERS, SOURCES))


def test_the_symptoms_are_chapters() -> None:
    assert set(HEADINGS) >= SYMPTOMS
