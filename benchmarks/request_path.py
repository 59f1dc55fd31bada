"""What one review costs: microseconds a stage, and the whole as a multiple of a route that returns a constant.

Both routes are served by one process over TLS and keep-alive, measured in turns by the CPU time that process takes
and by the time a client waits. Every body is another review. Prints a table, writes results/request_path.json.
"""

import asyncio
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from webhook import admission, admission_review, logs, manifests, server, tls
from webhook import pod as pods
from webhook.app import Service, webhook
from webhook.decision import Allowed, Change, Context
from webhook.flyte import Task, identify
from webhook.options import Address
from webhook.policy import Policy
from webhook.policy_file import load
from webhook.rules import MUTATING, default, quota
from webhook.snapshot import Ledger

HERE = Path(__file__).resolve().parent
TODAY = "2026-11-25"
EXAMPLES = HERE.parent / "examples"
BODIES, ROUNDS, REQUESTS = 300, 7, 3000


def review(number: int) -> dict[str, Any]:
    """An AdmissionReview of some 9 KB, as kube-apiserver sends one for a Flyte Pod with a sidecar."""
    found: dict[str, Any] = json.loads((EXAMPLES / "review.json").read_text())
    request, pod = found["request"], found["request"]["object"]
    name = f"a{number:08x}-n0-0"
    request |= {"uid": f"{number:08x}-6393-11e8-b7cc-42010a800002", "name": name, "namespace": "benchmark"}
    pod["metadata"] |= {"name": name, "namespace": "benchmark"}
    pod["metadata"]["managedFields"] = [
        {"manager": "flytepropeller", "operation": "Update", "fieldsV1": {f"f:field-{i}": {".": {}} for i in range(90)}}
    ]
    container = pod["spec"]["containers"][0] | {"name": name}
    container["env"] = [{"name": f"FLYTE_INTERNAL_{i}", "value": f"value-{number}-{i}" * 3} for i in range(40)]
    container["resources"] = {
        "requests": {"cpu": "6", "memory": f"{number % 7 + 1}Gi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "6", "memory": f"{number % 7 + 1}Gi", "nvidia.com/gpu": "1"},
    }
    sidecar = {"name": "log-sidecar", "image": "fluent/fluent-bit:4.2", "resources": {}}
    pod["spec"]["containers"] = [container, sidecar]
    return found


def stages(bodies: list[bytes]) -> dict[str, float]:
    """Median microseconds of our own Python for each stage of /mutate."""
    policy = load((EXAMPLES / "policy.yaml").read_text(), "policy.yaml").policy
    quotas = manifests.quotas((EXAMPLES / "quotas.yaml").read_text(), "quotas.yaml")
    requests = [admission_review.decode(body) for body in bodies]
    contexts = [Context(t, policy.settings(t, r.namespace, TODAY)) for r in requests if (t := task_of(r, policy))]
    ruled = [rules(r.pod, c) for r, c in zip(requests, contexts, strict=True) if r.pod]
    decisions = [d for r in requests if isinstance(d := admission.mutate(r, policy, (), TODAY), Allowed)]
    steps: dict[str, Callable[[int], object]] = {
        "decode": lambda i: admission_review.decode(bodies[i]),
        "rules": lambda i: rules(requests[i].pod, contexts[i]),
        "quota": lambda i: quota.check(default(ruled[i][0])[0], quotas),
        "patch": lambda i: admission_review.patch_of(requests[i], decisions[i]),
        "encode": lambda i: admission_review.encode(requests[i], decisions[i]),
        "whole decision": lambda i: whole(bodies[i], policy, quotas),
    }
    return {name: microseconds(step, len(bodies)) for name, step in steps.items()}


def task_of(request: admission_review.Request, policy: Policy) -> Task | None:
    """Whose Pod it is."""
    return identify(request.pod, request.namespace, policy.identification) if request.pod else None


def rules(pod: pods.Pod | None, context: Context) -> tuple[pods.Pod, list[Change]]:
    """Fill, clamp, tolerate."""
    pod, changes = pod or pods.Pod(), []
    for _, rule in MUTATING:
        pod, made = rule(pod, context)
        changes += made
    return pod, changes


def whole(body: bytes, policy: Any, quotas: Any) -> bytes:
    """From the body to the answer."""
    request = admission_review.decode(body)
    return admission_review.encode(request, admission.mutate(request, policy, quotas, TODAY))


def microseconds(step: Callable[[int], object], count: int) -> float:
    """The median of several rounds over all bodies."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for i in range(count):
            step(i)
        rounds.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(rounds)


def serve() -> None:
    """The server process: /mutate as we ship it, and /constant beside it."""

    async def constant(request: Request) -> Response:
        await request.body()
        return Response(b'{"response":{}}', media_type="application/json")

    logs.configure()
    policy = load((EXAMPLES / "policy.yaml").read_text(), "policy.yaml").policy
    app = webhook(Service(policy, Ledger(manifests.quotas((EXAMPLES / "quotas.yaml").read_text(), "quotas.yaml"))))
    app.router.routes.append(Route("/constant", constant, methods=["POST"]))
    with tempfile.TemporaryDirectory() as directory:
        context = tls.context(*tls.make(Path(directory), ["127.0.0.1"]))
        listening = server.listen(Address("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.configured(app, context).serve([listening]))


def over_the_wire(bodies: list[bytes]) -> dict[str, dict[str, list[float]]]:
    """CPU and waiting time of each route, microseconds a request, a figure a round; the routes take turns."""
    figures: dict[str, dict[str, list[float]]] = {path: {"cpu": [], "wall": []} for path in ("/constant", "/mutate")}
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = int((process.stdout or sys.stdin).readline())
        connection = connect(port)
        for round_ in range(ROUNDS + 1):
            for path, measured in figures.items():
                requests = [http(path, bodies[i % len(bodies)]) for i in range(REQUESTS)]
                cpu, start = cpu_seconds(process.pid), time.perf_counter()
                exchange(connection, requests)
                wall = time.perf_counter() - start
                if round_:  # the first one warms up
                    measured["cpu"].append((cpu_seconds(process.pid) - cpu) / REQUESTS * 1e6)
                    measured["wall"].append(wall / REQUESTS * 1e6)
        connection.close()
        process.terminate()
    return figures


def connect(port: int) -> ssl.SSLSocket:
    """A TLS connection; the certificate lives as long as the run, there is nobody to impersonate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain)


