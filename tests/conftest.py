"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent

# What lands is judged by the same examples each time; new ones are looked for wherever else the tests run.
# A busy machine is no fault of the code's.
settings.register_profile(
    "ours", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("ours")

E2E, FLYTE = TESTS / "e2e", TESTS / "e2e" / "flyte"
LEFT_OUT = {  # what does not run unless the command line asks for it
    E2E: "left out: tests/e2e, which takes a control plane; make e2e runs it",
    FLYTE: "left out: tests/e2e/flyte, which takes a real Flyte too; make flyte runs it",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write response.json of each golden case anew")


def asks_for(folder: Path, config: pytest.Config) -> bool:
    """Whether the command line names the folder, or something in it."""
    paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    return any(path.resolve().is_relative_to(folder) for path in paths)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path in LEFT_OUT and not asks_for(collection_path, config) else None


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [why for folder, why in LEFT_OUT.items() if not asks_for(folder, config) and not asks_for(FLYTE, config)]


@pytest.hookimpl(optionalhook=True)  # with -p no:xdist there is no such hook
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    return 0 if asks_for(E2E, config) else None  # each worker would start a control plane of its own
