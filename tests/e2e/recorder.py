"""A webhook that allows everything and keeps what it was asked: the reviews as the API server really sends them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.client import Client, Json
from tests.e2e.installed import called, reachable, shipped
from webhook.server import tls


class Recorder(ThreadingHTTPServer):
    """The server; `reviews` are the first since it was emptied, by endpoint."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.reviews: dict[str, Json] = {}


class _Recording(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # the answer in one piece: in two, the second waits for an acknowledgement
    server: Recorder

    def do_POST(self) -> None:
        review: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.reviews.setdefault(urlsplit(self.path).path, review)
        kind = {name: review[name] for name in ("apiVersion", "kind")}
        answer = json.dumps({**kind, "response": {"uid": review["request"]["uid"], "allowed": True}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing: the reviews are the record."""


@contextmanager
def recording(admin: Client, folder: Path) -> Iterator[Recorder]:
    """A recorder that is asked what the webhook would be, and before it, until the end of the block."""
    asked = shipped()
    for configuration in asked:
        configuration["metadata"]["name"] = "before-" + configuration["metadata"]["name"]  # they are called by name
    certificate, key = tls.make_self_signed(folder, ["127.0.0.1"])
    with Recorder() as server:
        server.socket = tls.server_context(certificate, key).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"https://127.0.0.1:{server.server_port}"
            with called(admin, reachable(asked, url, certificate), server.reviews.keys):
                yield server
        finally:
            server.shutdown()
            thread.join()
