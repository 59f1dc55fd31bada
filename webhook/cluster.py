"""The only reader of the API server: its ResourceQuotas, listed page by page and watched line by line.

Of the client library this takes the configuration and the connection; its models drop what they do not know, and its
watches neither time out nor slow down when they fail.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

import msgspec
import yaml
from aiohttp import ClientError, ClientResponse, ClientTimeout
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from msgspec import Raw, Struct

from webhook.pod import Wire, decode_hook
from webhook.snapshot import ResourceQuota

PAGE: Final = 500  # objects of one answer to a LIST, as client-go asks for them
GONE: Final = 410  # what was asked for has been compacted away
TOKEN_SECONDS: Final = 60.0  # for so long a token read from the kubeconfig is taken for fresh
POD: Final = "none of --kubeconfig, --quotas, --no-quotas is given, and this is no Pod with a service account"
RESOURCEQUOTAS: Final = "/api/v1/resourcequotas"
Verb: TypeAlias = Literal["list", "watch"]


class ClusterError(Exception):
    """There is no way to the cluster; the message names the file, or what would be accepted."""


class ReadError(Exception):
    """The API server did not answer as hoped; the message says how it did."""

    def __init__(self, message: str, status: int = 0, retry_after: float = 0.0) -> None:
        """`retry_after` is how many seconds the server wants to be left alone."""
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class _ListMeta(Wire, frozen=True):
    resource_version: str | None = None
    next: str | None = msgspec.field(default=None, name="continue")


class _List(Wire, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[ResourceQuota] | None = None


class _Details(Wire, frozen=True):
    retry_after_seconds: int | None = None


class _Status(Wire, frozen=True):
    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


class _Line(Wire, frozen=True):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Raw


class Event(Struct, frozen=True, gc=False):
    """One change; a BOOKMARK's quota has nothing but the resourceVersion to resume from."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    quota: ResourceQuota


