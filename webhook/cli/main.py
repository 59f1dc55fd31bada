"""The program: its commands, each imported only when it, or the list of all, is used."""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

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
    ours, found = Path(__file__).resolve().parents[2] / "certs", find_spec("certs")
    if not found or Path(found.origin or "").resolve().parent != ours:
        raise click.UsageError(
            f"another package hides the `certs` of flyte-admission here: {found and found.origin}; install "
            "flyte-admission in an environment of its own, with pipx or uv tool install"
        )
    if os.environ.get("NO_COLOR"):
        context.color = False


def kubectl_plugin() -> None:
    """Run as `kubectl flyte-admission`."""
    main(prog_name="kubectl flyte-admission")
