"""The command line: serve, review, policy, certs."""

import functools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import yaml

from webhook.policy.file import LoadedPolicy, json_schema, load
from webhook.policy.yaml_text import ProblemsError
from webhook.server.options import Options
from webhook.shared.clock import today
from webhook.shared.option_types import FILE, AddressType

if TYPE_CHECKING:
    from webhook.server.certificate import CertificateFiles
    from webhook.server.state import State

T = TypeVar("T")
USAGE_ERROR = 2  # exit code: usage, or input that cannot be read


class Commands(click.Group):
    """The commands of the program; `certs` is imported only when it, or the list of all, is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return sorted([*super().list_commands(ctx), "certs"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        if cmd_name != "certs":
            return super().get_command(ctx, cmd_name)
        from certs.__main__ import main as certs

        return certs


policy_option = click.option(
    "--policy", type=FILE, required=True, metavar="FILE",
    help="Defaults, maxima and tolerations, in the words of Flyte's task_resources and plugins.k8s.",
)  # fmt: skip
quotas_option = click.option(
    "--quotas", type=FILE, multiple=True, metavar="FILE",
    help="ResourceQuota manifests to check against, in memory: status.hard and status.used where given, "
    "else spec.hard and nothing used. Admitted Pods are charged. May be given several times.",
)  # fmt: skip


@click.group(
    cls=Commands, context_settings={"auto_envvar_prefix": "FLYTE_ADMISSION", "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="flyte-admission")
def main() -> None:
    """Complete, cap and check the Pods of Flyte tasks as a Kubernetes admission webhook.

    Each option can also be given in the environment: FLYTE_ADMISSION_SERVE_POLICY is --policy of serve.
    """


@main.command(short_help="Answer AdmissionReviews over https.")
@policy_option
@quotas_option
@click.option(
    "--kubeconfig",
    type=FILE,
    metavar="FILE",
    help="The cluster whose ResourceQuotas are checked; without this and --quotas, the one that this Pod runs in.",
)
@click.option("--no-quotas", is_flag=True, help="Check no ResourceQuota, and leave that to the API server.")
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
    _serve(chosen)


def _serve(options: Options) -> None:
    from webhook.http import listener as http_server
    from webhook.server import collector, tls
    from webhook.server import run as server
    from webhook.server.certificate import ServingCertificate
    from webhook.server.client_ca import ClientAuthorities
    from webhook.telemetry import logs

    logs.configure()
    state = _state(options)
    if options.no_quotas:
        logs.warning("no quotas", hint="with --no-quotas, no Pod is refused for a ResourceQuota")
    with tempfile.TemporaryDirectory(prefix="flyte-admission-") as directory:
        try:
            clients = ClientAuthorities(options.client_ca_file, state.metrics) if options.client_ca_file else None
            serving = ServingCertificate(_certificate(options, Path(directory)), state.metrics, clients)
            sockets = http_server.listen(options.listen), http_server.listen(options.health_listen)
        except (tls.CertificateError, http_server.ListenError) as error:
            _fail(str(error))
        collector.freeze()
        server.run(state, server.Listeners(*sockets, serving), options)


def _certificate(options: Options, directory: Path) -> "CertificateFiles":
    """Return the files of the options; without those, make a certificate in the directory."""
    from webhook.server import tls
    from webhook.server.certificate import CertificateFiles

    if options.tls_cert_file and options.tls_private_key_file:
        return CertificateFiles(options.tls_cert_file, options.tls_private_key_file, options.tls_ca_file)
    return CertificateFiles(*tls.make_self_signed(directory, (*tls.LOCAL_NAMES, options.listen.host)))


def _state(options: Options) -> "State":
    from webhook.server.state import State
    from webhook.telemetry import logs

    loaded, warnings = _policy_and_warnings(options.policy)
    if warnings:
        logs.warning("policy", warnings=warnings)
    if options.quotas or options.no_quotas:
        return State(loaded.policy, _ledger(options.quotas), digest=loaded.policy.digest)
    from webhook.cluster import client as cluster
    from webhook.cluster.informer import Informer
    from webhook.telemetry.metrics import Metrics

    metrics = Metrics()
    try:
        informer = Informer(cluster.connect(options.kubeconfig), metrics)
    except cluster.ClusterError as error:
        _fail(str(error))
    return State(loaded.policy, informer, metrics, digest=loaded.policy.digest, cluster=informer)


@main.command(short_help="Show what would happen to the Pods of a file.")
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
    from webhook.offline import review as offline

    loaded, ledger = _policy(policy), _ledger(quotas)
    name = "stdin" if filename == "-" else filename
    text = _text(filename)
    reports = _usable(lambda: offline.reports(text, name, loaded.policy, ledger, today()))
    if output == "text":
        click.echo("\n".join(map(offline.as_text, reports)))
    elif output == "json":
        click.echo(json.dumps([offline.as_data(report) for report in reports], indent=2))
    else:
        click.echo(yaml.safe_dump_all(map(offline.as_data, reports), sort_keys=False), nl=False)
    context.exit(1 if any(report.outcome == "refused" for report in reports) else 0)


@main.group(short_help="Check, show or describe policy files.")
def policy() -> None:
    """Check a policy file, show what it amounts to, print its JSON Schema."""


def policy_file(command: Callable[..., None]) -> Callable[..., None]:
    """Take the file as an argument, or by --policy as the other commands do."""

    @click.argument("file", type=FILE, required=False)
    @click.option("--policy", "option", type=FILE, metavar="FILE", help="The same as the argument FILE.")
    @functools.wraps(command)
    def wrapped(file: Path | None, option: Path | None, **others: str) -> None:
        chosen = file or option
        if chosen is None or (file and option):
            raise click.UsageError("one policy file is needed: FILE, or --policy FILE")
        command(chosen, **others)

    return wrapped


@policy.command()
@policy_file
def check(file: Path) -> None:
    """Report everything that is wrong with FILE as file:line:col, and exit with 2; warnings alone exit with 0.

    Exemptions that have ended are among the warnings.
    """
    loaded = _policy(file)
    count = len(loaded.warnings) + len(loaded.policy.expired(today()))
    click.echo(f"{file}: good" + (f", with {count} warning{'s'[: count > 1]}" if count else ""))


@policy.command()
@policy_file
@click.option("-p", "--project", default="", metavar="PROJECT", help="A project of Flyte's.")
@click.option("-d", "--domain", default="", metavar="DOMAIN", help="One of its domains.")
@click.option(
    "-w", "--workflow", default="", metavar="WORKFLOW", help="The full name; only Pods of Flyte 1 say theirs."
)
@click.option("-t", "--task", default="", metavar="TASK", help="The full name, as in Flyte.")
def show(file: Path, **names: str) -> None:
    """Print what FILE amounts to for the tasks of a project, a domain, a workflow, a task, or for all tasks.

    Resources are under the names that Kubernetes uses; behind each value is the line of FILE that it comes from.
    """
    from webhook.policy.model import TaskScope
    from webhook.policy.show import render

    click.echo(render(_policy(file).policy, TaskScope(**names), today()))


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors and CI."""
    click.echo(json.dumps(json_schema(), indent=2))


def _policy(file: Path) -> LoadedPolicy:
    """Load the policy, and write its warnings to stderr."""
    loaded, warnings = _policy_and_warnings(file)
    for warning in warnings:
        click.echo(warning, err=True)
    return loaded


def _policy_and_warnings(file: Path) -> tuple[LoadedPolicy, tuple[str, ...]]:
    """Load the policy, with the warnings about its file and about exemptions that have ended."""
    text = _text(file)
    loaded = _usable(lambda: load(text, str(file)))
    return loaded, (*loaded.warnings, *loaded.policy.expired(today()))


def _ledger(files: tuple[Path, ...]) -> Any:
    from webhook.cluster.ledger import Ledger
    from webhook.offline import manifests

    return Ledger(_usable(lambda: [quota for file in files for quota in manifests.quotas(_text(file), str(file))]))


def _text(file: str | Path) -> str:
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            return str(stream.read())
    except UnicodeDecodeError as error:
        _fail(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}")
    except OSError as error:
        _fail(f"{file}: {error.strerror}")


def _usable(read: Callable[[], T]) -> T:
    try:
        return read()
    except ProblemsError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main(prog_name="flyte-admission")
