"""What commands print: tables, and progress while something takes long."""

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import click
import yaml

from webhook.policy.file import LoadedPolicy
from webhook.shared.clock import today

T = TypeVar("T")
WIDTH: Final = 80  # columns, where there is no terminal
SHORTEST: Final = 12  # columns of the first column
SLOW: Final = {"JSON": 50_000_000, "YAML": 1_000_000}  # characters that take about a second to parse
DELAY: Final = 1.0  # seconds until progress is shown
EVERY: Final = 100  # items


def width() -> int:
    """Return the columns of the terminal."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def wrapped(text: str, first: str = "  ") -> list[str]:
    """Return the text in lines that fit the terminal, indented but for the first one, whose indent is `first`."""
    return textwrap.wrap(
        text, width(), initial_indent=first, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


class Styled(str):
    """A line with colours, whose text is printable."""

    __slots__ = ()


def styled(line: str, **style: Any) -> Styled:
    """Return the line in this style of click.style."""
    return Styled(click.style(_printable(line), **style))


def echo(lines: Iterable[str]) -> None:
    """Write the lines to stdout: other people's names and texts are in them, which must not reach the terminal raw."""
    click.echo("\n".join(line if isinstance(line, Styled) else _printable(line) for line in lines))


def echo_message(text: str) -> None:
    """Write a message of one or more lines to stderr, in the same way."""
    click.echo("\n".join(map(_printable, text.split("\n"))), err=True)


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line)


def echo_data(data: Any, output: str) -> None:
    """Write the data to stdout as `json` or `yaml`."""
    click.echo(json.dumps(data, indent=2) if output == "json" else yaml.safe_dump(data, sort_keys=False).rstrip())


def exit_by(outcomes: Collection[str], fail_on: Collection[str], loaded: LoadedPolicy) -> None:
    """End with 1 if there is an outcome, or a warning of the policy, that --fail-on names."""
    found = {*outcomes, *(["warning"] if loaded.warnings_on(today()) else [])}
    if found.intersection(fail_on):
        raise click.exceptions.Exit(1)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], indent: str = "") -> Iterator[str]:
    """Yield the lines of a table: the first column to the left, others right.

    A first cell that is too long for its line has lines of its own above the others, so that it can be read and copied.
    """
    cells = [[*head], *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = width() - len(indent) - sum(size + 2 for size in widths[1:])
    widths[0] = min(widths[0], max(room, SHORTEST))
    for number, (first, *others) in enumerate(cells):
        shown = first
        if len(first) > widths[0]:
            yield from (indent + part for part in textwrap.wrap(first, width() - len(indent)))
            shown = ""
        line = indent + "".join(
            [shown.ljust(widths[0]), *(f"  {cell:>{size}}" for cell, size in zip(others, widths[1:], strict=True))]
        )
        yield line.rstrip() if number else styled(line.rstrip(), bold=True)


class Progress:
    """A count on a terminal, for what takes over a second; `what` has {} for the number."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._start, self._count, self._shown = clock(), 0, False

    def step(self) -> None:
        """Count one more."""
        self._count += 1
        if self._count % EVERY == 0 and sys.stderr.isatty() and self._clock() - self._start > DELAY:
            click.echo(f"\r{self._what.format(self._count)}", err=True, nl=False)
            self._shown = True

    def end(self) -> None:
        """Show the last number, if one has been shown."""
        if self._shown:
            click.echo(f"\r{self._what.format(self._count)}", err=True)


def announce_parsing(file: str, text: str) -> None:
    """Say on a terminal that a text takes long to parse, during which nothing can be counted."""
    kind = "JSON" if text.lstrip()[:1] in ("{", "[") else "YAML"
    if len(text) > SLOW[kind] and sys.stderr.isatty():
        hint = "; kubectl's -o json is read much faster" if kind == "YAML" else ""
        click.echo(f"reading {len(text) // 1_000_000} MB of {kind} in {file} …{hint}", err=True)


def progress(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield the items, and count them on a terminal."""
    shown = Progress(what)
    for item in items:
        yield item
        shown.step()
    shown.end()
