"""What commands print on a terminal, and what where there is none."""

import io
import os
import pty
import subprocess
from collections.abc import Iterator

import pytest

from tests.process import EXAMPLES, PATIENCE, PROGRAM
from webhook.cli import output

SCAN = [*PROGRAM, "scan", "--policy", str(EXAMPLES / "policy.yaml"), "-f", str(EXAMPLES / "pods.yaml")]
BOLD = b"\x1b[1m"


def on_a_terminal(**environment: str) -> bytes:
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(SCAN, stdout=theirs, env=inherited | environment, timeout=PATIENCE, check=True)
    os.close(theirs)
    shown = b"".join(_until_the_end(ours))
    os.close(ours)
    return shown


def _until_the_end(descriptor: int) -> Iterator[bytes]:
    try:
        while data := os.read(descriptor, 4096):
            yield data
    except OSError:  # EIO: the other side is closed
        return


def test_colour_is_for_terminals_whose_user_wants_it() -> None:
    assert BOLD in on_a_terminal()
    assert b"\x1b" not in on_a_terminal(NO_COLOR="1")
    assert b"\x1b" not in subprocess.run(SCAN, capture_output=True, timeout=PATIENCE, check=True).stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stderr", "seconds", "expected"),
    [
        (Terminal(), 0.02, "\rread 100 Pods\rread 200 Pods\rread 250 Pods\n"),
        (Terminal(), 0.001, ""),
        (io.StringIO(), 0.02, ""),
    ],
)
def test_progress_is_shown_on_a_terminal_after_a_second(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, seconds: float, expected: str
) -> None:
    monkeypatch.setattr("sys.stderr", stderr)
    ticks = iter(range(1000))
    shown = output.Progress("read {} Pods", clock=lambda: next(ticks) * seconds * 100)
    for _ in range(250):
        shown.step()
    shown.end()
    assert stderr.getvalue() == expected


def test_progress_passes_the_items_on() -> None:
    assert [*output.progress("abc", "{}")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("80", [f"{'NAME':23}  PODS", "a-name-of-24-characters     1"]),
        ("20", [f"{'NAME':14}  PODS", "a-name-of-24-…     1"]),
    ],
)
def test_a_table_is_cut_in_its_first_column(monkeypatch: pytest.MonkeyPatch, columns: str, expected: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = [*output.table(["NAME", "PODS"], [("a-name-of-24-characters", 1)])]
    assert [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines] == expected
