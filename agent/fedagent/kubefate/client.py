"""KubeFATE's REST API: its exact paths, one cached token, a time limit on every call.

Facts: KubeFATE ``pkg/api/router.go``. Lists end in a slash and creations do not, or the service
redirects. A login costs the service 1.25 s, a token lives 30 minutes and dies with the process.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import structlog

from fedagent.kubefate.errors import TooLarge, Unauthorized, Unavailable, WrongAnswer, error_of
from fedagent.kubefate.records import (
    ChartRow,
    Cluster,
    ClusterArgs,
    Job,
    Json,
    parse_chart,
    parse_cluster,
    parse_job,
)
from fedagent.kubefate.timing import KubeFateTiming
from fedcore.byte_stream import read_limited
from fedcore.clock import Clock, SystemClock
from fedcore.http import CallErrors, network_call

log = structlog.get_logger()
R = TypeVar("R")

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
MAX_CHART_LIST_BYTES: Final = 64 * 1024 * 1024
"""It holds the templates of every chart, base64: some hundreds of KB each."""
MAX_ERROR_BYTES: Final = 64 * 1024
_ERRORS: Final = CallErrors(
    failures=(aiohttp.ClientError,), unavailable=Unavailable, too_large=TooLarge
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A KubeFATE user. The password is kept out of every representation."""

    username: str
    password: str = field(repr=False)


@dataclass(slots=True)
class _Token:
    value: str
    since_s: float


