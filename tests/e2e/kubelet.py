"""Nodes that run our own Pods, as processes of this machine.

The command, its arguments, volumes, readiness probe and grace period are those of the Pod. Volumes follow their Secret
or ConfigMap in about a second, where a kubelet takes a minute. `kubectl logs` works, `kubectl exec` does not. There are
no images, users, mounts or liveness probes.
"""

import base64
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.e2e.client import Client, Json, RefusedError, Reply, path_of
from tests.e2e.controlplane.processes import ControlPlane, ControlPlaneError
from tests.e2e.network import PODS, Network, here
from tests.e2e.rendering import NAMESPACE
from tests.volume import Volume
from webhook.server import tls

PAUSE: Final = 0.2  # seconds between two looks
TRIES: Final = 10  # of a request that gets no answer
BACK_OFF: Final = 5.0  # seconds until a container that ended is started again
OWN: Final = f"{PODS}255.1"  # where all nodes are
ADDRESSES = (f"{PODS}{number // 250}.{number % 250 + 1}" for number in count())


class PatientClient(Client):
    """A client that repeats what got no answer, or one that asks for it.

    A kubelet that gave up would leave Pods that never end, and the deletion of their namespace would wait for ever.
    """

    def ask(self, *arguments: Any, **options: Any) -> Reply:
        for _ in range(TRIES):
            try:
                reply = super().ask(*arguments, **options)
            except (OSError, HTTPException) as error:
                print(f"kubelet: {arguments}: {error!r}", file=sys.stderr)
            else:
                if reply.code not in (429, 500, 503, 504):
                    return reply
            time.sleep(PAUSE)
        return super().ask(*arguments, **options)


