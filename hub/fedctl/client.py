"""REST over TLS: one request, whole lists, and a stream of events."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from fedctl.config import Settings
from fedctl.errors import CliError, ExitCode
from fedctl.problem import error_of_problem

Json = dict[str, Any]
Query = Mapping[str, str | int | bool | None]

PAGE_SIZE: Final = 500
REQUEST_LIMIT_S: Final = 30.0
STREAM_SILENCE_S: Final = 45.0
"""The hub sends a blank line about every 10 s; after this silence the line counts as dead."""
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_ATTEMPTS: Final = 4
_BACKOFF_S: Final = 0.2
_ERRORS: Final = 400


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the hub; ``body`` None where there is no content."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def path_of(*parts: str) -> str:
    """Build ``/api/v1/...`` with every part quoted as one segment."""
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Client]:
    """Open a client; nothing is sent before the first call."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_trust(settings)),
        headers={"Authorization": f"Bearer {settings.token}", "User-Agent": "fedctl"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        read_bufsize=1024 * 1024,
    ) as session:
        yield Client(settings.hub, session)


def _trust(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise CliError(
            ExitCode.USAGE, f"{settings.ca_file} holds no certificate that can be read"
        ) from error


class Client:
    """A hub, as one caller sees it.

    Every request has a time limit, attempts included. What changes something carries an
    ``Idempotency-Key``, so that a request whose answer was lost is sent again without being carried
    out twice.
    """

    def __init__(
        self, hub: str, session: aiohttp.ClientSession, *, backoff_s: float = _BACKOFF_S
    ) -> None:
        self.hub = hub
        self._session = session
        self._backoff_s = backoff_s

    async def get(self, path: str, query: Query | None = None) -> Any:
        """Return the body of a GET."""
        return (await self.request("GET", path, query=query)).body

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request, again with the same key if the connection or the hub is lost.

        All attempts together end with the time limit.
        """
        sent = dict(headers or {})
        if method != "GET":
            sent["Idempotency-Key"] = str(uuid4())
        if isinstance(body, bytes):
            sent["Content-Type"] = "application/gzip"
        elif body is not None:
            sent["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        last: CliError | None = None
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                for attempt in count(1):
                    try:
                        return await self._send(method, path, query, body, sent)
                    except CliError as failure:
                        if not failure.is_retryable or attempt == _ATTEMPTS:
                            raise
                        last = failure
                    pause = self._backoff_s * 2**attempt
                    await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads
        except TimeoutError as error:
            raise (last or self._lost(error)) from error
        raise AssertionError("the loop returns or raises")

    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply:
        try:
            async with self._session.request(
                method,
                self.hub + path,
                params=_pairs(query),
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as response:
                content = await _read(response)
                if response.status >= _ERRORS:
                    raise error_of_problem(response.status, content)
                return Reply(response.status, _parsed(content), response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._lost(error) from error

    async def items(self, path: str, query: Query | None = None) -> AsyncIterator[Json]:
        """Walk a list to its end, page by page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, {"limit": PAGE_SIZE, "cursor": cursor, **(query or {})})
            for item in page["items"]:
                yield item
            following = page.get("next_cursor")
            if following is None or following == cursor:
                return
            cursor = following

    @asynccontextmanager
    async def lines(self, path: str, query: Query) -> AsyncIterator[AsyncIterator[Json]]:
        """Open a stream of JSON lines; it ends with a CliError when the line is lost."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=STREAM_SILENCE_S)
        try:
            async with self._session.get(
                self.hub + path, params=_pairs(query), timeout=timeout, allow_redirects=False
            ) as response:
                if response.status >= _ERRORS:
                    raise error_of_problem(response.status, await _read(response))
                yield _json_lines(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> CliError:
        if isinstance(error, aiohttp.InvalidURL):
            return CliError(
                ExitCode.USAGE,
                f"{self.hub} is no address",
                hint="write it as https://host:port",
            )
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
            return CliError(
                ExitCode.UNAVAILABLE,
                f"the certificate of {self.hub} cannot be trusted: {error}",
                hint="give the hub's ca.pem as ca_file, and the name that its certificate bears",
            )
        reason = _reason(error)
        return CliError(
            ExitCode.UNAVAILABLE,
            f"{self.hub} cannot be reached: {reason}",
            hint="check that the hub runs and that `hub` in the configuration is its address",
            is_retryable=True,
        )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {REQUEST_LIMIT_S:.0f} s"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "the connection broke"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.strerror:
        return error.os_error.strerror
    return str(error) or type(error).__name__


def _pairs(query: Query | None) -> dict[str, str]:
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in (query or {}).items()
        if value is not None
    }


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = await response.content.read(_MAX_ANSWER_BYTES + 1)
    chunks = [content]
    size = len(content)
    while content and size <= _MAX_ANSWER_BYTES:
        content = await response.content.read(_MAX_ANSWER_BYTES + 1)
        chunks.append(content)
        size += len(content)
    if size > _MAX_ANSWER_BYTES:
        raise CliError(ExitCode.INTERNAL, f"the answer is larger than {_MAX_ANSWER_BYTES} bytes")
    return b"".join(chunks)


def _parsed(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CliError(
            ExitCode.INTERNAL,
            "the answer is no JSON",
            hint="check that `hub` in the configuration is the address of a fedhub",
        ) from error


async def _json_lines(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async for line in response.content:
        if line.strip():
            yield _parsed(line)
    raise aiohttp.ServerDisconnectedError("the stream ended")
