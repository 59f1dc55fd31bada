"""Options that several commands have."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from webhook.api.version import NEWEST, Version, parse
from webhook.cli.inputs import Source
from webhook.shared.option_types import FILE

policy_option = click.option(
    "--policy", type=FILE, required=True, metavar="FILE",
    help="Defaults, maxima and tolerations, in the words of Flyte's task_resources and plugins.k8s.",
)  # fmt: skip
quotas_option = click.option(
    "--quotas", type=FILE, multiple=True, metavar="FILE",
    help="ResourceQuota manifests to check against, in memory: status.hard and status.used where given, "
    "else spec.hard and nothing used. Admitted Pods are charged. May be given several times.",
)  # fmt: skip
limit_ranges_option = click.option(
    "--limit-ranges", type=FILE, multiple=True, metavar="FILE",
    help="LimitRange manifests that the result is to stay within. May be given several times.",
)  # fmt: skip


class VersionType(click.ParamType[Version]):
    """The type of an option that takes a version of Kubernetes."""

    name = "VERSION"

    def convert(self, value: str | Version, param: click.Parameter | None, ctx: click.Context | None) -> Version:
        """Parse a Version; what is not one is a usage error."""
        try:
            return value if isinstance(value, Version) else parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


kubernetes_option = click.option(
    "--kubernetes", type=VersionType(), default=str(NEWEST), show_default=True, metavar="VERSION",
    help="The version of the API server, where none is there to say it: what spec.resources means changed with 1.37.",
)  # fmt: skip
mode_option = click.option(
    "--mode", type=click.Choice(["enforce", "warn", "audit"]),
    help="Decide in this mode, instead of those of the policy.",
)  # fmt: skip
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", show_default=True,
    help="yaml and json have everything.",
)  # fmt: skip


def source_option(kinds: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Take where the objects of a cluster come from, as the argument `source`; `kinds` are those in a dump of it."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "-f", "--filename", "files", multiple=True, type=click.Path(dir_okay=False, allow_dash=True),
            metavar="FILE",
            help=f"What `kubectl get {kinds} -A -o json` prints; - reads standard input. May be repeated.",
        )  # fmt: skip
        @click.option(
            "--kubeconfig", type=FILE, metavar="FILE", help="Read the cluster of its current context instead."
        )
        @click.option("-n", "--namespace", default="", metavar="NAME", help="This namespace alone.")
        @functools.wraps(command)
        def wrapped(files: tuple[str, ...], kubeconfig: Path | None, namespace: str, **others: Any) -> None:
            if bool(files) == bool(kubeconfig):
                raise click.UsageError("either -f FILE or --kubeconfig FILE is needed")
            command(source=Source(files, kubeconfig, namespace), **others)

        return wrapped

    return decorated


def fail_on_option(*default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Take what the exit code is 1 for."""
    return click.option(
        "--fail-on", type=click.Choice(["changed", "refused", "warning"]), multiple=True, default=default,
        callback=lambda _ctx, _param, given: {*given, "refused"} if given else given,
        show_default=True, help="Exit with 1 for a Pod that would be changed, in whatever mode, or for a "
        "warning about the policy, beside one that would be refused. May be repeated.",
    )  # fmt: skip
