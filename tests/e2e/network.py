"""How the API server reaches Services and Pods. The addresses of Pods stand for addresses of loopback."""

import json
import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.balancer import copy, shut
from tests.e2e.client import Client
from tests.e2e.rendering import NAMESPACE

PODS, LOOPBACK = "10.201.", "127.201."  # no endpoint may be on loopback
LAG: Final = 2.0  # seconds between two looks at the endpoints, for kube-proxy takes a moment too


def here(address: str) -> str:
    """Where the process of the Pod with this address listens."""
    return address.replace(PODS, LOOPBACK, 1)


@dataclass
class Network:
    """The way of a connection."""

    flags: list[str]  # of the API server
    routes: dict[str, list[str]] = field(default_factory=dict)  # of each Service address, the addresses of ready Pods
    followed: float = 0

    def follow(self, client: Client) -> None:
        """Bring the routes of our Services up to date, if it is time."""
        if time.monotonic() - self.followed < LAG:
            return
        self.followed = time.monotonic()
        services = {each["metadata"]["name"]: each["spec"] for each in client.items("Service", NAMESPACE)}
        routes: dict[str, list[str]] = {
            f"{spec['clusterIP']}:{port['port']}": [] for spec in services.values() for port in spec["ports"]
        }
        for each in client.items("EndpointSlice", NAMESPACE):
            spec = services.get(each["metadata"]["labels"]["kubernetes.io/service-name"], {"ports": []})
            ready = [it["addresses"][0] for it in each["endpoints"] or () if it["conditions"]["ready"]]
            numbers = {port["name"]: port["port"] for port in each["ports"] or ()}
            for port in spec["ports"]:
                if port["name"] in numbers:
                    found = [f"{address}:{numbers[port['name']]}" for address in ready]
                    routes[f"{spec['clusterIP']}:{port['port']}"] += found
        self.routes = routes

    def connected(self, target: str) -> socket.socket:
        """A connection to a Pod, or to one of the Pods of a Service; OSError if there is none."""
        found = self.routes.get(target, [target])
        if not found:
            raise ConnectionRefusedError(f"no endpoint of {target} is ready")
        host, _, port = random.choice(found).rpartition(":")  # noqa: S311 - as kube-proxy does
        return socket.create_connection((here(host), int(port)))


@contextmanager
def networked(folder: Path) -> Iterator[Network]:
    """A network for an API server with its flags, until the end of the block."""
    path, file = folder / "egress.sock", folder / "egress.json"
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(path)}}}
    selection = {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }
    file.write_text(json.dumps(selection))
    network = Network([f"--egress-selector-config-file={file}"])

    class Tunnel(socketserver.StreamRequestHandler):
        """One connection of the API server."""

        rbufsize = 0

        def handle(self) -> None:
            target = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            try:
                there = network.connected(target)
            except OSError as error:
                self.wfile.write(f"HTTP/1.1 502 {error}\r\n\r\n".encode())
                return
            with there:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=copy, args=(there, self.connection))
                back.start()
                copy(self.connection, there)
                shut(there)
                back.join()

    with socketserver.ThreadingUnixStreamServer(str(path), Tunnel) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield network
        finally:
            server.shutdown()
            thread.join()
