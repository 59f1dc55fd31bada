"""Start the webhook on https, send it the example Pods as an API server would, print what comes back.

Run by `make run`; with --keep, by `make serve`, it goes on serving instead and says what to try.
"""

import base64
import http.client
import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import uuid
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from webhook.admission.record import Record, in_brief

HERE = Path(__file__).resolve().parent
SERVE = [sys.executable, "-m", "webhook", "serve", "--policy", "policy.yaml", "--quotas", "quotas.yaml"]


def main() -> int:
    """Exit code 0 if every Pod was answered."""
    keep = sys.argv[1:] == ["--keep"]
    ports = ["127.0.0.1:8443", "127.0.0.1:8080"] if keep else ["127.0.0.1:0", "127.0.0.1:0"]
    command = [*SERVE, "--listen", ports[0], "--health-listen", ports[1]]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    with subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            listening = wait_until_listening(server)
            return serve(server, listening) if keep else show(listening)
        finally:
            server.terminate()
            server.communicate()


def wait_until_listening(server: subprocess.Popen[str]) -> dict[str, str]:
    """The server's own words on where it listens and which certificate it serves."""
    for line in server.stderr or ():
        event: dict[str, str] = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "listening":
            return event
        print(line, end="", file=sys.stderr)
    sys.exit("the webhook did not start")


def serve(server: subprocess.Popen[str], listening: dict[str, str]) -> int:
    """Say what to try, then pass on the server's log until a signal comes."""

    def stop(number: int, _: FrameType | None) -> None:
        server.send_signal(number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    curl = ["curl", "--cacert", listening["certificate"], "-H", "content-type: application/json"]
    review = os.path.relpath(HERE / "review.json")
    print(f"The webhook listens on {listening['webhook']}, its probes and metrics on {listening['health']}. Try:")
    print(f"  {shlex.join(curl)} --data @{review} {listening['webhook']}/mutate")
    print(f"  curl {listening['health']}/metrics")
    print(f"The status page is at {listening['health']}/status.")
    print("Ctrl+C ends it.", flush=True)
    for line in server.stderr or ():
        print(line, end="", file=sys.stderr)
    return server.wait()


def show(listening: dict[str, str]) -> int:
    """Send each example Pod, in turn, over one connection."""
    url = urlsplit(listening["webhook"])
    context = ssl.create_default_context(cafile=listening["certificate"])
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context)
    print(f"The webhook listens on {listening['webhook']} with examples/policy.yaml and examples/quotas.yaml.")
    for pod in yaml.safe_load_all((HERE / "pods.yaml").read_text()):
        print(f"\n{pod['metadata']['namespace']}/{pod['metadata']['name']}")
        for line in told(answer(connection, pod)):
            print(f"  {line}")
    connection.close()
    return 0


def answer(connection: http.client.HTTPSConnection, pod: dict[str, Any]) -> dict[str, Any]:
    """The response to the creation of the Pod."""
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "object": pod,
        },
    }
    connection.request("POST", "/mutate", json.dumps(review), {"content-type": "application/json"})
    response: dict[str, Any] = json.loads(connection.getresponse().read())["response"]
    return response


def told(response: dict[str, Any]) -> list[str]:
    """What came back, in lines for people: the audit annotation has the reasons, the patch what is done."""
    audit = response.get("auditAnnotations", {})
    record = msgspec.json.decode(audit.get("changes", '{"policy": ""}'), type=Record)
    if not response["allowed"]:
        status = response["status"]
        return ["refused", f"{status['code']} {status['reason']}: {status['message']}"]
    if "patch" not in response:
        return ["allowed as it is"]
    operations = json.loads(base64.b64decode(response["patch"]))
    return [
        f"allowed, with a patch of {len(operations)} operation{'s'[: len(operations) > 1]}",
        *map(in_brief, record.changes),
    ]


if __name__ == "__main__":
    sys.exit(main())
