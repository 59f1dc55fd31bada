"""The HOST:PORT that an option gives to listen on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse HOST:PORT, [IPV6]:PORT or :PORT (every interface); ValueError says what is accepted."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{text!r} is not an address; write HOST:PORT, such as 127.0.0.1:8443 or [::]:8443")
        return cls(host.strip("[]") or "::", int(port))
