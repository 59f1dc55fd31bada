"""The API server: get, patch, create and update of objects by name, as plain JSON.

Of the client library this takes the configuration and the connection; its models would drop what they do not know.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
import yaml
from aiohttp import ClientError, ClientTimeout
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

Json: TypeAlias = dict[str, Any]
Method: TypeAlias = Literal["GET", "PATCH", "POST", "PUT"]
PATIENCE: Final = ClientTimeout(total=15, sock_connect=5)  # seconds for one answer
KINDS: Final = {401: "forbidden", 403: "forbidden", 404: "not_found", 409: "conflict"}
POD: Final = "no --kubeconfig is given, and the service account of a Pod is not to be had"


class ClusterError(Exception):
    """Something could not be read or written; `kind` is one word for the metric."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Api:
    """A connection to the API server."""

    def __init__(self, client: ApiClient) -> None:
        """The client knows where it is, and who we are there."""
        self._client = client
        client.user_agent = "flyte-admission-certs"

    async def get(self, path: str) -> Json:
        """The object as it is now."""
        return await self._answer("GET", path, {})

    async def patch(self, path: str, operations: list[Json]) -> None:
        """Apply a JSON Patch."""
        await self._answer("PATCH", path, {}, operations, "application/json-patch+json")

    async def create(self, path: str, body: Json, *, dry_run: bool) -> None:
        """Add the object to the collection."""
        await self._answer("POST", path, {"dryRun": "All"} if dry_run else {}, body)

    async def update(self, path: str, body: Json, *, dry_run: bool) -> None:
        """Replace the object, if it still has the resourceVersion of the body."""
        await self._answer("PUT", path, {"dryRun": "All"} if dry_run else {}, body)

    async def _answer(
        self, method: Method, path: str, query: Mapping[str, str], body: Any = None, kind: str = "application/json"
    ) -> Json:
        """The JSON of a good answer; ClusterError where there is none."""
        writes = {"fieldManager": "flyte-admission-certs"} if body is not None else {}
        headers = {"Accept": "application/json", "Content-Type": kind}
        place = f"{method} {path}"
        try:
            request = await self._client.param_serialize(
                method, path, query_params=[*query.items(), *writes.items()], header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer = await self._client.call_api(*request, _request_timeout=PATIENCE)
            text = await answer.response.read()
        except TimeoutError as error:
            raise ClusterError("unreachable", f"{place}: no answer within {PATIENCE.total:g} s") from error
        except (ClientError, HttpProcessingError, OSError, ConfigException) as error:
            raise ClusterError("unreachable", f"{place}: {type(error).__name__}: {error}") from error
        if not 200 <= answer.status < 300:
            kind = KINDS.get(answer.status, "refused")
            raise ClusterError(kind, f"{place}: {answer.status} {answer.reason}: {_message(text)}")
        return _object(text, place)


def _object(text: bytes, place: str) -> Json:
    try:
        return msgspec.json.decode(text, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClusterError("refused", f"{place}: the answer is no JSON object: {error}") from error


def _message(text: bytes) -> str:
    """What a Status says, else the beginning of what came instead."""
    try:
        return str(_object(text, "")["message"])[:1000]
    except (ClusterError, KeyError):
        return text[:200].decode(errors="replace")


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[Api]:
    """The cluster of the kubeconfig's current context, else the one that this Pod runs in.

    Tokens, keys and the cluster's CA are read each time, so that none of them grows old.
    """
    configuration = Configuration()
    # As in client-go: chain, names and dates are checked, but not that each CA is by the letter of RFC 5280.
    configuration.disable_strict_ssl_verification = True
    place = str(kubeconfig or POD)
    try:
        if kubeconfig:
            await _load(kubeconfig, configuration)
        else:
            load_incluster_config(configuration)
        client = ApiClient(configuration)
    except ssl.SSLError as error:
        raise ClusterError("config", f"{place}: its certificates or keys cannot be used: {error.reason}") from error
    except (OSError, ConfigException) as error:
        raise ClusterError("config", f"{place}: {error}") from error
    async with client:
        yield Api(client)


async def _load(kubeconfig: Path, configuration: Configuration) -> None:
    """Take over what the file says; its exec plugin is run, its token file read."""
    try:
        await load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    except yaml.YAMLError as error:
        raise ClusterError("config", f"{kubeconfig}: no YAML: {' '.join(str(error).split())}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # how the loader takes what it does not expect
        raise ClusterError("config", f"{kubeconfig}: no kubeconfig: {error}") from error
    for name, token in configuration.api_key.items():
        configuration.api_key[name] = token.strip()  # a file ends in a line break, a header must not
