"""What libraries log comes in the form of our own lines."""

import json
import logging

import pytest

from webhook import logs


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
