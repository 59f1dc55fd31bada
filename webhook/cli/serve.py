"""`flyte-admission serve`."""

from typing import Any

import click

from webhook.cli.inputs import fail, load_policy, read_ledger, read_texts
from webhook.cli.options import kubernetes_option, policy_option, quotas_option
from webhook.server.options import Options
from webhook.shared.option_types import FILE, AddressType


@click.command(short_help="Answer AdmissionReviews over https.")
@policy_option
@quotas_option
@click.option(
    "--kubeconfig",
    type=FILE,
    metavar="FILE",
    help="The cluster whose ResourceQuotas are checked; without this and --quotas, the one that this Pod runs in.",
)
@click.option("--no-quotas", is_flag=True, help="Check no ResourceQuota, and leave that to the API server.")
@kubernetes_option
@click.option(
    "--listen",
    type=AddressType(),
    default="127.0.0.1:8443",
    show_default=True,
    help="Where the API server reaches /mutate and /validate, over https. Port 0 takes a free one.",
)
@click.option(
    "--health-listen",
    type=AddressType(),
    default="127.0.0.1:8080",
    show_default=True,
    help="Where /livez, /readyz and /metrics are, over plain http.",
)
@click.option("--tls-cert-file", type=FILE, metavar="FILE", help="PEM certificate to serve with, chain included.")
@click.option("--tls-private-key-file", type=FILE, metavar="FILE", help="PEM private key of that certificate.")
@click.option("--tls-ca-file", type=FILE, metavar="FILE",
              help="PEM of the CAs that the API server trusts, to tell when they expire or do not verify the "
              "certificate; by default ca.crt beside it, if there is one.")  # fmt: skip
@click.option("--client-ca-file", type=FILE, metavar="FILE",
              help="PEM of the CAs that clients of --listen must have a certificate from, such as that of the API "
              "server; without this, every client that reaches the port is answered.")  # fmt: skip
@click.option(
    "--status-page/--no-status-page",
    default=True,
    show_default=True,
    help="Serve /status and /status.json on --health-listen: quotas, decisions of the last hour, policy, certificate.",
)
@click.option(
    "--shutdown-delay", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="SECONDS",
    help="On SIGTERM, stay up but unready for so long, until no new connections are routed here.",
)  # fmt: skip
def serve(**options: Any) -> None:
    """Answer AdmissionReviews until SIGTERM, then finish what is under way and exit with 0.

    The ResourceQuotas of all namespaces are read from the cluster, which takes the right to list and watch them. In the
    local mode, with --quotas, they live in memory, and without a certificate one is made for this run.
    Logs go to stderr, one JSON object a line.

    \b
    Try it:
      flyte-admission serve --policy examples/policy.yaml --quotas examples/quotas.yaml
    """
    chosen = Options(**options)
    if (chosen.tls_cert_file is None) != (chosen.tls_private_key_file is None):
        raise click.UsageError("--tls-cert-file and --tls-private-key-file go together; give both or neither")
    if sum(map(bool, (chosen.quotas, chosen.kubeconfig, chosen.no_quotas))) > 1:
        raise click.UsageError("of --quotas, --kubeconfig and --no-quotas, give one or none")
    if not chosen.quotas and chosen.tls_cert_file is None:
        raise click.UsageError("without --quotas, --tls-cert-file and --tls-private-key-file are needed")
    loaded = load_policy(chosen.policy)
    in_memory = chosen.quotas or chosen.no_quotas
    ledger = read_ledger(read_texts(chosen.quotas), kubernetes=chosen.kubernetes) if in_memory else None
    from webhook.server import serving

    try:
        serving.serve(chosen, loaded, ledger)
    except serving.StartError as error:
        fail(str(error))