def http(path: str, body: bytes) -> bytes:
    """An HTTP/1.1 request."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def exchange(connection: ssl.SSLSocket, requests: list[bytes]) -> None:
    """Send each request and read its answer."""
    for request in requests:
        connection.sendall(request)
        answer = connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])
        while len(body) < length:
            body += connection.recv(65536)
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"unexpected answer: {answer!r}")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, in steps of a clock tick."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lines(measured: dict[str, float], figures: dict[str, dict[str, list[float]]], size: int) -> Iterator[str]:
    """The table."""
    yield f"{'stage of /mutate, reviews of':30}{size / 1000:8.1f} KB"
    for name, value in measured.items():
        yield f"  {name:28}{value:8.1f} us"
    yield f"{'whole request, TLS':30}{'constant':>11}{'/mutate':>11}{'ratio':>8}   spread of the ratio"
    for kind in ("cpu", "wall"):
        constant, ours = figures["/constant"][kind], figures["/mutate"][kind]
        ratios = ratios_of(figures, kind)
        yield (
            f"  {kind + ', us a request':28}{statistics.median(constant):11.1f}{statistics.median(ours):11.1f}"
            f"{statistics.median(ratios):8.2f}   {min(ratios):.2f} to {max(ratios):.2f}"
        )


def ratios_of(figures: dict[str, dict[str, list[float]]], kind: str) -> list[float]:
    """/mutate to /constant, round by round."""
    return [ours / base for ours, base in zip(figures["/mutate"][kind], figures["/constant"][kind], strict=True)]


def main() -> None:
    """Measure, print, write."""
    bodies = [json.dumps(review(number)).encode() for number in range(BODIES)]
    measured, figures = stages(bodies), over_the_wire(bodies)
    print("\n".join(lines(measured, figures, len(bodies[0]))))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    ratios = {kind: statistics.median(ratios_of(figures, kind)) for kind in ("cpu", "wall")}
    content = {"stages_us": measured, "requests_us": figures, "ratio": ratios}
    (results / "request_path.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
