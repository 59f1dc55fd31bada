"""The few requests of a kube-apiserver that certs makes, over real sockets, with conflicts and faults."""

import asyncio
import copy
import json
import threading
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonpatch
from aiohttp import web
from cryptography import x509

Json = dict[str, Any]
NAMESPACE, SECRET = "flyte-admission", "flyte-admission-tls"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
SECRET_PATH = f"{SECRETS}/{SECRET}"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
MUTATING = f"{ADMISSION}/mutatingwebhookconfigurations/flyte-admission"
VALIDATING = f"{ADMISSION}/validatingwebhookconfigurations/flyte-admission"
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 500: "InternalError"}


def configuration(*names: str) -> Json:
    service = {"namespace": NAMESPACE, "name": "flyte-admission", "path": "/mutate"}
    return {
        "metadata": {"name": "flyte-admission"},
        "webhooks": [{"name": name, "clientConfig": {"service": service}, "failurePolicy": "Ignore"} for name in names],
    }


def refusal(status: int) -> web.Response:
    body = {"kind": "Status", "code": status, "reason": REASONS[status], "message": f"it is {REASONS[status]}"}
    return web.json_response(body, status=status)


Before = Callable[[str], Awaitable[web.Response | None]]
After = Callable[[web.Request], None]


async def _nothing(_: str) -> None:
    return None


@dataclass
class ApiServer:
    """Objects by path; `before` may answer in place of it, `after` may do anything once a request is done."""

    objects: dict[str, Json] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # METHOD path?query
    bodies: list[Any] = field(default_factory=list)
    before: Before = _nothing
    after: After = lambda _: None
    lose: int = -1  # the answer to which request, counted down, does not arrive
    version: int = 100
    port: int = 0

    @classmethod
    def installed(cls) -> "ApiServer":
        """With our two configurations, two webhooks each, and nothing else."""
        server = cls()
        server.install()
        return server

    def install(self) -> None:
        """Begin anew."""
        self.objects.clear()
        for path in (MUTATING, VALIDATING):
            self.put(path, configuration("flyte1.example.com", "flyte2.example.com"))

    def put(self, path: str, found: Json) -> None:
        """As somebody else would."""
        self.version += 1
        found = copy.deepcopy(found)
        found["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = found

    def data(self) -> dict[str, bytes]:
        """What is in the Secret."""
        return {key: b64decode(value) for key, value in self.objects[SECRET_PATH]["data"].items()}

    def bundles(self) -> list[bytes]:
        """Every caBundle, as PEM."""
        webhooks = [hook for path in (MUTATING, VALIDATING) for hook in self.objects.get(path, {}).get("webhooks", ())]
        return [b64decode(hook["clientConfig"].get("caBundle", "")) for hook in webhooks]

    def trusted(self) -> list[list[x509.Certificate]]:
        return [x509.load_pem_x509_certificates(pem) if pem else [] for pem in self.bundles()]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        place = f"{request.method} {request.path_qs}"
        self.asked.append(place)
        body = await request.json() if request.can_read_body else None
        self.bodies.append(body)
        answer = await self.before(place) or self.answer(request, body)
        self.after(request)
        if self.lose == 0 and request.transport:
            request.transport.abort()
        self.lose -= 1
        return answer

    def answer(self, request: web.Request, body: Any) -> web.Response:
        if request.headers.get("Authorization") != "Bearer TOKEN":
            return refusal(401)
        if request.method == "POST":
            path = f"{request.path}/{body['metadata']['name']}"
            return refusal(409) if path in self.objects else self.written(request, path, body)
        found = self.objects.get(request.path)
        if found is None:
            return refusal(404)
        if request.method == "GET":
            return web.json_response(found)
        if request.method == "PATCH":
            assert request.content_type == "application/json-patch+json"
            body = jsonpatch.apply_patch(found, body)
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            return refusal(409)
        return self.written(request, request.path, body)

    def written(self, request: web.Request, path: str, body: Json) -> web.Response:
        assert request.query["fieldManager"] == "flyte-admission-certs"
        if request.query.get("dryRun") != "All":
            self.put(path, body)
        return web.json_response(self.objects.get(path, body), status=201 if request.method == "POST" else 200)

    def kubeconfig(self, folder: Path) -> Path:
        file = folder / "kubeconfig"
        cluster, user = {"server": f"http://127.0.0.1:{self.port}"}, {"token": "TOKEN\n"}
        found = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file.write_text(json.dumps(found))
        return file

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """In the loop of whoever asks."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        yield
        await runner.cleanup()

    @contextmanager
    def on_a_thread(self) -> Iterator["ApiServer"]:
        """For programs that are processes of their own."""
        started = threading.Event()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        async def serve() -> None:
            async with self.listening():
                started.set()
                await stop.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
