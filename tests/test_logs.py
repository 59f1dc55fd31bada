"""What libraries log comes in the form of our own lines."""

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from webhook import logs

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def test_a_librarys_error_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    raised = (ValueError, ValueError("no such thing"), None)
    logs.LibraryHandler().handle(
        logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, "failed %s", ("twice",), raised)
    )
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["logger"]) == ("error", "failed twice", "uvicorn.error")
    assert line["traceback"] == "ValueError: no such thing"


def test_what_json_cannot_say_is_told_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.info("listening", at=ValueError("x"))
    assert json.loads(capsys.readouterr().err)["at"] == "x"


def test_lines_that_wait_for_each_other_are_written_in_one_go_and_later_ones_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BufferedWriter(Unbuffered(written))))
    with logs.together():
        logs.info("first")
        logs.info("second")
        assert written.getvalue() == b""
    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == ["first", "second"]
    logs.info("third")
    assert written.getvalue().count(b"\n") == 3


class Unbuffered(io.RawIOBase):
    """What is behind a file's buffer."""

    def __init__(self, written: io.BytesIO) -> None:
        self._written = written

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        return self._written.write(data)
