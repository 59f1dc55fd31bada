"""docs/architecture.md names the packages that there are, and each file that it sends its readers to."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_map_has_every_package_from_the_top_to_the_bottom() -> None:
    named = re.findall(r"^\| `webhook\.(\w+)` \|", PAGE, re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "webhook").glob("*/__init__.py")}
    assert set(named) == packages


def test_every_file_it_names_is_there() -> None:
    files = re.findall(r"`((?:webhook|manifests|tests|docs)/[\w./-]+)`", PAGE)
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_module_it_names_is_there() -> None:
    packages = "|".join(path.parent.name for path in (ROOT / "webhook").glob("*/__init__.py"))
    modules = re.findall(rf"`((?:{packages})\.[a-z_]+)`", PAGE)
    assert modules
    assert [name for name in modules if not (ROOT / "webhook" / f"{name.replace('.', '/')}.py").exists()] == []


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| ([\w -]+) \| ", PAGE.partition("## Glossary")[2], re.MULTILINE)[1:]
    assert len(words) > 40
    assert words == sorted(words, key=str.lower)
