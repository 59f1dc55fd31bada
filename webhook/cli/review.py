"""`flyte-admission review`."""

import json
from pathlib import Path

import click
import yaml

from webhook.cli.inputs import read_ledger, read_policy, read_text, usable
from webhook.cli.options import policy_option, quotas_option
from webhook.offline import review as offline
from webhook.shared.clock import today


@click.command(short_help="Show what would happen to the Pods of a file.")
@policy_option
@quotas_option
@click.option("-f", "--filename", required=True, type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE",
              help="A Pod, a List, several YAML documents, or an AdmissionReview; - reads standard input.")  # fmt: skip
@click.option("-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", show_default=True,
              help="yaml and json have the whole resulting Pod.")  # fmt: skip
@click.pass_context
def review(context: click.Context, policy: Path, quotas: tuple[Path, ...], filename: str, output: str) -> None:
    """Show what the webhook would do with the Pods of a file, without a server.

    Shown are each change (path, from, to, why), the refusal, and the resulting Pod. A manifest gets the API
    server's own defaults first; an AdmissionReview is taken as it is.

    Exit code: 0 unchanged or changed, 1 a Pod refused, 2 usage or unreadable input.

    \b
    Try it:
      flyte-admission review --policy examples/policy.yaml -f examples/pods.yaml
      kubectl get pod POD -o yaml | flyte-admission review --policy policy.yaml -f -
    """
    loaded, ledger = read_policy(policy), read_ledger(quotas)
    name = "stdin" if filename == "-" else filename
    text = read_text(filename)
    reports = usable(lambda: offline.reports(text, name, loaded.policy, ledger, today()))
    if output == "text":
        click.echo("\n".join(map(offline.as_text, reports)))
    elif output == "json":
        click.echo(json.dumps([offline.as_data(report) for report in reports], indent=2))
    else:
        click.echo(yaml.safe_dump_all(map(offline.as_data, reports), sort_keys=False), nl=False)
    context.exit(1 if any(report.outcome == "refused" for report in reports) else 0)
