"""`flyte-admission explain`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from webhook.cli.inputs import name_of, of_cluster, read_lines, read_policy, read_text, usable
from webhook.cli.options import output_option
from webhook.cli.output import echo, echo_data, progress
from webhook.offline import explain as explanations
from webhook.offline import manifests
from webhook.offline.explain import Explanation
from webhook.offline.manifests import Manifest
from webhook.policy.model import Policy
from webhook.shared.option_types import FILE

TEXT_FILE = click.Path(dir_okay=False, allow_dash=True)


class Sources(NamedTuple):
    """Where to look for which Pod."""

    pod: str | None
    namespace: str
    files: tuple[str, ...]
    logs: tuple[str, ...]
    kubeconfig: Path | None


@click.command(short_help="Show why a Pod or job was changed or refused.")
@click.argument("pod", required=False)
@click.option("-f", "--filename", "files", multiple=True, type=TEXT_FILE, metavar="FILE",
              help="Pods, jobs, or audit events, in YAML or JSON; - reads standard input. "
              "May be repeated.")  # fmt: skip
@click.option("--log", "logs", multiple=True, type=TEXT_FILE, metavar="FILE",
              help="A log of the webhook, or an audit log, one JSON object a line. May be repeated.")  # fmt: skip
@click.option("--kubeconfig", type=FILE, metavar="FILE", help="Read POD from the cluster of its current context.")
@click.option("-n", "--namespace", default="", metavar="NAME", help="The namespace of POD.")
@click.option("--policy", type=FILE, metavar="FILE", help="The policy, to say which of its lines each change is from.")
@output_option
def explain(pod: str | None, namespace: str, policy: Path | None, output: str, **sources: Any) -> None:
    """Show what was changed in POD, from what to what, why, by which line of the policy, and what the answer was.

    POD is the name of a Pod or of a job, such as a RayJob. One that runs has a record of its changes. Of one that was
    refused or is gone, the audit log has everything; the webhook's own log has the refusal, and the number of changes.
    Without POD, all that is found is explained.

    Exit code: 0, 1 if nothing is found, 2 usage or unreadable input.

    \b
    Try it:
      kubectl get pod POD -o yaml | flyte-admission explain -f -
      flyte-admission explain POD -n NAMESPACE --kubeconfig ~/.kube/config --policy policy.yaml
      flyte-admission explain POD --log audit.log
    """
    chosen = read_policy(policy).policy if policy else Policy()
    found = [
        it for it in _explanations(Sources(pod, namespace, **sources), chosen)
        if pod in (None, it.pod) and namespace in ("", it.namespace)
    ]  # fmt: skip
    if not found:
        click.echo(
            f"nothing about {pod or 'any Pod or job'} there; of one that is gone, the audit log has the record",
            err=True,
        )
        raise click.exceptions.Exit(1)
    if output == "text":
        echo(line for it in found for line in explanations.as_text(it, chosen))
    else:
        echo_data([explanations.as_data(it, chosen) for it in found], output)


def _explanations(sources: Sources, policy: Policy) -> Iterator[Explanation]:
    if not (sources.files or sources.logs or sources.kubeconfig):
        raise click.UsageError("one of -f FILE, --log FILE and --kubeconfig FILE is needed")
    if sources.kubeconfig and not (sources.pod and sources.namespace):
        raise click.UsageError("--kubeconfig needs POD and -n NAMESPACE")
    for manifest in _manifests(sources):
        yield usable(partial(explanations.of_manifest, manifest, policy))
    for file in sources.logs:
        for line in progress(read_lines(file), "read {} lines"):
            if found := explanations.of_line(line, policy):
                yield found


def _manifests(sources: Sources) -> Iterator[Manifest]:
    for file in sources.files:
        yield from usable(
            partial(manifests.read, read_text(file), name_of(file), explanations.EXPLAINED_KINDS, pass_over=True)
        )
    if sources.kubeconfig:
        yield from of_cluster(sources.kubeconfig, sources.namespace, "Pod", name=sources.pod or "")
