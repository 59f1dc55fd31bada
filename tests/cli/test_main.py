"""The program: its names, its commands, and how a shell completes them."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.process import PATIENCE
from webhook.cli.main import COMMANDS, main

BIN = Path(sys.executable).parent


def test_the_help_lists_every_command_with_a_sentence() -> None:
    listed = CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split(maxsplit=1)[0] for line in listed] == sorted(COMMANDS)
    assert all(line.endswith(".") for line in listed)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_stand_on_lines_of_their_own(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"]).stdout
    assert "\\b" not in shown
    assert all(line.startswith("    ") for line in shown.splitlines() if line.strip().startswith("flyte-admission "))


def test_a_command_that_there_is_not_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["revue"])
    assert (result.exit_code, "No such command 'revue'" in result.stderr) == (2, True)


def test_kubectl_finds_the_program_as_a_plugin_that_names_itself_so() -> None:
    run = subprocess.run(
        [BIN / "kubectl-flyte_admission", "review"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (run.returncode, run.stderr.splitlines()[0]) == (2, "Usage: kubectl flyte-admission review [OPTIONS]")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_completes(shell: str) -> None:
    environment = {"_FLYTE_ADMISSION_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin"}
    script = subprocess.run(
        [BIN / "flyte-admission"], capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment
    ).stdout
    assert "_FLYTE_ADMISSION_COMPLETE" in script


@pytest.mark.parametrize(
    ("words", "count", "expected"),
    [
        ("flyte-admission re", 1, "plain,review"),
        ("flyte-admission policy sh", 2, "plain,show"),
        ("flyte-admission review --fi", 2, "plain,--filename"),
        ("flyte-admission review -o j", 3, "plain,json"),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, count: int, expected: str) -> None:
    environment = {
        "_FLYTE_ADMISSION_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count),
        "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    run = subprocess.run(
        [BIN / "flyte-admission"], capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment
    )
    assert run.stdout.splitlines() == [expected]


def test_another_package_that_hides_certs_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "certs.py").touch()
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path[:0] = {[str(tmp_path), root]}; from webhook.cli.main import main; main(['review'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert run.returncode == 2
    assert f"another package hides the `certs` of flyte-admission here: {tmp_path / 'certs.py'}" in run.stderr
