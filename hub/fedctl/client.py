"""REST over TLS: one request, whole lists, and a stream of events."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import stamina
from stamina.instrumentation import set_on_retry_hooks

from fedcore.byte_stream import StreamTooLong, read_limited
from fedctl.config import Settings
from fedctl.errors import CliError, ExitCode
from fedctl.problem import error_of_answer
from fedctl.timing import Timing

Json = dict[str, Any]
Query = Mapping[str, str | int | bool | None]

PAGE_SIZE: Final = 500
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_FIRST_ERROR_STATUS: Final = 400
_READ_BUFFER_BYTES: Final = 1024 * 1024
"""aiohttp takes no line that is longer than its buffer; an event's line may be long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the hub; ``body`` is None where there is no content."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def path_of(*parts: str) -> str:
    """Build ``/api/v1/...`` with every part quoted as one segment."""
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


@asynccontextmanager
async def connect(settings: Settings, timing: Timing) -> AsyncIterator[Client]:
    """Open a client; nothing is sent before the first call."""
    # The retries are ours to report. stamina's own hooks would log each one, to standard output.
    set_on_retry_hooks(())
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_tls_context(settings)),
        headers={"Authorization": f"Bearer {settings.token}", "User-Agent": "fedctl"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timing.connect_limit_s),
        read_bufsize=_READ_BUFFER_BYTES,
    ) as session:
        yield Client(settings.hub, session, timing)


def _tls_context(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise CliError(
            ExitCode.USAGE, f"{settings.ca_file} holds no certificate that can be read"
        ) from error


class Client:
    """A hub, as one caller sees it.

    Every request has a time limit, attempts included. A request that changes something carries an
    ``Idempotency-Key``: when its answer is lost it is sent again, and the hub carries it out once.
    ``timing`` also holds for those who poll through this client.
    """

    def __init__(self, hub: str, session: aiohttp.ClientSession, timing: Timing) -> None:
        self.hub = hub
        self.timing = timing
        self._session = session

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
        """Send a request; send it again with the same key if the connection or the hub is lost.

        All attempts together end with the time limit, which raises the last attempt's error.
        """
        request_headers = dict(headers or {})
        if method != "GET":
            request_headers["Idempotency-Key"] = str(uuid4())
        content, content_type = _encode(body)
        if content_type:
            request_headers["Content-Type"] = content_type
        last_error: CliError | None = None
        try:
            async with asyncio.timeout(self.timing.request_limit_s):
                async for attempt in self._attempts():
                    with attempt:
                        try:
                            return await self._send(method, path, query, content, request_headers)
                        except CliError as error:
                            last_error = error
                            raise
        except TimeoutError as error:
            raise (last_error or self._lost(error)) from error
        raise AssertionError("the last attempt returns or raises")

    def _attempts(self) -> AsyncIterator[stamina.Attempt]:
        timing = self.timing
        return aiter(
            stamina.retry_context(
                on=_pause_before_retry,
                attempts=timing.request_attempt_count,
                timeout=None,
                wait_initial=timing.retry_first_pause_s,
                wait_jitter=timing.retry_jitter_s,
                wait_max=timing.request_limit_s,
            )
        )

    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply:
        try:
            async with self._session.request(
                method,
                self.hub + path,
                params=_parameters(query),
                data=content,
                headers=headers,
                allow_redirects=False,
            ) as response:
                answer = await _read(response)
                if response.status >= _FIRST_ERROR_STATUS:
                    raise error_of_answer(response.status, response.headers, answer)
                return Reply(response.status, _decode(answer), response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._lost(error) from error

    async def items(self, path: str, query: Query | None = None) -> AsyncIterator[Json]:
        """Yield every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, {"limit": PAGE_SIZE, "cursor": cursor, **(query or {})})
            for item in page["items"]:
                yield item
            next_cursor = page.get("next_cursor")
            if next_cursor is None or next_cursor == cursor:
                return
            cursor = next_cursor

    @asynccontextmanager
    async def lines(self, path: str, query: Query) -> AsyncIterator[AsyncIterator[Json]]:
        """Open a stream of JSON lines; it ends with a CliError when the connection is lost."""
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.timing.connect_limit_s,
            sock_read=self.timing.stream_silence_limit_s,
        )
        try:
            async with self._session.get(
                self.hub + path, params=_parameters(query), timeout=timeout, allow_redirects=False
            ) as response:
                if response.status >= _FIRST_ERROR_STATUS:
                    answer = await _read(response)
                    raise error_of_answer(response.status, response.headers, answer)
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
        return CliError(
            ExitCode.UNAVAILABLE,
            f"{self.hub} cannot be reached: {self._reason(error)}",
            hint="check that the hub runs and that `hub` in the configuration is its address",
            is_retryable=True,
        )

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self.timing.request_limit_s:.0f} s"
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
            return "the connection broke"
        if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.strerror:
            return error.os_error.strerror
        return str(error) or type(error).__name__


def _pause_before_retry(error: Exception) -> bool | float:
    """Return whether to try again, and after how many seconds where the hub has said so."""
    if not isinstance(error, CliError) or not error.is_retryable:
        return False
    return True if error.retry_after_s is None else error.retry_after_s


def _encode(body: Json | bytes | None) -> tuple[bytes | None, str]:
    """Return the content of a request and its type: bytes are a chart archive."""
    if body is None:
        return None, ""
    if isinstance(body, bytes):
        return body, "application/gzip"
    return json.dumps(body).encode(), "application/json"


def _parameters(query: Query | None) -> dict[str, str]:
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in (query or {}).items()
        if value is not None
    }


async def _read(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await read_limited(response.content.iter_any(), _MAX_ANSWER_BYTES)
    except StreamTooLong as error:
        message = f"the answer is larger than {error.limit_bytes} bytes"
        raise CliError(ExitCode.INTERNAL, message) from error


def _decode(content: bytes) -> Any:
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
            yield _decode(line)
    raise aiohttp.ServerDisconnectedError("the stream ended")
