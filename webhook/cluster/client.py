"""The client of the API server: it lists ResourceQuotas page by page, and watches them line by line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import ClientError, ClientResponse, ClientTimeout
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from webhook.cluster import quota_answers
from webhook.cluster.quota_answers import Event, Page, ReadError, Verb
from webhook.shared.kubeconfig import ConfigError, api_client

PAGE_LIMIT: Final = 500  # objects in one page of a LIST, as in client-go
# Bytes. The largest object that etcd takes has some 1.5 MB; as JSON it can be six times as large.
MOST_QUOTAS: Final = 100_000  # in a cluster
LARGEST_LINE: Final = 10 * 2**20  # of a watch; it has one object
LONG_LINE: Final = 64 * 2**10  # longer lines are decoded in a thread
LARGEST_PAGE: Final = 32 * 2**20  # of a LIST; where a page is larger, the client asks for smaller ones
LARGEST_ERROR: Final = 64 * 2**10  # the body of an HTTP error
NO_CLUSTER: Final = "none of --kubeconfig, --quotas, --no-quotas is given, and this is not a Pod with a service account"
RESOURCE_QUOTAS: Final = "/api/v1/resourcequotas"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for the API server, in seconds."""

    connect: float = 5.0
    page: float = 60.0
    idle: float = 150.0  # of a watch, whose bookmarks come about once a minute
    grace: float = 30.0  # for a watch to end after its timeoutSeconds


TIMEOUTS: Final = Timeouts()


class QuotaClient:
    """A client that lists and watches the ResourceQuotas of a cluster."""

    def __init__(self, client: ApiClient, timeouts: Timeouts = TIMEOUTS) -> None:
        """Take a `client` that is configured with the address and the credentials."""
        self._client = client
        self._timeouts = timeouts
        client.user_agent = "flyte-admission"

    async def list_quotas(self, namespace: str = "") -> Page:
        """Return all pages of the list as one, for one namespace or for all of them; ReadError if that fails."""
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/resourcequotas" if namespace else RESOURCE_QUOTAS
        found = Page([], [], "")
        token, size = "", PAGE_LIMIT
        while True:
            page = await self._page(path, token, size)
            if page is None:
                size = max(1, size // 10)
                continue
            found = Page(found.quotas + page.quotas, found.unreadable + page.unreadable, found.version or page.version)
            if not found.version:
                raise ReadError("the answer is not a ResourceQuotaList: it has no metadata.resourceVersion")
            if not page.more:
                return found
            if len(found.quotas) + len(found.unreadable) > MOST_QUOTAS:
                raise ReadError(f"more than {MOST_QUOTAS} ResourceQuotas")
            if page.more == token:
                raise ReadError("a page of the list leads to itself")
            token = page.more

    async def _page(self, path: str, token: str, size: int) -> Page | None:
        """Return one page, decoded in a thread; None if it has too many bytes and `size` must be smaller."""
        query = [("limit", str(size)), *([("continue", token)] if token else [])]
        limits = ClientTimeout(total=self._timeouts.page, sock_connect=self._timeouts.connect)
        async with self._get("list", path, query, limits) as response:
            body = await _read(response, LARGEST_PAGE)
        if len(body) <= LARGEST_PAGE:
            return await asyncio.to_thread(quota_answers.decode_page, body)
        if size == 1:
            raise ReadError(f"a ResourceQuota of more than {LARGEST_PAGE} bytes")
        return None

    @asynccontextmanager
    async def watch(self, version: str, seconds: float) -> AsyncIterator[AsyncIterator[Event]]:
        """Yield the events of all namespaces since that resourceVersion, for so many seconds."""
        query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version),
                 ("timeoutSeconds", str(int(seconds)))]  # fmt: skip
        timeouts = self._timeouts
        limits = ClientTimeout(total=seconds + timeouts.grace, sock_connect=timeouts.connect, sock_read=timeouts.idle)
        async with self._get("watch", RESOURCE_QUOTAS, query, limits) as response:
            yield _events(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @asynccontextmanager
    async def _get(
        self, verb: Verb, path: str, query: list[tuple[str, str]], limits: ClientTimeout
    ) -> AsyncIterator[ClientResponse]:
        """Yield a response with status 200; ReadError if there is none, or if it breaks off."""
        accept = {"Accept": "application/json"}
        try:
            request = await self._client.param_serialize(
                "GET", path, query_params=query, header_params=accept, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=limits, _preload_content=False)
            async with answer.response as response:
                if response.status != 200:
                    body = await _read(response, LARGEST_ERROR)
                    after = response.headers.get("Retry-After")
                    raise quota_answers.status_error(verb, response.status, response.reason, after, body)
                yield response
        except TimeoutError as error:
            raise ReadError(f"nothing came in time: {str(error) or 'the whole took too long'}") from error
        except (ClientError, HttpProcessingError, OSError, ConfigException, ConfigError) as error:
            raise ReadError(f"{type(error).__name__}: {error}") from error


async def _read(response: ClientResponse, limit: int) -> bytes:
    """Return the body; stop after the first chunk that takes it over the limit."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


async def _events(response: ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of a watch, and let other tasks run after each."""
    while line := await response.content.readuntil(max_size=LARGEST_LINE):
        if len(line) > LONG_LINE:
            yield await asyncio.to_thread(quota_answers.decode_event, line)
        else:
            yield quota_answers.decode_event(line)
            await asyncio.sleep(0)


def connect(kubeconfig: Path | None) -> QuotaClient:
    """Return a client for the kubeconfig's current context, else for the cluster of this Pod; ConfigError if neither.

    Nothing is sent yet.
    """
    return QuotaClient(asyncio.run(api_client(kubeconfig, NO_CLUSTER)))
