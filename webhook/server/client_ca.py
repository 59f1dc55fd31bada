"""The CAs that clients must have their certificate from, and their replacement while connections stay open."""

from pathlib import Path

from webhook.server import tls
from webhook.server.tls import CertificateError
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics


class ClientAuthorities:
    """What a file of CAs held when it last could be used."""

    def __init__(self, file: Path, metrics: Metrics) -> None:
        """Read the file; CertificateError if it has no CA."""
        self._file, self._metrics = file, metrics
        self._seen = tls.read(file)
        self._refusal = ""
        self._take_up()

    def look(self) -> None:
        """Take up what the file holds, once two looks have found the same; what cannot be used changes nothing."""
        try:
            before, self._seen = self._seen, tls.read(self._file)
            if self._seen == before:
                if self._seen != self._used:
                    self._take_up()
                    logs.info("client CAs in use", file=str(self._file))
                self._refusal = ""
        except CertificateError as error:
            self._refuse(str(error))

    def _take_up(self) -> None:
        self.pem = tls.authorities(self._seen, self._file)
        self._used = self._seen
        self._metrics.client_authorities_read("good")

    def _refuse(self, problem: str) -> None:
        """Go on with the last good ones, and say why, once."""
        if problem != self._refusal:
            self._refusal = problem
            self._metrics.client_authorities_read("bad")
            logs.warning("client CAs not in use, the last good ones are kept", problem=problem)
