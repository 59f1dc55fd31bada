"""The program is installed as docs/cli.md says, into an environment of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.rendering import run
from tests.manifests import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with its commands."""
    block = re.search(
        r"^```sh\n(uv tool install .*?)^```$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert block
    folder = tmp_path_factory.mktemp("tool")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": path,
        "UV_TOOL_DIR": str(folder / "tools"),
        "UV_TOOL_BIN_DIR": str(folder / "bin"),
    }
    subprocess.run(["/bin/sh", "-euc", block[1]], cwd=ROOT, env=environment, check=True)
    return folder / "bin"


def test_it_has_the_program_and_the_plugin_of_kubectl(installed: Path) -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for name, shown in {
        "flyte-admission": "flyte-admission",
        "kubectl-flyte_admission": "kubectl flyte-admission",
    }.items():
        assert run(str(installed / name), "--version") == f"{shown}, version {version[1]}\n"
    assert run(str(installed / "kubectl_complete-flyte_admission"), "rev").startswith("review\t")


def test_its_dependencies_are_the_locked_ones(installed: Path) -> None:
    python = (installed / "flyte-admission").resolve().parent / "python"
    frozen = run(str(Path(sys.executable).parent / "uv"), "pip", "freeze", "--python", python)
    locked = set(re.findall(r"^([\w.-]+==[^ ;]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    found = {line.lower() for line in frozen.splitlines() if not line.startswith("flyte-admission")}
    assert found
    assert found <= {line.lower() for line in locked}


def test_a_module_of_the_same_name_beside_the_reader_hides_nothing(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "webhook.py").touch()
    command = [str(installed / "flyte-admission"), "policy", "schema"]
    assert subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL, check=False).returncode == 0
