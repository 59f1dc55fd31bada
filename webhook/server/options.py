"""The options of `serve`, from flags or the environment."""

from dataclasses import dataclass
from pathlib import Path

from webhook.api.version import Version
from webhook.shared.address import Address


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `serve`, parsed; `serve --help` explains them."""

    policy: Path
    quotas: tuple[Path, ...]
    kubeconfig: Path | None
    no_quotas: bool
    kubernetes: Version  # where no cluster says it
    listen: Address
    health_listen: Address
    tls_cert_file: Path | None
    tls_private_key_file: Path | None
    tls_ca_file: Path | None
    client_ca_file: Path | None
    status_page: bool
    shutdown_delay: float
