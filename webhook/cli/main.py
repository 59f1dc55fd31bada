"""The program: its commands, each imported only when it, or the list of all, is used."""

import os
import sys
from importlib import import_module
from typing import Final

import click
from click.shell_completion import ShellComplete

COMMANDS: Final = {
    "certs": "certs.__main__:main",
    "doctor": "webhook.cli.doctor:doctor",
    "explain": "webhook.cli.explain:explain",
    "policy": "webhook.cli.policy:policy",
    "quota": "webhook.cli.quota:quota",
    "review": "webhook.cli.review:review",
    "scan": "webhook.cli.scan:scan",
    "serve": "webhook.cli.serve:serve",
    "test": "webhook.cli.test:test",
}


class Commands(click.Group):
    """The commands of the program, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the help."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(
    cls=Commands, context_settings={"auto_envvar_prefix": "FLYTE_ADMISSION", "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="flyte-admission")
@click.pass_context
def main(context: click.Context) -> None:
    """Complete, cap and check the Pods of Flyte tasks as a Kubernetes admission webhook.

    Each option can also be given in the environment: FLYTE_ADMISSION_SERVE_POLICY is --policy of serve.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


def kubectl_plugin() -> None:
    """Run as `kubectl flyte-admission`."""
    main(prog_name="kubectl flyte-admission")


def kubectl_completion() -> None:
    """Print what completes the arguments of `kubectl flyte-admission`, as kubectl asks its plugins for it.

    Each line is a word and its help. The last is a ShellCompDirective of Cobra: 4 for these words alone, 0 for files.
    """
    *words, incomplete = sys.argv[1:] or [""]
    found = ShellComplete(main, {}, "kubectl flyte-admission", "").get_completions(words, incomplete)
    plain = [it for it in found if it.type == "plain"]
    for it in plain:
        click.echo(f"{it.value}\t{it.help}" if it.help else it.value)
    click.echo(":4" if plain or not found else ":0")