_decode_list: Final = msgspec.json.Decoder(_List, dec_hook=decode_hook).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_quota: Final = msgspec.json.Decoder(ResourceQuota, dec_hook=decode_hook).decode
_decode_status: Final = msgspec.json.Decoder(_Status).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until an API server that keeps silent is given up."""

    connect: float = 5.0
    page: float = 60.0
    silence: float = 150.0  # of a watch, whose bookmarks come about once a minute
    grace: float = 30.0  # for a watch to end after the time it was asked for


PATIENCE: Final = Patience()


class Api:
    """The ResourceQuotas of a cluster, as the API server has them now."""

    def __init__(self, client: ApiClient, patience: Patience = PATIENCE) -> None:
        """The client knows where the cluster is, and who we are there."""
        self._client = client
        self._patience = patience
        client.user_agent = "flyte-admission"

    async def quotas(self, namespace: str = "") -> tuple[list[ResourceQuota], str]:
        """The quotas of the namespace, else of all of them, and the resourceVersion that they are a picture of."""
        where = f"/api/v1/namespaces/{quote(namespace, safe='')}/resourcequotas" if namespace else RESOURCEQUOTAS
        limits = ClientTimeout(total=self._patience.page, sock_connect=self._patience.connect)
        found: list[ResourceQuota] = []
        version = token = ""
        while True:
            query = [("limit", str(PAGE)), *([("continue", token)] if token else [])]
            async with self._get("list", where, query, limits) as response:
                page = _decode_list(await response.read())
            found += page.items or ()
            version = version or page.metadata.resource_version or ""
            token = page.metadata.next or ""
            if not version:
                raise ReadError("the answer is no ResourceQuotaList: it has no metadata.resourceVersion")
            if not token:
                return found, version

    @asynccontextmanager
    async def watch(self, version: str, seconds: float) -> AsyncIterator[AsyncIterator[Event]]:
        """The changes of all namespaces since that resourceVersion as they come, for so many seconds."""
        query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version),
                 ("timeoutSeconds", str(int(seconds)))]  # fmt: skip
        patience = self._patience
        limits = ClientTimeout(
            total=seconds + patience.grace, sock_connect=patience.connect, sock_read=patience.silence
        )
        async with self._get("watch", RESOURCEQUOTAS, query, limits) as response:
            yield (_event(line) async for line in response.content)

    async def close(self) -> None:
        """Give the connections up."""
        await self._client.close()

    @asynccontextmanager
    async def _get(
        self, verb: Verb, where: str, query: list[tuple[str, str]], limits: ClientTimeout
    ) -> AsyncIterator[ClientResponse]:
        """A good answer; ReadError where there is none, or where it breaks off or cannot be read."""
        accept = {"Accept": "application/json"}
        try:
            request = await self._client.param_serialize(
                "GET", where, query_params=query, header_params=accept, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=limits, _preload_content=False)
            async with answer.response as response:
                if response.status != 200:
                    raise _refused(verb, response, await response.read())
                yield response
        except TimeoutError as error:
            raise ReadError(f"nothing came in time: {str(error) or 'the whole took too long'}") from error
        except (ClientError, HttpProcessingError, OSError, ConfigException, ClusterError) as error:
            raise ReadError(f"{type(error).__name__}: {error}") from error
        except _UNREADABLE as error:
            raise ReadError(f"the answer cannot be read: {error}") from error


def _event(line: bytes) -> Event:
    """What a line of a watch tells; ReadError if that is the end of it."""
    read = _decode_line(line)
    if read.type != "ERROR":
        return Event(read.type, _decode_quota(read.object))
    status = _decode_status(read.object)
    seconds = (status.details and status.details.retry_after_seconds) or 0
    raise ReadError(f"{status.code} {status.reason}: {status.message}", status.code or 0, seconds)


def _refused(verb: Verb, response: ClientResponse, body: bytes) -> ReadError:
    try:
        told = _decode_status(body).message or ""
    except _UNREADABLE:  # a proxy's own words
        told = body[:200].decode(errors="replace")
    hint = f"; needed is a ClusterRole with the verb {verb} on resourcequotas" if response.status == 403 else ""
    seconds = response.headers.get("Retry-After", "")
    message = f"{response.status} {response.reason}: {told}{hint}"
    return ReadError(message, response.status, float(seconds) if seconds.isdecimal() else 0.0)


def connect(kubeconfig: Path | None) -> Api:
    """The cluster of the kubeconfig's current context, else the one that this Pod runs in; ClusterError if neither."""
    configuration = Configuration()
    # As in client-go: chain, names and dates are checked, but not that each CA is by the letter of RFC 5280.
    configuration.disable_strict_ssl_verification = True
    try:
        if kubeconfig:
            asyncio.run(_follow(kubeconfig, configuration))
        else:
            load_incluster_config(configuration)
        return Api(ApiClient(configuration))
    except ssl.SSLError as error:
        raise ClusterError(f"{kubeconfig or POD}: its certificates or keys cannot be used: {error.reason}") from error
    except (OSError, ConfigException) as error:
        raise ClusterError(f"{kubeconfig or POD}: {error}") from error


async def _follow(kubeconfig: Path, configuration: Configuration) -> None:
    """Be who the file says, and look after a token that expires, as the client does only for a service account's."""
    with _explained(kubeconfig):
        loader = await load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    _strip(configuration)
    read = monotonic()

    async def refresh(configuration: Configuration) -> None:
        nonlocal read
        if monotonic() - read > TOKEN_SECONDS:
            with _explained(kubeconfig):
                await loader.load_and_set(configuration)  # the token file again, and the exec plugin when it is time
            _strip(configuration)
            read = monotonic()

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]  # it is untyped


@contextmanager
def _explained(kubeconfig: Path) -> Iterator[None]:
    """ClusterError for what the loader makes of a file that it does not expect."""
    try:
        yield
    except yaml.YAMLError as error:
        raise ClusterError(f"{kubeconfig}: no YAML: {' '.join(str(error).split())}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(f"{kubeconfig}: no kubeconfig: {error}") from error


def _strip(configuration: Configuration) -> None:
    """Have no line break in a header that came from the end of a token file."""
    configuration.api_key = {name: token.strip() for name, token in configuration.api_key.items()}
