"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent

# What lands is judged by the same examples each time; new ones are looked for wherever else the tests run.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write response.json of each golden case anew")
