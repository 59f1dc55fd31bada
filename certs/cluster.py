"""The client of the API server: get, patch, create and update of objects, as plain JSON."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from aiohttp import ClientError, ClientTimeout
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from webhook.shared.kubeconfig import ConfigError, api_client

Json: TypeAlias = dict[str, Any]
Method: TypeAlias = Literal["GET", "PATCH", "POST", "PUT"]
TIMEOUT: Final = ClientTimeout(total=15, sock_connect=5)  # seconds for one answer
ERROR_KINDS: Final = {401: "forbidden", 403: "forbidden", 404: "not_found", 409: "conflict"}
NO_CLUSTER: Final = "no --kubeconfig is given, and this is not a Pod with a service account"


class ApiError(Exception):
    """A read or write of the API server that failed; `kind` is the word for the metric."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ObjectClient:
    """A client that reads and writes objects of the API server by their paths."""

    def __init__(self, client: ApiClient) -> None:
        """Take a `client` that is configured with the address and the credentials."""
        self._client = client
        client.user_agent = "flyte-admission-certs"

    async def get(self, path: str) -> Json:
        """Return the object; ApiError if that fails."""
        return await self._answer("GET", path, {})

    async def patch(self, path: str, operations: list[Json]) -> None:
        """Apply a JSON Patch; ApiError if that fails."""
        await self._answer("PATCH", path, {}, operations, "application/json-patch+json")

    async def create(self, path: str, body: Json, *, dry_run: bool) -> None:
        """Create the object in the collection; ApiError if that fails."""
        await self._answer("POST", path, {"dryRun": "All"} if dry_run else {}, body)

    async def update(self, path: str, body: Json, *, dry_run: bool) -> None:
        """Replace the object; ApiError if that fails, or if its resourceVersion is not that of the body."""
        await self._answer("PUT", path, {"dryRun": "All"} if dry_run else {}, body)

    async def _answer(
        self, method: Method, path: str, query: Mapping[str, str], body: Any = None, kind: str = "application/json"
    ) -> Json:
        """Return the JSON of an answer with status 2xx; ApiError if there is none."""
        writes = {"fieldManager": "flyte-admission-certs"} if body is not None else {}
        headers = {"Accept": "application/json", "Content-Type": kind}
        place = f"{method} {path}"
        try:
            request = await self._client.param_serialize(
                method, path, query_params=[*query.items(), *writes.items()], header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer = await self._client.call_api(*request, _request_timeout=TIMEOUT)
            text = await answer.response.read()
        except TimeoutError as error:
            raise ApiError("unreachable", f"{place}: no answer within {TIMEOUT.total:g} s") from error
        except (ClientError, HttpProcessingError, OSError, ConfigException) as error:
            raise ApiError("unreachable", f"{place}: {type(error).__name__}: {error}") from error
        if not 200 <= answer.status < 300:
            kind = ERROR_KINDS.get(answer.status, "refused")
            raise ApiError(kind, f"{place}: {answer.status} {answer.reason}: {_message(text)}")
        return _object(text, place)


def _object(text: bytes, place: str) -> Json:
    try:
        return msgspec.json.decode(text, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError("refused", f"{place}: the answer is not a JSON object: {error}") from error


def _message(text: bytes) -> str:
    """Return the message of a Status, else the beginning of the text."""
    try:
        return str(_object(text, "")["message"])[:1000]
    except (ApiError, KeyError):
        return text[:200].decode(errors="replace")


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[ObjectClient]:
    """Yield a client for the kubeconfig's current context, else for the cluster of this Pod; ApiError if neither.

    Tokens, keys and the cluster's CA are read each time, so that none is stale.
    """
    try:
        client = await api_client(kubeconfig, NO_CLUSTER)
    except ConfigError as error:
        raise ApiError("config", str(error)) from error
    async with client:
        yield ObjectClient(client)
