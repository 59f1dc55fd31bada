"""What the documents say is what the program does: every console block is run, every policy is checked."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from webhook.policy.file import load

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    return [
        (f"{document.name}-{number}", match[2])
        for document in DOCUMENTS
        for number, match in enumerate(BLOCK.finditer(document.read_text()), 1)
        if match[1] == kind
    ]


def executed(command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(  # noqa: S602 - the documents' own commands, as a reader's shell runs them
        command, shell=True, cwd=ROOT, env=os.environ | {"PATH": path, "MAKEFLAGS": "-s"}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(command: str) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", executed(command).stdout)


@pytest.mark.parametrize("block", [pytest.param(text, id=name) for name, text in blocks("console")])
def test_a_command_prints_what_the_document_shows(block: str) -> None:
    for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = session.partition("\n")
        assert run(command).rstrip() == expected.rstrip()


def test_what_the_readme_offers_to_try_works() -> None:
    readme = DOCUMENTS[0].read_text()
    (block,) = re.findall(r"^## Try it$.*?^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    commands = [line.partition("#")[0].strip() for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        if not command.startswith("make setup"):
            done = executed(command)
            assert done.returncode == 0, done.stdout


def test_the_readme_is_short() -> None:
    assert len(DOCUMENTS[0].read_text().splitlines()) <= 120


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in blocks("yaml") if "task_resources" in yaml.safe_load(text)]
)
def test_a_policy_of_the_documents_loads_without_a_warning(text: str) -> None:
    assert load(text, "policy.yaml").warnings == ()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_to_a_heading_lead_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)#([^)]+)\)", document.read_text())
    assert [link for link in links if link[1] not in anchors(document.parent / link[0])] == []


def anchors(document: Path) -> list[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_the_shipped_json_schema_is_the_one_the_program_prints() -> None:
    shipped = (ROOT / "examples" / "policy.schema.json").read_text()
    assert shipped == run("flyte-admission policy schema"), "the policy has changed; run make schema"
