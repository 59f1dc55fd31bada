"""The control: a Starlette route that reads the body and answers the same each time, on uvicorn alone.

`python benchmarks/constant.py CERTIFICATE KEY [ANSWER]`; in the file ANSWER, if given, UID stands for the request's.
"""

import asyncio
import sys
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from webhook.http.listener import KEEP_ALIVE, listen
from webhook.server import tls
from webhook.shared.address import Address
from webhook.telemetry import logs

# The API server refuses an answer that has another uid than its request.
ALLOWED = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"UID","allowed":true}}'
UID = "UID"


def application(answer: bytes) -> Starlette:
    """One route that answers any review."""
    before, _, after = answer.partition(UID.encode())

    async def constant(request: Request) -> Response:
        body = await request.body()
        uid = body.partition(b'"uid":')[2].split(b'"', 2)[1]
        return Response(before + uid + after, media_type="application/json")

    return Starlette(routes=[Route("/mutate", constant, methods=["POST"])])


def main(certificate: str, key: str, answer: str = "") -> None:
    """Serve until terminated, by uvicorn alone, without our bounds."""
    logs.configure()
    listening = listen(Address("127.0.0.1", 0))
    app = application(Path(answer).read_bytes() if answer else ALLOWED)
    context = tls.server_context(Path(certificate), Path(key))
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=KEEP_ALIVE, ssl_context_factory=lambda *_: context,
    )  # fmt: skip
    logs.info("listening", webhook=f"https://127.0.0.1:{listening.getsockname()[1]}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve([listening]))


if __name__ == "__main__":
    main(*sys.argv[1:])
