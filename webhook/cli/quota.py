"""`flyte-admission quota`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from webhook.admission.denial import COUNTS
from webhook.admission.quota_use import NamespaceUse, as_data
from webhook.api.quantity import ZERO
from webhook.api.resource_quota import ResourceQuota
from webhook.cli.inputs import Source, exit_if_unread, read_policy, read_world, running_pods, usable
from webhook.cli.options import output_option, source_option
from webhook.cli.output import SHORTEST, echo, echo_data, progress, table, width, wrapped
from webhook.offline import manifests, usage
from webhook.policy.model import Policy
from webhook.rules.quota import is_charged
from webhook.shared.option_types import FILE

MOST_HOLDERS: Final = 5  # in the text


@click.command(short_help="Show what quotas have left, what fits, and who holds most.")
@source_option("pods,resourcequotas")
@click.option(
    "--policy", type=FILE, metavar="FILE", help="For its namespace_mapping and domains, if they are your own."
)
@click.option("-p", "--project", default="", metavar="PROJECT", help="Namespaces of this project alone.")
@click.option("-d", "--domain", default="", metavar="DOMAIN", help="Namespaces of this domain alone.")
@output_option
def quota(source: Source, policy: Path | None, project: str, domain: str, output: str) -> None:
    """Show each ResourceQuota: hard, used, free, the largest task that fits now and ever, and the largest holders.

    Holders are the Pods of Flyte that run, by task, where the dump has them or the kubeconfig may list them. Several
    namespaces are listed with their fullest resource, the fullest first; one is shown in full.

    Exit code: 0, 2 usage or unreadable input.

    \b
    Try it:
      kubectl get pods,resourcequotas -A -o json | flyte-admission quota -f -
      flyte-admission quota --kubeconfig ~/.kube/config -n flytesnacks-development
    """
    chosen = read_policy(policy).policy if policy else Policy()
    world = read_world(source, ("Pod", "ResourceQuota"), optional="Pod")
    quotas = usable(lambda: [manifests.converted(each, ResourceQuota) for each in world.quotas])
    running = running_pods(world.pods, chosen.identification)
    found = [
        it for it in usage.usage(quotas, progress(running.pods, "counted {} Pods"), chosen.identification)
        if project in ("", it.project) and domain in ("", it.domain)
    ]  # fmt: skip
    if output != "text":
        echo_data([as_data(it) for it in found], output)
    elif found:
        echo(_in_full(found[0]) if len(found) == 1 else _listed(found))
    else:
        click.echo("no ResourceQuota there", err=True)
    exit_if_unread(running)


def _listed(found: Sequence[NamespaceUse]) -> Iterator[str]:
    yield from table(
        ("NAMESPACE", "FULLEST", "HARD", "USED", "FREE", "%"),
        [(it.namespace, (full := it.fullest).name, full.hard, full.used, full.free, full.percent) for it in found],
    )


def _in_full(found: NamespaceUse) -> Iterator[str]:
    whose = [f"{kind} {name}" for kind, name in (("project", found.project), ("domain", found.domain)) if name]
    yield from wrapped(found.namespace + (f" ({', '.join(whose)})" if whose else ""), first="")
    for quota in found.quotas:
        yield ""
        rows = [(it.name, it.hard, it.used, it.free, it.percent) for it in quota.resources]
        yield from table((quota.name, "HARD", "USED", "FREE", "%"), rows)
        if quota.scopes:
            yield f"counts only Pods of {', '.join(quota.scopes)}"
    yield ""
    yield from wrapped(f"largest task that fits now: {found.fits_now or 'none'}", first="")
    yield from wrapped(f"with nothing else running:  {found.fits_ever or 'none'}", first="")
    if found.holders:
        yield ""
        yield from _holders(found)


def _holders(found: NamespaceUse) -> Iterator[str]:
    """Yield the largest holders, with as many of the fullest resources as fit."""
    resources = sorted((it for quota in found.quotas for it in quota.resources), key=lambda it: -it.percent)
    room, names = width() - len("PODS  ") - SHORTEST, []
    listed = dict.fromkeys(it.name for it in resources if is_charged(it.name) and it.name not in COUNTS)
    for name in (name for name in listed if f"requests.{name}" not in listed):  # cpu is requests.cpu
        room -= len(name) + 2
        if room >= 0:
            names.append(name)
    largest = found.holders[:MOST_HOLDERS]
    yield from table(
        ("TASK", "PODS", *names), [(it.task, it.pods, *(it.held.get(name, ZERO) for name in names)) for it in largest]
    )
    if len(found.holders) > MOST_HOLDERS:
        yield f"and {len(found.holders) - MOST_HOLDERS} more, which -o json has"
