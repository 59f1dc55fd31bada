"""`flyte-admission review`."""

from pathlib import Path
from typing import Any

import click
import yaml

from webhook.cli.inputs import read_ledger, read_policy, read_texts, usable
from webhook.cli.options import (
    fail_on_option,
    kubernetes_option,
    limit_ranges_option,
    mode_option,
    output_option,
    policy_option,
    quotas_option,
)
from webhook.cli.output import echo, echo_data, echo_message, exit_by
from webhook.offline import manifests
from webhook.offline import review as offline
from webhook.shared.clock import today


@click.command(short_help="Show what would happen to the Pods of a file.")
@policy_option
@quotas_option
@limit_ranges_option
@kubernetes_option
@click.option("-f", "--filename", "files", required=True, multiple=True, metavar="FILE",
              type=click.Path(dir_okay=False, allow_dash=True),
              help="A Pod, a job, a List, several YAML documents, or an AdmissionReview; - reads standard input. "
              "May be repeated.")  # fmt: skip
@click.option("-n", "--namespace", default="", metavar="NAME", help="The namespace of quotas that state none.")
@mode_option
@fail_on_option("refused")
@output_option
def review(policy: Path, quotas: tuple[Path, ...], files: tuple[str, ...], output: str, **options: Any) -> None:
    """Show what the webhook would do with the Pods of files, without a server.

    Shown are each change (path, from, to, why), the refusal, and the resulting Pod. A manifest gets the API
    server's own defaults first; an AdmissionReview is taken as it is. A Pod that runs is not charged a second time to
    quotas that count it already; one that has ended is ignored.

    Exit code: 0, 1 for what --fail-on names, 2 usage or unreadable input. What a mode that only reports would refuse
    counts as refused.

    \b
    Try it:
      flyte-admission review --policy examples/policy.yaml -f examples/pods.yaml
      kubectl get pod POD -o yaml | flyte-admission review --policy policy.yaml -f -
    """
    loaded, quota_texts, namespace = read_policy(policy), read_texts(quotas), options["namespace"]
    ledger = read_ledger(quota_texts, namespace, options["limit_ranges"], options["kubernetes"])
    for warning in (line for each in quota_texts for line in manifests.quota_warnings(*each, namespace)):
        echo_message(warning)
    texts = read_texts(files)
    chosen = loaded.policy.in_mode(options["mode"]) if options["mode"] else loaded.policy
    reports = usable(lambda: [report for text in texts for report in offline.reports(*text, chosen, ledger, today())])
    if output == "text":
        echo(line for report in reports for line in offline.as_text(report))
    elif output == "json":
        echo_data([offline.as_data(report) for report in reports], output)
    else:
        click.echo(yaml.safe_dump_all(map(offline.as_data, reports), sort_keys=False), nl=False)
    exit_by({report.decided_outcome for report in reports}, options["fail_on"], loaded)
