"""One connection to a site's Kubernetes API: requests, streams and WebSockets behind typed errors.

It speaks REST by ``aiohttp`` itself. The typed classes of the ``kubernetes`` package would add
40 MB to an idle agent (its budget is 120 MB) and give nothing that a path and a JSON body do not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import stamina

from fedagent.kube.config import ServerAccess, load_access
from fedagent.kube.errors import KubeError, TooLarge, Unauthorized, Unavailable, error_of
from fedagent.kube.timing import KubeTiming
from fedcore.byte_stream import read_limited
from fedcore.http import CallErrors, network_call

Json = dict[str, Any]

JSON: Final = "application/json"
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""A page of 250 large objects stays far below it."""
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
_CONNECTIONS: Final = 64
_ERRORS: Final = CallErrors(
    failures=(aiohttp.ClientError,), unavailable=Unavailable, too_large=TooLarge
)


@asynccontextmanager
async def connect(
    kubeconfig: Path | None, *, context: str | None = None, timing: KubeTiming | None = None
) -> AsyncIterator[Kube]:
    """Open the Kubernetes API of a kubeconfig file, or of the pod's own cluster when it is None.

    No request is sent yet. Raises ``config.BadConfig`` when the credentials cannot be read.
    """
    timing = timing if timing is not None else KubeTiming()
    kube = Kube(await load_access(kubeconfig, context=context, timing=timing), timing)
    try:
        yield kube
    finally:
        await kube.close()


class Kube:
    """The Kubernetes API of one site.

    ``requests`` counts what was sent. Every failure leaves as a ``KubeError``.
    """

    def __init__(self, access: ServerAccess, timing: KubeTiming | None = None) -> None:
        self.access = access
        self.timing = timing if timing is not None else KubeTiming()
        self.requests = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=access.tls or True, limit=_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timing.connect_limit_s),
            auto_decompress=True,
        )

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self.access.url

    async def close(self) -> None:
        """Close every connection; watches and forwards that still run end with Unavailable."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | Sequence[Json] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        limit_s: float | None = None,
    ) -> Json:
        """Send one request and return the JSON answer.

        An answer of 429 means that nothing was done: it is sent again after the server's
        ``Retry-After``, within ``limit_s`` (by default ``KubeTiming.request_limit_s``). So is,
        once, a request whose token has run out.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {})
        async with reading(f"{method} {path}", limit_s=limit_s or self.timing.request_limit_s):
            content = await self._send_until_taken(method, path, query, data, headers)
        return _parse(content)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a long answer (watch, log); the reader sets the time limits of its own reads.

        Failures to open leave as ``KubeError``; those while reading are for the reader to turn
        with ``reading``.
        """
        async with reading(f"GET {path}", limit_s=self.timing.request_limit_s):
            response = await self._open("GET", path, query, None, {"Accept": JSON})
        try:
            yield response
        finally:
            response.close()

    async def websocket(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        protocols: Sequence[str],
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket to a pod's subresource; the caller closes it.

        A close of the server is handed on as a message: it ends an answer, a lost connection does
        not.
        """
        headers = await self._headers({})
        self.requests += 1
        what = f"WebSocket {path}"
        async with reading(what, limit_s=self.timing.request_limit_s):
            try:
                return await self._session.ws_connect(
                    self.access.url + path,
                    params=list(query),
                    protocols=tuple(protocols),
                    headers=headers,
                    server_hostname=self.access.server_name,
                    proxy=self.access.proxy,
                    max_msg_size=MAX_FRAME_BYTES,
                    autoclose=False,
                )
            except aiohttp.WSServerHandshakeError as error:
                text = f"{what} was refused: {error.message}"
                raise error_of(error.status, text.encode()) from error

    async def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        token = await self.access.token.header()
        return dict(headers) | ({"Authorization": token} if token else {})

    async def _send_until_taken(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> bytes:
        attempts = stamina.retry_context(
            on=self._throttle_wait_s, attempts=self.timing.throttle_count, timeout=None
        )
        async for attempt in attempts:
            with attempt:
                try:
                    return await self._send(method, path, query, data, headers)
                except Unauthorized:
                    # The token was forgotten: a new one is read, and refused only if it is bad.
                    return await self._send(method, path, query, data, headers)
        raise AssertionError("the last attempt returns or raises")

    def _throttle_wait_s(self, error: Exception) -> float | bool:
        """Return the wait before a throttled request is sent again; False for any other error."""
        if not isinstance(error, _Throttled):
            return False
        wait_s = self.timing.throttle_wait_s if error.wait_s is None else error.wait_s
        return min(wait_s, self.timing.throttle_max_wait_s)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> bytes:
        response = await self._open(method, path, query, data, headers)
        async with response:
            return await read_limited(response.content.iter_any(), MAX_ANSWER_BYTES)

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> aiohttp.ClientResponse:
        self.requests += 1
        response = await self._session.request(
            method,
            self.access.url + path,
            params=dict(query or {}),
            data=data,
            headers=await self._headers(headers),
            server_hostname=self.access.server_name,
            proxy=self.access.proxy,
            allow_redirects=False,
        )
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            return response
        async with response:
            error = error_of(response.status, await response.content.read(MAX_ERROR_BYTES))
        if isinstance(error, Unauthorized):
            self.access.token.forget()
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise _Throttled(error, response.headers.get("Retry-After"))
        raise error


class _Throttled(Unavailable):
    """The server is busy and has done nothing."""

    def __init__(self, error: KubeError, retry_after: str | None) -> None:
        super().__init__(error.message, status=error.status, reason=error.reason)
        self.wait_s = float(retry_after) if retry_after and retry_after.isdigit() else None


def reading(what: str, *, limit_s: float | None = None) -> AbstractAsyncContextManager[None]:
    """Turn failures of the network into Unavailable; without a limit a TimeoutError passes."""
    return network_call(what, errors=_ERRORS, limit_s=limit_s)


def _parse(content: bytes) -> Json:
    try:
        parsed = json.loads(content) if content else {}
    except ValueError as error:
        raise Unavailable("the Kubernetes API answered something that is no JSON") from error
    if not isinstance(parsed, dict):
        raise Unavailable("the Kubernetes API answered JSON that is no object")
    return parsed
