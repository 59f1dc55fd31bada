"""`serve` from its options to the end: certificate, quotas, listeners."""

import tempfile
from pathlib import Path

from webhook.cluster.ledger import Ledger
from webhook.http import listener
from webhook.policy.file import LoadedPolicy
from webhook.server import collector, tls
from webhook.server.certificate import CertificateFiles, ServingCertificate
from webhook.server.client_ca import ClientAuthorities
from webhook.server.options import Options
from webhook.server.run import Listeners, run
from webhook.server.state import State
from webhook.shared.clock import today
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics


class StartError(Exception):
    """`serve` cannot start; the message says why."""


def serve(options: Options, loaded: LoadedPolicy, ledger: Ledger | None) -> None:
    """Serve until SIGTERM, with the quotas of the ledger, or else of the cluster; StartError if that cannot begin."""
    logs.configure()
    if warnings := loaded.warnings_on(today()):
        logs.warning("policy", warnings=warnings)
    state = _state(options, loaded, ledger)
    if options.no_quotas:
        logs.warning("no quotas", hint="with --no-quotas, no Pod is refused for a ResourceQuota")
    with tempfile.TemporaryDirectory(prefix="flyte-admission-") as directory:
        try:
            clients = ClientAuthorities(options.client_ca_file, state.metrics) if options.client_ca_file else None
            serving = ServingCertificate(_certificate(options, Path(directory)), state.metrics, clients)
            sockets = listener.listen(options.listen), listener.listen(options.health_listen)
        except (tls.CertificateError, listener.ListenError) as error:
            raise StartError(str(error)) from error
        collector.freeze()
        run(state, Listeners(*sockets, serving), options)


def _certificate(options: Options, directory: Path) -> CertificateFiles:
    """Return the files of the options; without those, make a certificate in the directory."""
    if options.tls_cert_file and options.tls_private_key_file:
        return CertificateFiles(options.tls_cert_file, options.tls_private_key_file, options.tls_ca_file)
    return CertificateFiles(*tls.make_self_signed(directory, (*tls.LOCAL_NAMES, options.listen.host)))


def _state(options: Options, loaded: LoadedPolicy, ledger: Ledger | None) -> State:
    if ledger is not None:
        return State(loaded.policy, ledger, digest=loaded.policy.digest, policy_warnings=loaded.warnings)
    from webhook.cluster import client as cluster
    from webhook.cluster.informer import Informer
    from webhook.shared.kubeconfig import ConfigError

    metrics = Metrics()
    try:
        informer = Informer(cluster.connect(options.kubeconfig), metrics)
    except ConfigError as error:
        raise StartError(str(error)) from error
    return State(
        loaded.policy,
        Ledger([]),
        metrics,
        digest=loaded.policy.digest,
        policy_warnings=loaded.warnings,
        cluster=informer,
    )
