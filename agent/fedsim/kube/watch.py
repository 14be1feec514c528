"""Watches: the stream of changes from a version on, with bookmarks and 410 Gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError, expired
from fedsim.kube.lists import number_of
from fedsim.kube.requests import Target
from fedsim.kube.selectors import parse_selector
from fedsim.kube.store import Change, ChangeType, Json, TooOldError, dump

_DEFAULT_S = 1800.0


class _CutError(Exception):
    """The fault `watch-cut` strikes: the connection ends without the end of its body."""


class Watch:
    """One client's watch of one resource."""

    def __init__(self, cluster: Cluster, target: Target, query: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._target = target
        self._selector = parse_selector(target.resource, query)
        self._has_bookmarks = query.get("allowWatchBookmarks") in {"true", "1"}
        self._timeout_s = float(number_of(query, "timeoutSeconds") or _DEFAULT_S)
        self._log = cluster.store.log(target.resource)
        self._version = number_of(query, "resourceVersion")
        self._is_resumed = self._version > 0

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Stream until the time is up or the client goes; raises before the first byte only."""
        initial = self._begin()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._stream(response, initial)
        except TimeoutError:
            await self._send_bookmark(response)
        except (TooOldError, ApiError) as error:
            gone = error if isinstance(error, ApiError) else expired(str(error))
            await response.write(_line("ERROR", gone.to_status()))
        except _CutError:
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response

    def _begin(self) -> list[bytes]:
        """Return the lines of what is there, for a watch that does not resume."""
        store = self._cluster.store
        if self._version > store.version:
            raise _too_large(self._version, store.version)
        if self._is_resumed:
            return []
        self._version = store.version
        objects = store.list(self._target.resource, self._target.namespace or None)
        return [_line(ChangeType.ADDED, obj) for obj in objects if self._selector.matches(obj)]

    async def _stream(self, response: web.StreamResponse, initial: Iterable[bytes]) -> None:
        if self._is_resumed and self._cluster.faults.strikes(FaultName.WATCH_GONE):
            raise expired(f"too old resource version: {self._version} (ordered)")
        if self._is_resumed:
            self._log.check_resume(self._version)
        for line in initial:
            await response.write(line)
        while True:
            pending = self._log.since(self._version)
            for change in pending:
                self._version = change.version
                translated = self._translate(change)
                if translated and not self._is_silent():
                    await response.write(translated)
            if not pending:
                await self._wait(response)

    async def _wait(self, response: web.StreamResponse) -> None:
        """Wait for a change; send a bookmark when none comes for long."""
        cut_s = self._cluster.faults.seconds(FaultName.WATCH_CUT)
        try:
            async with asyncio.timeout(cut_s or self._cluster.settings.delays.bookmark_s):
                await self._log.wait()
        except TimeoutError as error:
            if cut_s:
                raise _CutError from error
            await self._send_bookmark(response)

    def _is_silent(self) -> bool:
        return self._cluster.faults.is_on(FaultName.WATCH_SILENT)

    def _translate(self, change: Change) -> bytes | None:
        """Return the line for a change; an object that no longer matches counts as deleted."""
        if self._target.namespace not in {"", change.namespace}:
            return None
        before = change.previous
        did_match = before is not None and self._selector.matches(before)
        if change.type is not ChangeType.DELETED and self._selector.matches(change.object):
            kind = ChangeType.MODIFIED if did_match else ChangeType.ADDED
            return _line(kind, change.object)
        if not did_match or before is None:
            return None
        metadata = {**before["metadata"], "resourceVersion": str(change.version)}
        return _line(ChangeType.DELETED, {**before, "metadata": metadata})

    async def _send_bookmark(self, response: web.StreamResponse) -> None:
        if not self._has_bookmarks or self._is_silent():
            return
        if not self._log.since(self._version):
            self._version = self._cluster.store.version
        resource = self._target.resource
        metadata = {"resourceVersion": str(self._version), "creationTimestamp": None}
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        await response.write(_line("BOOKMARK", obj))


def _too_large(version: int, current: int) -> ApiError:
    """Return the error for a version that lies in the future, as after a loss of the store."""
    text = f"Timeout: Too large resource version: {version}, current: {current}"
    return ApiError(504, "Timeout", text, {"retryAfterSeconds": 1})


def _line(kind: str, obj: Json) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + dump(obj) + b"}\n"