@contextmanager
def kubelet(plane: ControlPlane, network: Network, folder: Path, **settings: str) -> Iterator[None]:
    """Run the Pods of our namespace that have a node, with these settings in their environment."""
    ended = threading.Event()
    server = ThreadingHTTPServer((here(OWN), 0), partial(_Logs, folder))
    server.socket = tls.server_context(*tls.make_self_signed(folder, [OWN])).wrap_socket(
        server.socket, server_side=True
    )

    def reachable(client: Client) -> None:
        """Register the address at which the API server reads logs."""
        addresses = [{"type": "InternalIP", "address": OWN}]
        status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_port}}}
        for node in client.items("Node"):
            path = path_of("Node", name=node["metadata"]["name"])
            client.must("PATCH", f"{path}/status", {"status": status})

    def look(client: Client, pods: dict[str, Pod]) -> None:
        """Start the Pods that are new, and end those that are deleted."""
        network.follow(client)
        there = {pod["metadata"]["uid"]: pod for pod in client.items("Pod", NAMESPACE)}
        for uid, pod in there.items():
            if pod["spec"].get("nodeName") and uid not in pods:
                pods[uid] = Pod(plane, pod, folder / uid, settings)
                pods[uid].start()
        for uid in pods.keys() - {uid for uid, pod in there.items() if "deletionTimestamp" not in pod["metadata"]}:
            pods[uid].deleted.set()

    def follow() -> None:
        client, pods = PatientClient(plane.url, plane.ca, plane.token), dict[str, Pod]()
        try:
            reachable(client)
            while not ended.wait(PAUSE):
                look(client, pods)
        finally:
            for each in pods.values():
                each.deleted.set()
            for each in pods.values():
                each.join()
            client.close()

    threads = [threading.Thread(target=it) for it in (follow, server.serve_forever)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()


class _Logs(BaseHTTPRequestHandler):
    """Serve the kubelet API that `kubectl logs` uses."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        pod = urlsplit(self.path).path.split("/")[3]  # of /containerLogs/NAMESPACE/POD/CONTAINER
        self.send_response(200)
        self.end_headers()
        self.wfile.write((self.folder / f"{pod}.log").read_bytes())

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Pod(threading.Thread):
    """One Pod of one container, from its volumes to its end."""

    def __init__(self, plane: ControlPlane, pod: Json, folder: Path, settings: dict[str, str]) -> None:
        super().__init__()
        self.plane, self.client = plane, PatientClient(plane.url, plane.ca, plane.token)
        self.spec, self.folder, self.deleted = pod["spec"], folder, threading.Event()
        (self.container,) = pod["spec"]["containers"]
        self.path = path_of("Pod", NAMESPACE, pod["metadata"]["name"])
        self.log = folder.with_name(f"{pod['metadata']['name']}.log")
        self.uid, self.address, self.restarts = pod["metadata"]["uid"], next(ADDRESSES), 0
        self.volumes: dict[str, tuple[Volume, dict[str, bytes]]] = {}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"PATH": path, "NAMESPACE": NAMESPACE, **settings}

    def run(self) -> None:
        self.folder.mkdir(parents=True)
        while not (self.has_account() and self.refreshed()) and not self.deleted.wait(PAUSE):
            self.report("Pending", {"waiting": {"reason": "ContainerCreating"}})
        while not self.deleted.is_set():
            with self.log.open("ab") as log, subprocess.Popen(
                self.command(), env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ) as process:  # fmt: skip
                try:
                    self.watch(process)
                    self.end(process)
                finally:
                    process.kill()
            self.report("Running", {"waiting": {"reason": "CrashLoopBackOff"}})
            self.restarts += 1
            self.deleted.wait(BACK_OFF)
        self.client.ask("DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
        self.client.close()

    def has_account(self) -> bool:
        """Return whether the kubeconfig of its service account is there, and write it if need be."""
        kubeconfigs = [f"FLYTE_ADMISSION_{it}_KUBECONFIG" for it in ("SERVE", "CERTS")]
        if kubeconfigs[0] not in self.environment:
            try:
                account = self.plane.service_account(NAMESPACE, self.spec["serviceAccountName"])
            except (OSError, HTTPException, RefusedError, ControlPlaneError):
                return False  # such as where its namespace ends
            self.environment |= dict.fromkeys(kubeconfigs, str(account))
        return True

    def refreshed(self) -> bool:
        """Bring the files of all volumes; whether all are there."""
        return all(self.brought(volume) for volume in self.spec["volumes"] if "emptyDir" not in volume)

    def brought(self, volume: Json) -> bool:
        """Bring the files of a volume that have changed; whether all are there."""
        kind, source = ("Secret", volume["secret"]) if "secret" in volume else ("ConfigMap", volume["configMap"])
        name = source.get("secretName") or source["name"]
        data = self.client.ask("GET", path_of(kind, NAMESPACE, name)).body.get("data") or {}
        content = {key: base64.b64decode(text) if kind == "Secret" else text.encode() for key, text in data.items()}
        items = source.get("items") or [{"key": key, "path": key} for key in content]
        if not items or any(item["key"] not in content for item in items):
            return False
        files = {item["path"]: content[item["key"]] for item in items}
        if volume["name"] not in self.volumes:
            folder = self.folder / volume["name"]
            folder.mkdir()
            self.volumes[volume["name"]] = Volume(folder, files), files
        held, before = self.volumes[volume["name"]]
        if files != before:
            held.write(files)
            self.volumes[volume["name"]] = held, files
        return True

    def command(self) -> list[str]:
        """The command with this Pod's address, and the folders of its volumes."""
        replaced = {"$(NAMESPACE)": NAMESPACE, "0.0.0.0": here(self.address)}  # noqa: S104 - it is taken out
        for mount in self.container["volumeMounts"]:
            if mount["name"] in self.volumes:
                replaced[mount["mountPath"]] = str(self.folder / mount["name"])
        words = [*self.container["command"], *self.container["args"]]
        for old, new in replaced.items():
            words = [word.replace(old, new) for word in words]
        return words

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Probe it and bring changed files, until it has ended or the Pod is deleted."""
        probe = self.container["readinessProbe"]
        failures = threshold = probe.get("failureThreshold", 3)
        while process.poll() is None and not self.deleted.is_set():
            failures = 0 if self.answers(probe) else failures + 1
            self.report("Running", {"running": {}}, ready=failures < threshold)
            for _ in range(probe["periodSeconds"]):
                self.refreshed()
                if self.deleted.wait(1) or process.poll() is not None:
                    break

    def answers(self, probe: Json) -> bool:
        """Return whether the probe succeeds."""
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        url = f"http://{here(self.address)}:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
        try:
            with urllib.request.urlopen(url, timeout=probe["timeoutSeconds"]):
                return True
        except OSError:
            return False

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM, and SIGKILL after the grace period."""
        process.terminate()
        try:
            process.wait(self.spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            process.kill()

    def report(self, phase: str, state: Json, *, ready: bool = False) -> None:
        """Write the status, unless the Pod is gone."""
        name, is_ready = self.container["name"], str(ready)
        status = {
            "phase": phase,
            "conditions": [{"type": it, "status": is_ready} for it in ("Ready", "ContainersReady")],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "containerStatuses": [
                {"name": name, "image": self.container["image"], "imageID": "", "ready": ready, "state": state,
                 "restartCount": self.restarts, "started": "running" in state},
            ],
        }  # fmt: skip
        self.client.ask("PATCH", f"{self.path}/status", {"status": status}, patch="strategic-merge-patch")
