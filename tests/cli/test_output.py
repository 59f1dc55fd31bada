"""What commands print on a terminal, and what where there is none."""

import io
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import pod, quota, run
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


HOSTILE = "\x1b[2Jgone\rnext\x9b\u202e"
POLICY = "task_resources: {limits: {cpu: 4}}\nover_limit: {cpu: refuse}"


@pytest.mark.parametrize(
    "command",
    [
        ["scan", "--details"], ["scan", "-o", "json"], ["scan", "-o", "yaml"], ["review"], ["quota"], ["doctor"],
        ["quota", "-n", f"{HOSTILE}-development"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_names_of_others_do_not_reach_the_terminal_raw(tmp_path: Path, command: list[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    namespace = f"{HOSTILE}-development"
    made = pod(HOSTILE, "6", namespace)
    made["spec"]["containers"][0]["name"] = HOSTILE
    unread = pod(f"{HOSTILE}-2", namespace=namespace) | {"status": {"conditions": 7}}
    items = [made, quota(None, namespace, HOSTILE, **{"limits.cpu": "4", f"limits.{HOSTILE}": "1"})]
    result = run(
        *command, "--policy", policy, "-f", "-", stdin=items[:1] if command == ["review"] else [*items, unread]
    )
    assert "gone" in result.stdout
    for line in result.output.splitlines():
        assert line.isprintable()


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


@pytest.mark.parametrize(
    ("stderr", "text", "expected"),
    [
        (Terminal(), "a: 1\n" * 400_000, "reading 2 MB of YAML in dump …; kubectl's -o json is read much faster\n"),
        (Terminal(), "{" + " " * 60_000_000, "reading 60 MB of JSON in dump …\n"),
        (Terminal(), "{" + " " * 2_000_000, ""),
        (Terminal(), "a: 1\n", ""),
        (io.StringIO(), "a: 1\n" * 400_000, ""),
    ],
    ids=["YAML", "JSON", "short JSON", "short YAML", "no terminal"],
)
def test_a_text_that_takes_long_to_parse_is_announced_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, text: str, expected: str
) -> None:
    monkeypatch.setattr("sys.stderr", stderr)
    output.announce_parsing("dump", text)
    assert stderr.getvalue() == expected


def test_progress_passes_the_items_on() -> None:
    assert [*output.progress("abc", "{}")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("80", [f"{'NAME':23}  PODS", "a-name-of-24-characters     1"]),
        ("24", [f"{'NAME':18}  PODS", "a-name-of-24-characters", f"{'':18}     1"]),
    ],
)
def test_a_name_that_is_too_long_for_its_line_is_not_cut(
    monkeypatch: pytest.MonkeyPatch, columns: str, expected: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = [*output.table(["NAME", "PODS"], [("a-name-of-24-characters", 1)])]
    assert [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines] == expected
