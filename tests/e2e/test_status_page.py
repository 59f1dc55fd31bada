"""The status page in a browser: it works on a telephone and on a large screen, without scripts."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.process import EXAMPLES, examples, running

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [360, 1200])
def test_chromium_shows_the_page(tmp_path: Path, width: int) -> None:
    command = ["chromium", *FLAGS, f"--user-data-dir={tmp_path}", f"--window-size={width},900", "--dump-dom"]
    with running(*examples()) as server:
        server.client().review("/mutate", json.loads((EXAMPLES / "review.json").read_text()))
        address = server.listening["health"]
        dom = subprocess.run([*command, f"{address}/status"], check=True, capture_output=True, timeout=60).stdout
    assert "flytesnacks-development" in dom.decode()
