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
from typing import Final
from urllib.parse import quote

import yaml
from aiohttp import ClientError, ClientResponse, ClientTimeout
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from webhook.cluster import quota_answers
from webhook.cluster.quota_answers import Event, Page, ReadError, Verb

PAGE: Final = 500  # objects of one answer to a LIST, as client-go asks for them
# Bytes. The largest object that etcd takes has some 1.5 MB, of which JSON can make six times as many.
LARGEST_LINE: Final = 10 * 2**20  # of a watch: one object
LONG_LINE: Final = 64 * 2**10  # is decoded in a thread
LARGEST_PAGE: Final = 32 * 2**20  # of a LIST; of pages that are larger, smaller ones are asked for
LARGEST_REFUSAL: Final = 64 * 2**10  # of what comes with an HTTP error
TOKEN_SECONDS: Final = 60.0  # for so long a token read from the kubeconfig is taken for fresh
POD: Final = "none of --kubeconfig, --quotas, --no-quotas is given, and this is no Pod with a service account"
RESOURCEQUOTAS: Final = "/api/v1/resourcequotas"


class ClusterError(Exception):
    """There is no way to the cluster; the message names the file, or what would be accepted."""


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

    async def quotas(self, namespace: str = "") -> Page:
        """List the quotas of the namespace, else of all of them."""
        where = f"/api/v1/namespaces/{quote(namespace, safe='')}/resourcequotas" if namespace else RESOURCEQUOTAS
        found = Page([], [], "")
        token, size = "", PAGE
        while True:
            page = await self._page(where, token, size)
            if page is None:
                size = max(1, size // 10)
                continue
            found = Page(found.quotas + page.quotas, found.unreadable + page.unreadable, found.version or page.version)
            if not found.version:
                raise ReadError("the answer is no ResourceQuotaList: it has no metadata.resourceVersion")
            if not page.more:
                return found
            if page.more == token:
                raise ReadError("a page of the list leads to itself")
            token = page.more

    async def _page(self, where: str, token: str, size: int) -> Page | None:
        """One answer to a LIST, decoded in a thread; None if it is too large for so many objects."""
        query = [("limit", str(size)), *([("continue", token)] if token else [])]
        limits = ClientTimeout(total=self._patience.page, sock_connect=self._patience.connect)
        async with self._get("list", where, query, limits) as response:
            body = await _read(response, LARGEST_PAGE)
        if len(body) <= LARGEST_PAGE:
            return await asyncio.to_thread(quota_answers.page, body)
        if size == 1:
            raise ReadError(f"a ResourceQuota of more than {LARGEST_PAGE} bytes")
        return None

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
            yield _events(response)

    async def close(self) -> None:
        """Give the connections up."""
        await self._client.close()

    @asynccontextmanager
    async def _get(
        self, verb: Verb, where: str, query: list[tuple[str, str]], limits: ClientTimeout
    ) -> AsyncIterator[ClientResponse]:
        """A good answer; ReadError where there is none, or where it breaks off."""
        accept = {"Accept": "application/json"}
        try:
            request = await self._client.param_serialize(
                "GET", where, query_params=query, header_params=accept, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=limits, _preload_content=False)
            async with answer.response as response:
                if response.status != 200:
                    body = await _read(response, LARGEST_REFUSAL)
                    after = response.headers.get("Retry-After")
                    raise quota_answers.refusal(verb, response.status, response.reason, after, body)
                yield response
        except TimeoutError as error:
            raise ReadError(f"nothing came in time: {str(error) or 'the whole took too long'}") from error
        except (ClientError, HttpProcessingError, OSError, ConfigException, ClusterError) as error:
            raise ReadError(f"{type(error).__name__}: {error}") from error


async def _read(response: ClientResponse, most: int) -> bytes:
    """Return the body; of one with more than so many bytes, no more than the first piece that is too much."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            break
    return bytes(body)


async def _events(response: ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of a watch line by line, one a turn of the event loop however many have come."""
    while line := await response.content.readuntil(max_size=LARGEST_LINE):
        if len(line) > LONG_LINE:
            yield await asyncio.to_thread(quota_answers.event, line)
        else:
            yield quota_answers.event(line)
            await asyncio.sleep(0)


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
