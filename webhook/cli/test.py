"""`flyte-admission test`."""

import json
from collections.abc import Collection, Iterator
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import click

from webhook.cli.inputs import USAGE_ERROR, fail
from webhook.cli.options import fail_on_option, mode_option
from webhook.cli.output import echo, styled
from webhook.offline import cases
from webhook.offline.cases import GOLDEN, Case
from webhook.policy.settings import Mode
from webhook.policy.yaml_text import Problem, ProblemsError
from webhook.shared.clock import today as this_day

FIRST: Final = "first.case.yaml"
ANSWER: Final = "response.json"  # of a case that is a folder


class Result(NamedTuple):
    """What became of a case: `difference` is empty where it passed, `problem` where it could be read."""

    name: str
    difference: str = ""
    problem: str = ""


@click.command(short_help="Test policies: what is decided against what is expected.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[PATH]...")
@mode_option
@fail_on_option("refused")
@click.option("--today", type=click.DateTime(["%Y-%m-%d"]), default=this_day, metavar="YYYY-MM-DD",
              callback=lambda _, __, day: day.date().isoformat(),
              help="The day for cases that state none, because exemptions end; by default today.")  # fmt: skip
@click.option("-o", "--output", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True,
              help="junit is XML for CI.")  # fmt: skip
@click.option("--init", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write a first case into DIR, and test nothing.")  # fmt: skip
def test(paths: tuple[Path, ...], output: str, init: Path | None, **options: Any) -> None:
    """Decide about the objects of test cases, and compare with what is expected.

    A case is a document of a file named case.yaml, *.case.yaml, or *.case.yml, or a folder with policy.yaml,
    review.json, response.json, and perhaps quotas.yaml and limit-ranges.yaml. Each PATH is a file or a folder that is
    searched; by default the present one. --mode is for cases that state none. A case that expects nothing fails by
    --fail-on, and `--fail-on warning` fails cases whose policy has warnings.

    Exit code: 0 all passed, 1 some failed, 2 a case that cannot be read, or a PATH without one.

    \b
    Try it:
      flyte-admission test --init policy-tests
      flyte-admission test policy-tests
    """
    if init:
        _write_first(init)
        return
    found = {path: [*_results(path, **options)] for path in paths or (Path(),)}
    if empty := [str(path) for path, own in found.items() if not own]:
        fail(f"no case in {', '.join(empty)}: none of case.yaml, *.case.yaml, *.case.yml, response.json")
    results = [result for own in found.values() for result in own]
    shown = {"text": _as_text, "json": _as_json, "junit": _as_junit}[output]
    echo(shown(results))
    if any(result.problem for result in results):
        raise click.exceptions.Exit(USAGE_ERROR)
    if any(result.difference for result in results):
        raise click.exceptions.Exit(1)


def _results(path: Path, mode: Mode | None, fail_on: Collection[str], today: str) -> Iterator[Result]:
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        try:
            for case in () if hidden else _cases(file):
                found = cases.difference(case, today, mode, fail_on)
                if "warning" in fail_on and (warnings := case.loaded.warnings_on(case.today or today)):
                    found = "\n".join([*warnings, *([found] if found else [])])
                yield Result(case.name, found)
        except ProblemsError as error:
            yield Result(str(file), problem=str(error))


def _cases(file: Path) -> Iterator[Case]:
    if f".{file.name}".endswith((".case.yaml", ".case.yml")):
        yield from cases.of_file(file, _read)
    elif file.name == ANSWER and any((file.parent / name).is_file() for name in GOLDEN if name != ANSWER):
        yield cases.of_folder(file.parent, _read, [each.name for each in file.parent.iterdir()])


def _read(file: PurePath) -> str:
    """Return the text of a file; ProblemsError if it cannot be read, which spoils its case alone."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ProblemsError(str(file), [Problem(1, 1, error.strerror or str(error))]) from error
    except UnicodeDecodeError as error:
        raise ProblemsError(str(file), [Problem(1, 1, "not UTF-8 text")]) from error


def _write_first(directory: Path) -> None:
    """Write the first case."""
    file = directory / FIRST
    text = files("webhook.offline").joinpath(FIRST).read_text(encoding="utf-8")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    click.echo(f"{file}: written; run flyte-admission test {directory}")


def _as_text(results: list[Result]) -> Iterator[str]:
    failed, unread = (sum(bool(getattr(each, key)) for each in results) for key in ("difference", "problem"))
    for result in results:
        if result.difference:
            yield styled(f"FAILED {result.name}", fg="red", bold=True)
            yield from (f"  {line}" for line in result.difference.splitlines())
        elif result.problem:
            yield styled(f"CANNOT BE READ {result.name}", fg="red", bold=True)
            yield from (f"  {line}" for line in result.problem.splitlines())
    counts = [(len(results) - failed - unread, "passed"), (failed, "failed"), (unread, "cannot be read")]
    yield ", ".join(f"{count} {what}" for count, what in counts if count or what == "passed")


def _as_json(results: list[Result]) -> Iterator[str]:
    data = [
        {
            "case": it.name,
            "passed": not (it.difference or it.problem),
            "difference": it.difference,
            "problem": it.problem,
        }
        for it in results
    ]
    yield from json.dumps(data, indent=2).splitlines()


def _as_junit(results: list[Result]) -> Iterator[str]:
    suite = Element("testsuite", name="flyte-admission", tests=str(len(results)),
                    failures=str(sum(bool(it.difference) for it in results)),
                    errors=str(sum(bool(it.problem) for it in results)))  # fmt: skip
    for result in results:
        case = SubElement(suite, "testcase", classname="flyte-admission", name=result.name)
        for kind, text in (("failure", result.difference), ("error", result.problem)):
            if text:
                SubElement(case, kind).text = text
    indent(suite)
    yield from tostring(suite, encoding="unicode").splitlines()
