"""`flyte-admission policy`: check, show, import, schema."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from webhook.cli.inputs import read_limit_ranges, read_policy, read_text, usable
from webhook.cli.options import limit_ranges_option
from webhook.cli.output import echo_data, echo_message
from webhook.policy.contradictions import contradictions
from webhook.policy.file import json_schema
from webhook.policy.imported import as_policy, imported
from webhook.policy.model import TaskScope
from webhook.policy.show import as_data, render
from webhook.shared.clock import today
from webhook.shared.option_types import FILE


@click.group(short_help="Check, show or describe policy files.")
def policy() -> None:
    """Check a policy file, show what it amounts to, import settings of Flyte, print the JSON Schema."""


def policy_file(command: Callable[..., None]) -> Callable[..., None]:
    """Take the file as an argument, or by --policy as the other commands do."""

    @click.argument("file", type=FILE, required=False)
    @click.option("--policy", "option", type=FILE, metavar="FILE", help="The same as the argument FILE.")
    @functools.wraps(command)
    def wrapped(file: Path | None, option: Path | None, **others: Any) -> None:
        chosen = file or option
        if chosen is None or (file and option):
            raise click.UsageError("one policy file is needed: FILE, or --policy FILE")
        command(chosen, **others)

    return wrapped


@policy.command()
@policy_file
@click.option("-v", "--verbose", is_flag=True, help="List the keys that are left to Flyte, too.")
@limit_ranges_option
def check(file: Path, *, verbose: bool, limit_ranges: tuple[Path, ...]) -> None:
    """Report everything that is wrong with FILE as file:line:col, and exit with 2; warnings alone exit with 0.

    Exemptions that have ended are among the warnings, and LimitRanges that contradict the policy.
    """
    loaded = read_policy(file)
    for line in loaded.left_to_flyte if verbose else ():
        echo_message(line)
    contradicting = [*contradictions(loaded.policy, read_limit_ranges(limit_ranges), today())]
    for line in contradicting:
        echo_message(line)
    count = len(loaded.warnings_on(today())) + len(contradicting)
    click.echo(f"{file}: good" + (f", with {count} warning{'s'[: count > 1]}" if count else ""))


@policy.command()
@policy_file
@click.option("-p", "--project", default="", metavar="PROJECT", help="A project of Flyte's.")
@click.option("-d", "--domain", default="", metavar="DOMAIN", help="One of its domains.")
@click.option(
    "-w", "--workflow", default="", metavar="WORKFLOW", help="The full name; only Pods of Flyte 1 say theirs."
)
@click.option("-t", "--task", default="", metavar="TASK", help="The full name, as in Flyte.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="json has the overrides too.")  # fmt: skip
def show(file: Path, output: str, **names: str) -> None:
    """Print what FILE amounts to for the tasks of a project, a domain, a workflow, a task, or for all tasks.

    For all tasks, a table lists the overrides. What is printed is a policy file again.

    Resources are under the names that Kubernetes uses; behind each value is the line of FILE that it comes from.
    """
    policy, scope = read_policy(file).policy, TaskScope(**names)
    if output == "json":
        echo_data(as_data(policy, scope, today()), output)
    else:
        click.echo(render(policy, scope, today()))


@policy.command("import")
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@click.option("-p", "--project", default="", metavar="PROJECT", help="The project that the settings are of.")
@click.option("-d", "--domain", default="", metavar="DOMAIN", help="The domain that they are of.")
def import_settings(files: tuple[Path, ...], project: str, domain: str) -> None:
    """Print what FILE... become in a policy: settings of Flyte 2, and task-resource-attributes of flytectl.

    Settings of Flyte 2 do not say in the file whose they are: give the same --domain and --project as to
    `flyte edit settings --from-file FILE`, or write them into it. Those of the organisation are task_resources.
    """
    scope = {key: name for key, name in (("project", project), ("domain", domain)) if name}
    read = usable(lambda: [imported(read_text(file), str(file), scope) for file in files])
    for warning in (line for each in read for line in each.warnings):
        echo_message(warning)
    click.echo(as_policy([override for each in read for override in each.overrides]), nl=False)


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors and CI."""
    click.echo(json.dumps(json_schema(), indent=2))