class KubeFate:
    """One KubeFATE service. Use it as an async context manager; calls may run side by side.

    ``requests`` and ``logins`` count what was sent. ``restart_seen_at`` is when a young token was
    last refused, which happens when the service has restarted and has forgotten its signing key.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        host: str | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        timing: KubeFateTiming | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.requests = 0
        self.logins = 0
        self.restart_seen_at: datetime | None = None
        self._credentials = credentials
        self._clock: Clock = clock or SystemClock()
        self.timing = timing if timing is not None else KubeFateTiming()
        self._token: _Token | None = None
        self._answered_s: float | None = None
        self._login_lock = asyncio.Lock()
        self._session = aiohttp.ClientSession(
            headers={"Host": host} if host else None,
            connector=aiohttp.TCPConnector(ssl=tls or True, limit=8),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timing.connect_limit_s),
        )
        # aiohttp sends PUT and DELETE again by itself when the connection breaks: that would begin
        # a second job. There is no public switch; its own TestClient uses this one.
        self._session._retry_connection = False  # noqa: SLF001 - see above

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def has_answered_within(self, seconds: float) -> bool:
        """Return whether the service did what somebody asked, so lately."""
        answered_s = self._answered_s
        return answered_s is not None and self._clock.monotonic() - answered_s <= seconds

    async def version(self) -> str:
        """Return the service's version, e.g. ``v1.4.5``; raises WrongAnswer when it says none."""
        answer = await self._call("GET", "/v1/version/")
        version = answer.get("version")
        if not isinstance(version, str) or not version:
            raise WrongAnswer("the service tells no version")
        return version

    async def clusters(self, *, include_deleted: bool = False) -> tuple[Cluster, ...]:
        """Return every cluster record; their status may be stale (only GET-one refreshes it)."""
        query = {"all": "true"} if include_deleted else None
        answer = await self._call("GET", "/v1/cluster/", query=query)
        return tuple(parse_cluster(row) for row in _rows(answer))

    async def cluster(self, uuid: str) -> Cluster:
        """Return one cluster record, its status refreshed; raises RecordNotFound."""
        return _read(parse_cluster, await self._call("GET", f"/v1/cluster/{uuid}"))

    async def install(self, args: ClusterArgs) -> Job:
        """Begin an installation; raises AlreadyExists when there is a record of that name."""
        return _read(parse_job, await self._call("POST", "/v1/cluster", body=args.to_json()))

    async def update(self, args: ClusterArgs) -> Job:
        """Begin an update; raises RecordNotFound, Unchanged, Refused."""
        return _read(parse_job, await self._call("PUT", "/v1/cluster", body=args.to_json()))

    async def delete(self, uuid: str) -> Job:
        """Begin a deletion; raises RecordNotFound."""
        return _read(parse_job, await self._call("DELETE", f"/v1/cluster/{uuid}"))

    async def jobs(self) -> tuple[Job, ...]:
        """Return every job that was not deleted, oldest first."""
        return tuple(parse_job(row) for row in _rows(await self._call("GET", "/v1/job/")))

    async def job(self, uuid: str) -> Job:
        """Return one job; raises RecordNotFound."""
        return _read(parse_job, await self._call("GET", f"/v1/job/{uuid}"))

    async def stop_job(self, uuid: str) -> None:
        """Ask a running installation to stop; it uninstalls. Lost while Helm is installing."""
        await self._call("PUT", f"/v1/job/{uuid}", query={"jobStatus": "stop"})

    async def delete_job(self, uuid: str) -> None:
        """Delete a job's record; raises RecordNotFound."""
        await self._call("DELETE", f"/v1/job/{uuid}")

    async def charts(self) -> tuple[ChartRow, ...]:
        """Return every chart. The answer is megabytes long: remember what it says."""
        answer = await self._call(
            "GET",
            "/v1/chart/",
            limit_s=self.timing.chart_list_limit_s,
            limit_bytes=MAX_CHART_LIST_BYTES,
        )
        return tuple(parse_chart(row) for row in _rows(answer))

    async def upload_chart(self, file_name: str, archive: bytes) -> str:
        """Upload a chart archive and return its uuid; one of the same version is replaced."""
        answer = await self._call(
            "POST", "/v1/chart", upload=(file_name, archive), limit_s=self.timing.upload_limit_s
        )
        uuid = answer.get("data", {}).get("helmUUID")
        if not isinstance(uuid, str) or not uuid:
            raise WrongAnswer("the service gave no uuid for the chart")
        return uuid

    async def delete_chart(self, uuid: str) -> None:
        """Delete a chart; one that is not there is no error."""
        await self._call("DELETE", f"/v1/chart/{uuid}")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        upload: tuple[str, bytes] | None = None,
        limit_s: float | None = None,
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> Json:
        """Send a request with the token; log in again, once, when the token is refused.

        Refusal comes before anything is done, so the repetition is harmless.
        """
        call = network_call(
            f"KubeFATE {method} {path}", errors=_ERRORS, limit_s=limit_s or self.timing.call_limit_s
        )
        async with call:
            for may_retry in (True, False):
                token = await self._current_token()
                try:
                    answer = await self._send(
                        method,
                        path,
                        token=token.value,
                        query=query,
                        body=_form(upload) if upload else body,
                        limit_bytes=limit_bytes,
                    )
                except Unauthorized:
                    self._drop(token)
                    if not may_retry:
                        raise
                else:
                    self._answered_s = self._clock.monotonic()
                    return answer
        raise AssertionError("the loop returns or raises")

    async def _current_token(self) -> _Token:
        async with self._login_lock:
            token = self._token
            if token is None or self._clock.monotonic() - token.since_s > self.timing.token_s:
                token = self._token = await self._log_in()
            return token

    async def _log_in(self) -> _Token:
        self.logins += 1
        began_s = self._clock.monotonic()
        answer = await self._send(
            "POST",
            "/v1/user/login",
            body={
                "username": self._credentials.username,
                "password": self._credentials.password,
            },
        )
        value = answer.get("token")
        if not isinstance(value, str) or not value:
            raise WrongAnswer("the service gave no token")
        return _Token(value, began_s)

    def _drop(self, token: _Token) -> None:
        if self._token is token:
            self._token = None
            self.restart_seen_at = self._clock.now()
            log.info("kubefate.token_refused", url=self.base_url)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Json | aiohttp.FormData | None = None,
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> Json:
        self.requests += 1
        is_form = isinstance(body, aiohttp.FormData)
        async with self._session.request(
            method,
            self.base_url + path,
            params=dict(query or {}),
            headers={"Authorization": f"Bearer {token}"} if token else None,
            json=None if is_form else body,
            data=body if is_form else None,
            allow_redirects=False,
        ) as response:
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                content = await response.content.read(MAX_ERROR_BYTES)
                raise error_of(response.status, response.content_type, content)
            content = await read_limited(response.content.iter_any(), limit_bytes)
            return _parse(content)


def _form(upload: tuple[str, bytes]) -> aiohttp.FormData:
    file_name, archive = upload
    form = aiohttp.FormData()
    form.add_field("file", archive, filename=file_name, content_type="application/gzip")
    return form


def _parse(content: bytes) -> Json:
    try:
        parsed: Any = json.loads(content)
    except ValueError as error:
        raise Unavailable("something that is not KubeFATE answered: no JSON") from error
    if not isinstance(parsed, dict):
        raise WrongAnswer("the service answered JSON that is no object")
    return parsed


def _rows(answer: Json) -> list[Mapping[str, Any]]:
    rows = answer.get("data") or []
    if not isinstance(rows, list):
        raise WrongAnswer("the service answered a list that is none")
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("uuid"), str)]


def _read(parse: Callable[[Mapping[str, Any]], R], answer: Json) -> R:
    body = answer.get("data")
    try:
        return parse(body if isinstance(body, Mapping) else {})
    except ValueError as error:
        raise WrongAnswer(str(error)) from error
