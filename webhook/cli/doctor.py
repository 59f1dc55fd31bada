"""`flyte-admission doctor`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from webhook.cli.inputs import Source, fail, of_files, read_policy
from webhook.cli.options import output_option, source_option
from webhook.cli.output import Progress, echo, echo_data, styled, wrapped
from webhook.offline import doctor as doctors
from webhook.offline.doctor import TLS
from webhook.offline.findings import Finding
from webhook.offline.manifests import Manifest
from webhook.offline.world import MUTATING, READ_KINDS, VALIDATING, Data, World
from webhook.policy.file import load
from webhook.policy.yaml_text import Document, ProblemsError
from webhook.shared.clock import now
from webhook.shared.option_types import FILE

POLICY: Final = "flyte-admission-policy"  # the ConfigMap
OF_NAMESPACES: Final = ("Pod", "ResourceQuota", "LimitRange")  # the kinds that --namespace holds for
COLOURS: Final = {"error": "red", "warning": "yellow"}


@click.command(short_help="Find what is wrong with an installation.")
@source_option("…")
@click.option("--policy", type=FILE, metavar="FILE", help=f"Instead of the one in the ConfigMap {POLICY}.")
@click.option("--flyte-namespace", default="flyte", show_default=True, metavar="NAME",
              help="Where the ConfigMaps of Flyte are.")  # fmt: skip
@click.option("--webhook-namespace", default="flyte-admission", show_default=True, metavar="NAME",
              help="Where the webhook runs.")  # fmt: skip
@output_option
def doctor(source: Source, policy: Path | None, output: str, **namespaces: str) -> None:
    """Find what is wrong with the installation, and with quotas, nodes and Flyte under its policy.

    It reads a cluster, or a dump of one, and changes nothing. What it may not read is listed at the end. docs/cli.md
    has all findings, the rights that it takes to look for all of them, and the command that makes a dump.

    Exit code: 0, 1 if something is found, 2 usage or unreadable files.

    \b
    Try it:
      flyte-admission doctor --kubeconfig ~/.kube/config
      flyte-admission doctor --policy policy.yaml -f dump.json
    """
    world = World(now())
    if source.kubeconfig:
        _read_cluster(world, source.kubeconfig, source.namespace, **namespaces)
    else:
        _read_files(world, source)
    _take_policy(world, policy)
    found = doctors.examine(world)
    if output == "text":
        echo(_report(found, world))
    else:
        echo_data(doctors.as_data(found, world), output)
    if found:
        raise click.exceptions.Exit(1)


def _read_files(world: World, source: Source) -> None:
    found = of_files(source.files, tuple(READ_KINDS))
    for kind in dict.fromkeys(it.kind for it in found):
        chosen = source.namespace if kind in OF_NAMESPACES else ""
        world.add(kind, [it for it in found if it.kind == kind and chosen in ("", it.namespace)])
    if absent := [kind for kind in READ_KINDS if not world.has(kind)]:
        world.unseen.append(f"left out of the files, or there are none: {', '.join(absent)}")
    world.unseen.append("metrics of the API server: only with --kubeconfig")


def _read_cluster(
    world: World, kubeconfig: Path, namespace: str, *, flyte_namespace: str, webhook_namespace: str
) -> None:
    from webhook.cluster import once
    from webhook.cluster.once import Listing

    registration = "/apis/admissionregistration.k8s.io/v1"
    listings = (
        (MUTATING, Listing("mutatingwebhookconfigurations", api=registration)),
        (VALIDATING, Listing("validatingwebhookconfigurations", api=registration)),
        ("Service", Listing("services")),
        ("Namespace", Listing("namespaces")),
        ("Node", Listing("nodes")),
        ("Pod", Listing("pods", namespace, fieldSelector=once.RUNNING)),
        ("ResourceQuota", Listing("resourcequotas", namespace)),
        ("LimitRange", Listing("limitranges", namespace)),
        ("Deployment", Listing("deployments", api="/apis/apps/v1")),
        ("ConfigMap", Listing("configmaps", flyte_namespace)),
        ("ConfigMap", Listing("configmaps", webhook_namespace, fieldSelector=f"metadata.name={POLICY}")),
        ("Secret", Listing("secrets", webhook_namespace, fieldSelector=f"metadata.name={TLS}")),
    )
    for kind, listing in listings:
        shown = Progress(f"read {{}} {listing.resource}")
        try:
            objects = once.read_list(kubeconfig, listing, shown.step)
        except once.ERRORS as error:
            _left_out(world, listing.resource, error)
        else:
            world.add(kind, [Manifest(kind, data, Document(data, str(kubeconfig)), ()) for data in objects])
            if kind == "Secret" and not objects:
                world.unseen.append(f"the certificate: there is no Secret {TLS}")
        finally:
            shown.end()
    try:
        world.fail_open = doctors.fail_open(once.read_metrics(kubeconfig))
    except once.ERRORS as error:
        _left_out(world, "metrics of the API server", error)


def _left_out(world: World, what: str, error: Exception) -> None:
    """Note what could not be read; end the program where the API server has not answered yet."""
    has_answered = getattr(error, "status", 0) or world.unseen or world.has(MUTATING)  # which is read first
    if not has_answered:
        fail(str(error))
    world.unseen.append(f"{what}: {error}")


def _take_policy(world: World, file: Path | None) -> None:
    """Take the policy of the file, else that of the ConfigMap."""
    if file:
        world.policy = read_policy(file).policy
        return
    stored = [it.data or {} for it in world.all("ConfigMap", Data) if it.metadata.name == POLICY]
    if not stored or "policy.yaml" not in stored[0]:
        world.unseen.append(f"the policy: there is no ConfigMap {POLICY}; give --policy FILE")
        return
    try:
        world.policy = load(stored[0]["policy.yaml"], f"ConfigMap {POLICY}").policy
    except ProblemsError as error:
        world.unseen.append(f"the policy: {error}")


def _report(findings: Sequence[Finding], world: World) -> Iterator[str]:
    for it in findings:
        yield styled(f"{it.kind.severity}: {it.kind.id}", fg=COLOURS[it.kind.severity])
        yield from wrapped(it.what)
        yield from wrapped(f"{it.kind.do} See {it.kind.page}.")
        yield ""
    counts = [sum(it.kind.severity == severity for it in findings) for severity in COLOURS]
    yield f"Errors: {counts[0]}. Warnings: {counts[1]}."
    if world.unseen:
        yield "Could not look at:"
        yield from (line for what in world.unseen for line in wrapped(what))
    if not_looked_for := doctors.not_looked_for(world):
        yield "So some of these may be there all the same:"
        yield from wrapped(", ".join(not_looked_for))
