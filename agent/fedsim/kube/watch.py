"""Watches: the stream of changes from a version on, with bookmarks and 410 Gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError, bad_request, expired
from fedsim.kube.paths import Target
from fedsim.kube.selectors import Selector
from fedsim.kube.store import Change, ChangeType, Json, TooOldError, dump

_DEFAULT_S = 1800.0
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What the client asked for."""

    version: str
    timeout_s: float
    wants_bookmarks: bool
    sends_initial: bool


class _CutError(Exception):
    """The fault `watch-cut` strikes: the connection ends without the end of its body."""


class Watch:
    """One client's watch of one resource."""

    def __init__(
        self, cluster: Cluster, target: Target, selector: Selector, options: WatchOptions
    ) -> None:
        self._cluster = cluster
        self._target = target
        self._selector = selector
        self._options = options
        self._log = cluster.store.log(target.resource)
        self._seen = 0
        self._is_resumed = False

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Stream until the time is up or the client goes; raises before the first byte only."""
        initial = self._begin()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                await self._stream(response, initial)
        except TimeoutError:
            if self._options.wants_bookmarks and not self._is_silent():
                await response.write(self._bookmark())
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
        store, version = self._cluster.store, self._options.version
        if version and not version.isdigit():
            why = f'Invalid value: "{version}": strconv.ParseUint: invalid syntax'
            raise bad_request(f"resourceVersion: {why}")
        asked = int(version or 0)
        if asked > store.version:
            raise too_large(asked, store.version)
        if asked and not self._options.sends_initial:
            self._seen = asked
            self._is_resumed = True
            return []
        self._seen = store.version
        lines = [
            _line(ChangeType.ADDED, obj)
            for obj in store.list(self._target.resource, self._target.namespace)
            if self._wants(obj)
        ]
        if self._options.sends_initial:
            lines.append(self._bookmark(is_initial_end=True))
        return lines

    async def _stream(self, response: web.StreamResponse, initial: Iterable[bytes]) -> None:
        if self._is_resumed and self._cluster.faults.strikes(FaultName.WATCH_GONE):
            raise expired(f"too old resource version: {self._seen} (ordered)")
        if self._is_resumed:
            self._log.check_resume(self._seen)
        for line in initial:
            await response.write(line)
        while True:
            pending = self._log.since(self._seen)
            for change in pending:
                self._seen = change.version
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
            if self._options.wants_bookmarks and not self._is_silent():
                await response.write(self._bookmark())

    def _is_silent(self) -> bool:
        return self._cluster.faults.is_on(FaultName.WATCH_SILENT)

    def _wants(self, obj: Json) -> bool:
        if self._target.name and obj["metadata"]["name"] != self._target.name:
            return False
        return self._selector.matches(obj)

    def _translate(self, change: Change) -> bytes | None:
        """Return the line for a change: an object that no longer matches is deleted to this eye."""
        if self._target.namespace is not None and change.namespace != self._target.namespace:
            return None
        was = change.previous is not None and self._wants(change.previous)
        match change.type:
            case ChangeType.DELETED:
                return _line(ChangeType.DELETED, change.object) if was else None
            case _ if self._wants(change.object):
                return _line(ChangeType.MODIFIED if was else ChangeType.ADDED, change.object)
            case _ if was and change.previous is not None:
                version = str(change.version)
                metadata = {**change.previous["metadata"], "resourceVersion": version}
                return _line(ChangeType.DELETED, {**change.previous, "metadata": metadata})
            case _:
                return None

    def _bookmark(self, *, is_initial_end: bool = False) -> bytes:
        resource = self._target.resource
        if is_initial_end or not self._log.since(self._seen):
            self._seen = self._cluster.store.version
        metadata: Json = {"resourceVersion": str(self._seen), "creationTimestamp": None}
        if is_initial_end:
            metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return _line("BOOKMARK", obj)


def too_large(asked: int, current: int) -> ApiError:
    """Say that the version asked for lies in the future, as after a loss of the store."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    text = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", text, details)


def parse_options(query: dict[str, str]) -> WatchOptions:
    """Read a watch's query; raises 400."""
    text = query.get("timeoutSeconds", "")
    if text and not text.isdigit():
        raise bad_request(f'timeoutSeconds: Invalid value: "{text}"')
    return WatchOptions(
        version=query.get("resourceVersion", ""),
        timeout_s=float(text) if text and int(text) else _DEFAULT_S,
        wants_bookmarks=_is_true(query.get("allowWatchBookmarks", "")),
        sends_initial=_is_true(query.get("sendInitialEvents", "")),
    )


def _is_true(text: str) -> bool:
    return text.lower() in {"true", "1"}


def _line(kind: str, obj: Json) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + dump(obj) + b"}\n"
