"""The client of the API server: it lists the objects of a Kind page by page, and watches them line by line."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote

from aiohttp import ClientError, ClientResponse, ClientTimeout
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from webhook.api.version import Version
from webhook.cluster import quota_answers
from webhook.cluster.kinds import Kind, T
from webhook.cluster.quota_answers import Event, Objects, Page, ReadError, Verb, decode_page
from webhook.shared.kubeconfig import ConfigError, api_client

PAGE_LIMIT: Final = 500  # objects in one page of a LIST, as in client-go
# Bytes. The largest object that etcd takes has some 1.5 MB; as JSON it can be six times as large.
MOST_OBJECTS: Final = 100_000  # of a kind, in a cluster
LARGEST_LINE: Final = 10 * 2**20  # of a watch; it has one object
LONG_LINE: Final = 64 * 2**10  # longer lines are decoded in a thread
LARGEST_PAGE: Final = 32 * 2**20  # of a LIST; where a page is larger, the client asks for smaller ones
LARGEST_ERROR: Final = 64 * 2**10  # the body of an HTTP error
NO_CLUSTER: Final = "none of --kubeconfig, --quotas, --no-quotas is given, and this is not a Pod with a service account"
CORE: Final = "/api/v1"
Query: TypeAlias = Sequence[tuple[str, str]]
P = TypeVar("P", bound=Page[Any] | Objects)


def path_of(resource: str, namespace: str = "", api: str = CORE) -> str:
    """Return the path of a resource, of one namespace or of all."""
    return f"{api}/namespaces/{quote(namespace, safe='')}/{resource}" if namespace else f"{api}/{resource}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for the API server, in seconds."""

    connect: float = 5.0
    page: float = 60.0
    idle: float = 150.0  # of a watch, whose bookmarks come about once a minute
    grace: float = 30.0  # for a watch to end after its timeoutSeconds


TIMEOUTS: Final = Timeouts()


class ClusterClient:
    """A client that lists and watches the objects of a cluster."""

    def __init__(self, client: ApiClient, timeouts: Timeouts = TIMEOUTS) -> None:
        """Take a `client` that is configured with the address and the credentials."""
        self._client = client
        self._timeouts = timeouts
        client.user_agent = "flyte-admission"

    async def list(self, kind: Kind[T], namespace: str = "") -> Page[T]:
        """Return all pages of the list as one, for one namespace or for all of them; ReadError if that fails."""
        found: Page[T] = Page([], [], "")
        async for page in self._pages(path_of(kind.resource, namespace), [], partial(decode_page, kind=kind)):
            found = Page(found.items + page.items, found.unreadable + page.unreadable, found.version or page.version)
            if not found.version:
                raise ReadError(f"the answer is not a {kind.name}List: it has no metadata.resourceVersion")
            if page.more and len(found.items) + len(found.unreadable) > MOST_OBJECTS:
                raise ReadError(f"more than {MOST_OBJECTS} {kind.name}s")
        return found

    async def list_objects(
        self, resource: str, namespace: str = "", api: str = CORE, **selectors: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a resource that the selectors select, as plain data; ReadError if that fails."""
        query = [(name, selector) for name, selector in selectors.items() if selector]
        async for page in self._pages(path_of(resource, namespace, api), query, quota_answers.decode_objects):
            for item in page.items:
                yield item

    async def metrics(self) -> str:
        """Return the metrics of the API server itself; ReadError if that fails."""
        limits = ClientTimeout(total=self._timeouts.page, sock_connect=self._timeouts.connect)
        async with self._get("get", "/metrics", [], limits) as response:
            return (await _read(response, LARGEST_PAGE)).decode(errors="replace")

    async def version(self) -> Version:
        """Return the version of Kubernetes that the API server behaves like; ReadError if that fails."""
        limits = ClientTimeout(total=self._timeouts.connect)
        async with self._get("get", "/version", [], limits) as response:
            return quota_answers.decode_version(await _read(response, LARGEST_ERROR))

    async def _pages(self, path: str, query: Query, decode: Callable[[bytes], P]) -> AsyncIterator[P]:
        """Yield the pages of a list, each decoded in a thread."""
        token: str = ""
        size = PAGE_LIMIT
        while True:
            page = await self._page(path, [*query, ("limit", str(size)), *([("continue", token)] if token else [])])
            if page is None:
                if size == 1:
                    raise ReadError(f"an object of more than {LARGEST_PAGE} bytes")
                size = max(1, size // 10)
                continue
            found = await asyncio.to_thread(decode, page)
            yield found
            if not found.more:
                return
            if found.more == token:
                raise ReadError("a page of the list leads to itself")
            token = found.more

    async def _page(self, path: str, query: Query) -> bytes | None:
        """Return one page; None if it has too many bytes and must be smaller."""
        limits = ClientTimeout(total=self._timeouts.page, sock_connect=self._timeouts.connect)
        async with self._get("list", path, query, limits) as response:
            body = await _read(response, LARGEST_PAGE)
        return body if len(body) <= LARGEST_PAGE else None

    @asynccontextmanager
    async def watch(self, kind: Kind[T], version: str, seconds: float) -> AsyncIterator[AsyncIterator[Event[T]]]:
        """Yield the events of all namespaces since that resourceVersion, for so many seconds."""
        query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version),
                 ("timeoutSeconds", str(int(seconds)))]  # fmt: skip
        timeouts = self._timeouts
        limits = ClientTimeout(total=seconds + timeouts.grace, sock_connect=timeouts.connect, sock_read=timeouts.idle)
        async with self._get("watch", path_of(kind.resource), query, limits) as response:
            yield _events(response, kind)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @asynccontextmanager
    async def _get(self, verb: Verb, path: str, query: Query, limits: ClientTimeout) -> AsyncIterator[ClientResponse]:
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
                    resource = path.rpartition("/")[2]
                    raise quota_answers.status_error(
                        f"{verb} on {resource}", response.status, response.reason, after, body
                    )
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


async def _events(response: ClientResponse, kind: Kind[T]) -> AsyncIterator[Event[T]]:
    """Yield the events of a watch, and let other tasks run after each."""
    while line := await response.content.readuntil(max_size=LARGEST_LINE):
        if len(line) > LONG_LINE:
            yield await asyncio.to_thread(quota_answers.decode_event, line, kind)
        else:
            yield quota_answers.decode_event(line, kind)
            await asyncio.sleep(0)


def connect(kubeconfig: Path | None) -> ClusterClient:
    """Return a client for the kubeconfig's current context, else for the cluster of this Pod; ConfigError if neither.

    Nothing is sent yet.
    """
    return ClusterClient(asyncio.run(api_client(kubeconfig, NO_CLUSTER)))
