"""The program: its names, its commands, and how a shell completes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.process import PATIENCE
from webhook.cli import main as program
from webhook.cli.main import COMMANDS, main

BIN = Path(sys.executable).parent
SCRIPTS = Path(program.__file__).parent / "scripts"


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
        [sys.executable, SCRIPTS / "kubectl-flyte_admission", "review"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
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


KUBECTL_COMPLETION = [sys.executable, str(SCRIPTS / "kubectl_complete-flyte_admission")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rev"], ["review\tShow what would happen to the Pods of a file.", ":4"]),
        (["policy", "sh"], ["show\tPrint what FILE amounts to for the tasks...", ":4"]),
        (["review", "-o", "j"], ["json", ":4"]),
        (["review", "--policy", ""], [":0"]),
        (["nothing", "x"], [":4"]),
    ],
)
def test_kubectl_is_told_what_completes_the_plugin(words: list[str], expected: list[str]) -> None:
    command = [*KUBECTL_COMPLETION, *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert (run.stdout.splitlines(), run.stderr) == (expected, "")


def test_without_a_word_kubectl_gets_all_commands() -> None:
    run = subprocess.run(KUBECTL_COMPLETION, capture_output=True, text=True, check=True)
    assert [line.partition("\t")[0] for line in run.stdout.splitlines()] == [*sorted(COMMANDS), ":4"]


def started(path: Path) -> subprocess.CompletedProcess[str]:
    """The program where this folder is on the path of modules."""
    return subprocess.run(
        [sys.executable, SCRIPTS / "flyte-admission", "--help"], env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["webhook", "certs"])
@pytest.mark.parametrize("file", ["{}.py", "{}/__init__.py"])
def test_a_module_that_hides_one_of_its_packages_is_reported_at_once(tmp_path: Path, name: str, file: str) -> None:
    other = tmp_path / file.format(name)
    other.parent.mkdir(exist_ok=True)
    other.touch()
    run = started(tmp_path)
    hidden = f"Error: another module hides the package {name} of flyte-admission: {other}; install flyte-admission in"
    assert (run.returncode, run.stderr.startswith(hidden), run.stdout) == (1, True, "")


@pytest.mark.parametrize("name", ["webhook", "certs"])
@pytest.mark.parametrize("file", ["{}.py", "{}/__init__.py"])
@pytest.mark.parametrize(
    "command", [[BIN / "flyte-admission"], [sys.executable, "-P", "-m", "webhook"]], ids=["script", "-P"]
)
def test_a_module_in_the_current_folder_does_not_matter(
    tmp_path: Path, name: str, file: str, command: list[str | Path]
) -> None:
    other = tmp_path / file.format(name)
    other.parent.mkdir(exist_ok=True)
    other.write_text("raise SystemExit('not the program')")
    run = subprocess.run(
        [*command, "certs", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (run.returncode, run.stderr, run.stdout.startswith("Usage: flyte-admission certs")) == (0, "", True)


def test_a_distribution_that_has_files_in_one_of_its_packages_is_reported_at_once(tmp_path: Path) -> None:
    for name in ("webhook", "certs"):
        (tmp_path / name).symlink_to(SCRIPTS.parents[2] / name)
    for name, record in {"flyte_admission-0.1.0": "webhook/__init__.py,,", "other-1.0": "other/webhook/x.py,,"}.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "RECORD").write_text(record)
    assert started(tmp_path).returncode == 0
    (tmp_path / "other-1.0.dist-info" / "RECORD").write_text("other/x.py,,\nwebhook/x.py,,\n")
    run = started(tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: other-1.0 has files in the package webhook of flyte-admission; install")


def test_what_the_removal_of_another_distribution_took_away_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "webhook" / "cli").mkdir(parents=True)
    root = str(SCRIPTS.parents[2])  # where an editable installation has the files
    without = f"import runpy, sys; sys.path.remove({root!r}); runpy.run_path({str(SCRIPTS / 'flyte-admission')!r})"
    run = subprocess.run(
        [sys.executable, "-c", without], env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith("Error: files of the package webhook of flyte-admission are missing; install")
