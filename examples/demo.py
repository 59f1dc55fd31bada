"""Start the webhook on https, send it the example Pods and jobs as an API server would, print what comes back.

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
import textwrap
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import jsonpatch
import yaml

Json = dict[str, Any]
HERE = Path(__file__).resolve().parent
SERVE = [sys.executable, "-m", "webhook", "serve", "--policy", "policy.yaml", "--quotas", "quotas.yaml"]


def main() -> int:
    """Exit code 0 if each was answered."""
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
    """Send each example, in turn, over one connection; print what it states before and after."""
    url = urlsplit(listening["webhook"])
    context = ssl.create_default_context(cafile=listening["certificate"])
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context)
    print(f"The webhook listens on {listening['webhook']} with examples/policy.yaml and examples/quotas.yaml.")
    print(f"\n{'POD':13} {'BEFORE':20} AFTER (request/limit, or both)")
    outcomes = Counter[str]()
    examples = [made for file in ("pods.yaml", "jobs.yaml") for made in yaml.safe_load_all((HERE / file).read_text())]
    for made in examples:
        outcome, *lines = described(made, answer(connection, made))
        outcomes[outcome] += 1
        print("\n  ".join([f"{made['metadata']['name']}: {outcome}", *lines]))
    connection.close()
    print(f"\n{', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    print("`make serve` keeps it running, with a status page; `flyte-admission scan` does")
    print("the same for all Pods of a cluster at once.")
    return 0


def answer(connection: http.client.HTTPSConnection, made: Json) -> Json:
    """The response to the creation of the Pod or job."""
    group, _, version = made["apiVersion"].rpartition("/")
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "operation": "CREATE",
            "resource": {"group": group, "version": version, "resource": f"{made['kind'].lower()}s"},
            "namespace": made["metadata"]["namespace"],
            "name": made["metadata"]["name"],
            "object": made,
        },
    }
    connection.request("POST", "/mutate", json.dumps(review), {"content-type": "application/json"})
    response: Json = json.loads(connection.getresponse().read())["response"]
    return response


def described(made: Json, response: Json) -> Iterator[str]:
    """Yield the outcome, then what changes in each container, and what is tolerated, or why it is refused."""
    if not response["allowed"]:
        status = response["status"]
        yield "refused"
        yield from textwrap.wrap(textwrap.shorten(f"{status['code']}: {status['message']}", 230), 78)
        return
    if "patch" not in response:
        yield "allowed as it is"
        return
    yield "changed"
    after = jsonpatch.apply_patch(made, json.loads(base64.b64decode(response["patch"])))
    for (name, old), (_, new) in zip(containers(made), containers(after), strict=True):
        both = amounts(old), amounts(new)
        before, then = (
            ", ".join(f"{key} {value}" for key, value in sorted(one.items()) if other.get(key) != value)
            for one, other in (both, both[::-1])
        )
        if then:
            yield f"{name:11} {before or '-':20} {then}"
    for toleration in after["spec"].get("tolerations", []):
        if toleration not in made["spec"].get("tolerations", []):
            yield f"{'tolerates':11} {'-':20} {toleration['key']}:{toleration['effect']}"


def containers(made: Any) -> Iterator[tuple[str, Json]]:
    """Yield the name and the resources of each container, however deep."""
    children = made.items() if isinstance(made, dict) else enumerate(made) if isinstance(made, list) else ()
    for key, value in children:
        if key in ("containers", "initContainers"):
            yield from ((container["name"], container.get("resources") or {}) for container in value)
        else:
            yield from containers(value)


def amounts(resources: Json) -> dict[str, str]:
    """Return `request/limit` by resource, or one amount where they are equal."""
    requests, limits = (resources.get(side) or {} for side in ("requests", "limits"))
    pairs = {name: (str(requests.get(name, "-")), str(limits.get(name, "-"))) for name in {**requests, **limits}}
    return {name: request if request == limit else f"{request}/{limit}" for name, (request, limit) in pairs.items()}


if __name__ == "__main__":
    sys.exit(main())
