"""The CAs of client certificates, and their replacement while connections stay open."""

from pathlib import Path

from webhook.server import tls
from webhook.server.tls import CertificateError
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics


class ClientAuthorities:
    """The CAs of --client-ca-file, from its last content that could be used."""

    def __init__(self, file: Path, metrics: Metrics) -> None:
        """Read the file; CertificateError if it has no CA."""
        self._file, self._metrics = file, metrics
        self._seen = tls.read_file(file)
        self._rejected = ""  # why the file as it is now is not in use
        self._use()

    def poll(self) -> None:
        """Use what the file holds once two polls have found the same; what cannot be used changes nothing."""
        try:
            before, self._seen = self._seen, tls.read_file(self._file)
            if self._seen == before:
                if self._seen != self._used:
                    self._use()
                    logs.info("client CAs in use", file=str(self._file))
                self._rejected = ""
        except CertificateError as error:
            self._reject(str(error))

    def _use(self) -> None:
        self.pem = tls.client_authorities(self._seen, self._file)
        self._used = self._seen
        self._metrics.client_authorities_read("good")

    def _reject(self, problem: str) -> None:
        """Keep the current CAs; log and count each new problem once."""
        if problem != self._rejected:
            self._rejected = problem
            self._metrics.client_authorities_read("bad")
            logs.warning("client CAs not in use, the last good ones are kept", problem=problem)
