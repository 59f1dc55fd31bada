"""The command line of certs: `flyte-admission certs`, or `python -m certs`."""

import re
import sys
from datetime import timedelta
from typing import Any, Final, NoReturn

import click

from certs.rotation import Lifetimes
from webhook.shared.option_types import FILE, AddressType

UNITS: Final = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
FAILED, USAGE_ERROR = 1, 2  # exit codes: the one pass of --once; usage


class DurationType(click.ParamType[timedelta]):
    """The type of an option with a number and a unit."""

    name = "DURATION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse a positive timedelta; what is not one is a usage error."""
        match = re.fullmatch(r"([0-9]{1,6})([dhms])", value)
        if not match or not int(match[1]):
            self.fail(f"{value!r} is not a duration; write a number over 0 and d, h, m or s, such as 90d", param, ctx)
        return timedelta(**{UNITS[match[2]]: int(match[1])})


@click.command(
    short_help="Issue, rotate and publish the webhook's certificate.",
    context_settings={"auto_envvar_prefix": "FLYTE_ADMISSION_CERTS", "help_option_names": ["-h", "--help"]},
)
@click.option("--kubeconfig", type=FILE, metavar="FILE", help="How to reach the cluster; else as a Pod of it.")
@click.option("--namespace", required=True, metavar="NAME", help="Where the Secret and the webhook's Service are.")
@click.option("--secret", default="flyte-admission-tls", show_default=True, metavar="NAME",
              help="The Secret with ca.crt, tls.crt and tls.key. It is made where there is none; one without the "
              "label flyte-admission.io/managed-by=flyte-admission-certs is left alone.")  # fmt: skip
@click.option("--from-secret", metavar="NAME",
              help="Take the certificate from this Secret, such as one of cert-manager, instead of issuing one. It has "
              "ca.crt, tls.crt and tls.key, and is only read.")  # fmt: skip
@click.option("--service", default="flyte-admission", show_default=True, metavar="NAME",
              help="The webhook's Service, which the certificate is for.")  # fmt: skip
@click.option("--dns-name", multiple=True, metavar="NAME",
              help="A DNS name or IP address that the certificate is for, instead of SERVICE.NAMESPACE.svc and "
              "SERVICE.NAMESPACE.svc.cluster.local. May be repeated.")  # fmt: skip
@click.option("--mutating-webhook-configuration", multiple=True, default=["flyte-admission"],
              show_default=True, metavar="NAME", help="Where caBundle is written. May be repeated.")  # fmt: skip
@click.option("--validating-webhook-configuration", multiple=True, default=["flyte-admission"],
              show_default=True, metavar="NAME", help="The same.")  # fmt: skip
@click.option("--ca-lifetime", type=DurationType(), default="365d", show_default=True,
              help="For how long a CA is valid.")  # fmt: skip
@click.option("--leaf-lifetime", type=DurationType(), default="90d", show_default=True,
              help="For how long the certificate is valid.")  # fmt: skip
@click.option("--renew-before", type=DurationType(), default="30d", show_default=True,
              help="How long before the end of either both are replaced.")  # fmt: skip
@click.option("--settle", type=click.FloatRange(min=0), default=10.0, show_default=True, metavar="SECONDS",
              help="How long API servers may take to notice a caBundle, before its certificate is used.")  # fmt: skip
@click.option("--interval", type=click.FloatRange(min=0.1), default=60.0, show_default=True, metavar="SECONDS",
              help="From the end of a pass to the next.")  # fmt: skip
@click.option("--health-listen", type=AddressType(), default="127.0.0.1:8080", show_default=True,
              help="Where /livez, /readyz and /metrics are, over plain http.")  # fmt: skip
@click.option("--once", is_flag=True, help="Make one pass and end: 0 if all is in order then, 1 if not.")
@click.version_option(package_name="flyte-admission")
def main(**options: Any) -> None:
    """Issue, rotate and publish the webhook's certificate, until SIGTERM.

    Looks once a minute at the Secret and the webhook configurations. Where the certificate is missing, damaged, for
    other names or about to expire, a new CA signs a new one. With --from-secret, another Secret's certificate is taken
    when it changes. Either way, every caBundle trusts the new CA first, beside those before, then the Secret has the
    certificate. A caBundle that lacks a CA is repaired; CAs that others have added to it stay. Logs go to stderr, one
    JSON object a change.

    Each option can also be given in the environment: FLYTE_ADMISSION_CERTS_NAMESPACE is --namespace.

    \b
    Exit code: 0 after SIGTERM, or --once and all is in order; 1 --once and it is not; 2 usage, no way to the cluster.

    \b
    Try it:
      flyte-admission certs --once --kubeconfig ~/.kube/config --namespace flyte-admission
    """
    lifetimes = Lifetimes(options["ca_lifetime"], options["leaf_lifetime"], options["renew_before"])
    if lifetimes.leaf > lifetimes.authority:
        raise click.UsageError("--leaf-lifetime is over --ca-lifetime; a certificate does not outlive its CA")
    if lifetimes.renew_before >= lifetimes.leaf:
        raise click.UsageError("--renew-before is not under --leaf-lifetime; it would be replaced in each pass")
    if options["from_secret"] == options["secret"]:
        raise click.UsageError("--from-secret is the Secret that certs writes; name another one")
    _start(lifetimes, options)


def _start(lifetimes: Lifetimes, options: dict[str, Any]) -> None:
    from certs import server
    from certs.cluster import ApiError
    from certs.reconcile import Plan
    from webhook.http.listener import ListenError, listen
    from webhook.telemetry import logs

    logs.configure()

    namespace, service = options["namespace"], f"{options['service']}.{options['namespace']}.svc"
    plan = Plan(
        namespace=namespace,
        secret=options["secret"],
        names=options["dns_name"] or (service, f"{service}.cluster.local"),
        mutating=options["mutating_webhook_configuration"],
        validating=options["validating_webhook_configuration"],
        lifetimes=lifetimes,
        settle=options["settle"],
        source=options["from_secret"],
    )
    loop = server.ReconcileLoop(plan, options["kubeconfig"])
    try:
        server.check(loop)
    except ApiError as error:
        _fail(str(error))
    if options["once"]:
        sys.exit(0 if server.once(loop) else FAILED)
    try:
        listening = listen(options["health_listen"])
    except ListenError as error:
        _fail(str(error))
    server.run(loop, options["interval"], listening)


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main(prog_name="python -m certs")
