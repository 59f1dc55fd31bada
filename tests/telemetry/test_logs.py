"""A line is short JSON, whatever is logged, and writing it waits for nobody."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest

from webhook.rules.findings import Change
from webhook.telemetry import logs


def test_a_librarys_error_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    raised = (ValueError, ValueError("no such thing"), None)
    logs.LibraryHandler().handle(
        logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, "failed %s", ("twice",), raised)
    )
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["logger"]) == ("error", "failed twice", "uvicorn.error")
    assert line["traceback"] == "ValueError: no such thing"


def test_a_librarys_warning_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.LibraryHandler().handle(logging.LogRecord("asyncio", logging.WARNING, __file__, 1, "slow", (), None))
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["logger"]) == ("warning", "slow", "asyncio")
    assert "traceback" not in line


def test_what_json_cannot_say_is_told_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.info("listening", at=ValueError("x"))
    assert json.loads(capsys.readouterr().err)["at"] == "x"


LONG: Mapping[str, object] = {
    "a text": "x" * 10**6,
    "characters that JSON writes as six": "\x01" * 10**5,
    "a list of texts": ["y" * 100] * 10**4,
    "lists in lists": [[["z" * 10] * 50] * 50] * 50,
    "an object of many": {f"key {number}": number for number in range(10**4)},
    "an object of long keys": {"k" * 10**5: {"k" * 10**5: 1}},
    "objects in objects": {
        f"{x}": {f"{y}": {f"{z}": "value" for z in range(20)} for y in range(20)} for x in range(20)
    },
    "structs": [Change("/spec", None, "v" * 1000, "fill", "why")] * 100,
}


@pytest.mark.parametrize("value", LONG.values(), ids=LONG.keys())
def test_a_long_line_is_shortened_and_says_so(capsys: pytest.CaptureFixture[str], value: object) -> None:
    logs.warning("something", uid="u", value=value)
    written = capsys.readouterr().err
    assert len(written.encode()) <= 4096
    line = json.loads(written)
    assert (line["level"], line["event"], line["truncated"]) == ("warning", "something", True)


def test_of_a_long_text_both_ends_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.error("failed", traceback="the first line" + "\n" * 10**5 + "ValueError: the last line", uid="u")
    line = json.loads(capsys.readouterr().err)
    assert line["traceback"].startswith("the first line")
    assert line["traceback"].endswith("ValueError: the last line")
    assert (line["uid"], line["truncated"]) == ("u", True)


def test_a_line_of_4096_bytes_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    logs.info("event", value="")
    room = 4096 - len(capsys.readouterr().err)
    logs.info("event", value="x" * room)
    assert json.loads(capsys.readouterr().err)["value"] == "x" * room


@pytest.mark.parametrize("fields", [{"value": "\ud800"}, {"value": float("nan"), "name": "\udfff"}])
def test_what_json_cannot_say_does_not_keep_the_event_from_the_log(
    capsys: pytest.CaptureFixture[str], fields: Mapping[str, object]
) -> None:
    logs.info("event", **fields)
    logs.info("an event of \ud800")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["truncated"], second["event"]) == ("event", True, r"an event of \ud800")


@pytest.mark.parametrize(("seconds", "written"), [(10**20, "9999-12-31T23:59:59"), (-(10**10), "1970-01-01T00:00:00")])
def test_a_clock_that_is_wrong_keeps_nothing_from_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: int, written: str
) -> None:
    monkeypatch.setattr(logs, "time_ns", lambda: seconds * 10**9)
    logs.info("event")
    assert json.loads(capsys.readouterr().err)["time"].startswith(written)


def written_to(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> IO[str]:
    """stderr, from now on."""
    stream = os.fdopen(descriptor, "w")
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def test_what_a_pipe_does_not_take_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as log, written_to(writing, monkeypatch):
        for number in range(500):
            logs.info("event", number=number, text="x" * 1000)
        before = log.read(1 << 20)
        logs.info("read again")
        lines = [json.loads(line) for line in (before + log.read(1 << 20)).splitlines()]
    kept = [line for line in lines if line["event"] == "event"]
    assert [line["number"] for line in kept] == list(range(len(kept)))
    assert [(line["event"], line.get("count")) for line in lines[len(kept) :]] == [
        ("log lines dropped", 500 - len(kept)),
        ("read again", None),
    ]
    assert 0 < len(kept) < 500


def test_a_file_and_a_terminal_take_every_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "log"
    with written_to(os.open(file, os.O_CREAT | os.O_WRONLY), monkeypatch):
        for _ in range(500):
            logs.info("event", text="x" * 1000)
    assert len(file.read_text().splitlines()) == 500
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, written_to(theirs, monkeypatch):
        logs.info("event")
        assert json.loads(screen.read(4096))["event"] == "event"


def test_without_stderr_nothing_is_written_and_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with written_to(writing, monkeypatch):
        os.close(reading)
        logs.info("nobody reads")
    logs.info("it is closed")
    monkeypatch.setattr("sys.stderr", None)
    logs.info("there is none")


@pytest.fixture(autouse=True)
def _nothing_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that were dropped in one test are not counted in the next."""
    monkeypatch.setattr(logs, "_stderr", type(logs._stderr)())
