"""Where to listen and which files to read: what `serve` is told by flags or environment."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """From HOST:PORT, [IPV6]:PORT or :PORT (every interface); ValueError says what is accepted."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{text!r} is no address; write HOST:PORT, such as 127.0.0.1:8443 or [::]:8443")
        return cls(host.strip("[]") or "::", int(port))


@dataclass(frozen=True, slots=True)
class Options:
    """What `serve` works with."""

    policy: Path
    quotas: tuple[Path, ...]
    kubeconfig: Path | None
    no_quotas: bool
    listen: Address
    health_listen: Address
    tls_cert_file: Path | None
    tls_private_key_file: Path | None
    tls_ca_file: Path | None
    client_ca_file: Path | None
    shutdown_delay: float
