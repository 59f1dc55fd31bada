"""`flyte-admission scan`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from webhook.admission.decision import Denied
from webhook.admission.record import in_brief
from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota
from webhook.cli.inputs import WORLD, Source, exit_if_unread, read_policy, read_world, running_pods, usable
from webhook.cli.options import fail_on_option, kubernetes_option, output_option, policy_option, source_option
from webhook.cli.output import echo, echo_data, exit_by, progress, styled, table
from webhook.cluster.ledger import Ledger
from webhook.offline import manifests
from webhook.offline import scan as scans
from webhook.offline.review import JOBS
from webhook.offline.scan import Scan, Scanned
from webhook.shared.clock import today

LISTED_NAMESPACES: Final = 20  # in the summary
MOST_REASONS: Final = 10
COLUMNS: Final = ("count", "unchanged", "changed", "refused", "over max", "risky")


@click.command(short_help="Show what would become of all Pods and jobs that run.")
@policy_option
@source_option("pods,resourcequotas,limitranges")
@click.option("--no-quotas", is_flag=True, help="Leave ResourceQuotas out, such as without the right to list them.")
@click.option("--details", is_flag=True, help="After the summary, list each Pod that would be changed or refused.")
@kubernetes_option
@output_option
@fail_on_option()
def scan(policy: Path, source: Source, output: str, fail_on: tuple[str, ...], **options: Any) -> None:
    """Show what would become of the Pods and jobs of Flyte that run, if they were created now.

    They come from a dump, or from the cluster of a kubeconfig, with its quotas and LimitRanges. Those that have ended
    are left out, and what the quotas count for those that run is taken back first. Everything is decided as in the mode
    enforce; the summary says where the policy only reports. What a Pod uses at present is not known here.

    Exit code: 0, or 1 if --fail-on says so, 2 usage or unreadable input.

    \b
    Try it:
      kubectl get pods,resourcequotas,limitranges -A -o json | flyte-admission scan --policy policy.yaml -f -
      flyte-admission scan --policy policy.yaml --kubeconfig ~/.kube/config
    """
    loaded = read_policy(policy)
    kinds = [kind for kind in (*WORLD, *JOBS) if kind != "ResourceQuota" or not options["no_quotas"]]
    world = read_world(source, kinds, optional="LimitRange")
    quotas = usable(lambda: [manifests.converted(each, ResourceQuota) for each in world.quotas])
    ranges = usable(lambda: [manifests.converted(each, LimitRange) for each in world.limit_ranges])
    running = running_pods(world.pods, loaded.policy.identification)
    decided = scans.findings(running, Ledger(quotas, ranges, options["kubernetes"]), loaded.policy, today())
    found = Scan([*progress(decided, "decided about {} Pods and jobs")], running)
    if output == "text":
        note = [] if quotas or options["no_quotas"] else ["No ResourceQuota was read, so none refuses anything."]
        echo([*summary(found, policy), *note, *(_details(found) if options["details"] else ())])
    else:
        echo_data(scans.as_data(found, loaded.policy), output)
    exit_if_unread(running)
    exit_by({finding.outcome for finding in found.findings}, fail_on, loaded)


def summary(found: Scan, policy: Path) -> Iterator[str]:
    """Yield the summary: namespace by outcome, the reasons, the risks, and what to know about them."""
    yield f"{len(found.findings)} Pods and jobs of Flyte run; if they were created now under {policy}:"
    yield ""
    yield from _by_namespace(found.findings)
    if reasons := found.reasons():
        yield ""
        yield from table(("REASON", "COUNT"), reasons[:MOST_REASONS])
        if len(reasons) > MOST_REASONS:
            yield f"and {len(reasons) - MOST_REASONS} more, which -o json has"
    if risks := found.risks():
        yield ""
        yield from table(("RISK", "COUNT"), risks)
    yield ""
    yield from _notes(found)


def _by_namespace(findings: Iterable[Scanned]) -> Iterator[str]:
    """Yield the table of the namespaces, those with refused and changed Pods first, and the sum of all."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * len(COLUMNS))
    total = [0] * len(COLUMNS)
    for finding in findings:
        own = [True, *(finding.outcome == word for word in COLUMNS[1:4]), finding.is_over_maximum, bool(finding.risks)]
        for row in (counts[finding.namespace], total):
            row[:] = map(sum, zip(row, own, strict=True))
    rows = sorted(counts.items(), key=lambda row: (-row[1][3], -row[1][2], row[0]))
    shown = [(name, *row) for name, row in rows[:LISTED_NAMESPACES]]
    if len(rows) > LISTED_NAMESPACES:
        left_out = map(sum, zip(*(row for _, row in rows[LISTED_NAMESPACES:]), strict=True))
        shown.append((f"{len(rows) - LISTED_NAMESPACES} more", *left_out))
    yield from table(["NAMESPACE", *map(str.upper, COLUMNS)], [*shown, ("all", *total)])


def _notes(found: Scan) -> Iterator[str]:
    """Yield what to know about the figures."""
    if unseen := sum(finding.is_unseen for finding in found.findings):
        yield f"Changed or refused, but no record (no webhook then, or another policy): {unseen}."
    reported = sum(finding.mode != "enforce" and finding.outcome != "unchanged" for finding in found.findings)
    if reported:
        yield f"In a mode that only reports, so that nothing is done to them: {reported}."
    yield f"Left out: {found.running.ended} that ended, {found.running.others} that are not Flyte's."


def _details(found: Scan) -> Iterator[str]:
    """Yield each Pod that would be changed or refused, with what and why."""
    for finding in found.findings:
        if finding.outcome != "unchanged":
            yield ""
            what = f"{finding.namespace}/{finding.name}: {finding.outcome}"
            yield styled(what, fg="red" if finding.outcome == scans.REFUSED else "yellow")
            if isinstance(finding.decided, Denied):
                yield f"  {finding.decided.code} {finding.decided.reason}: {finding.decided.message}"
            yield from (f"  {in_brief(change)}" for change in finding.changes)
            yield from (f"  risk: {risk}" for risk in finding.risks)
            if finding.is_unseen:
                yield "  no record: it was created without the webhook, or under another policy"
