"""Follow objects as they change: one watch, and a cache that is kept true for ever.

A watch can die without a word: a dropped connection that nobody resets, a server that forgets it.
Each is therefore short: the server ends it after ``window_s``. One that says nothing for
``window_s + grace_s`` is cut, and after one that ended without a word (no event, no bookmark)
everything is listed again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import aiohttp
import structlog

from fedagent.kube.client import Json, Kube, reading
from fedagent.kube.errors import KubeError, Unavailable, error_of
from fedagent.kube.kinds import Kind
from fedagent.kube.lists import read_list, selector_query
from fedagent.kube.timing import WatchTiming
from fedcore.tasks import LoopHealth

log = structlog.get_logger()

MAX_LINE_BYTES: Final = 8 * 1024 * 1024


class EventType(StrEnum):
    """What a watch says of an object. A bookmark only carries the resource version on."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one object."""

    type: EventType
    body: Json

    @property
    def version(self) -> str:
        """The resource version to go on from."""
        return str(self.body.get("metadata", {}).get("resourceVersion", ""))


async def watch_once(
    kube: Kube,
    kind: Kind,
    namespace: str | None,
    query: Mapping[str, str],
    version: str,
    *,
    timing: WatchTiming | None = None,
    on_quiet: Callable[[], None] = lambda: None,
) -> AsyncGenerator[WatchEvent, None]:
    """Give the changes since ``version`` until the server ends the watch.

    ``query`` is that of ``lists.selector_query``; ``on_quiet`` is called now and then while the
    server has nothing to say and is within its time. Raises Gone when the history no longer reaches
    back to ``version``, Unavailable when the connection breaks or is silent for
    ``timing.silent_s``.
    """
    timing = timing or kube.timing.watch
    ask = dict(query) | {
        "watch": "true",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(max(1, round(timing.window_s))),
    }
    path = kind.path(namespace=namespace)
    async with (
        kube.stream(path, query=ask) as response,
        aclosing(_lines(response, timing, on_quiet)) as lines,
    ):
        async for line in lines:
            yield _parse(line)


class Informer:
    """A true copy of some objects, for as long as ``run`` runs.

    ``changed`` is set at every change and at every new list; the one who waits for it clears it.
    ``synced`` is set once the first list is in. The copies lack
    ``metadata.managedFields``, which nobody reads and which is half of an object.
    """

    def __init__(
        self,
        kube: Kube,
        kind: Kind,
        *,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        loop_health: LoopHealth,
        rng: random.Random | None = None,
        timing: WatchTiming | None = None,
    ) -> None:
        what = (kind.plural, namespace, *(fields or {}).values())
        self.name = ".".join(("watch", *filter(None, what)))
        self.changed = asyncio.Event()
        self.synced = asyncio.Event()
        self._kube = kube
        self._kind = kind
        self._namespace = namespace
        self._query = selector_query(kind, namespace, labels, fields)
        self._loop_health = loop_health
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._timing = timing or kube.timing.watch
        self._objects: dict[tuple[str, str], Json] = {}

    def items(self) -> tuple[Json, ...]:
        """Return every object, oldest first in the order that they were seen."""
        return tuple(self._objects.values())

    def get(self, name: str, namespace: str | None = None) -> Json | None:
        """Return one object; the namespace defaults to the informer's own."""
        return self._objects.get((namespace or self._namespace or "", name))

    async def run(self) -> None:
        """Keep the copy true for ever; failures are waited out with full jitter."""
        attempt = 0
        self._beat()
        while True:
            try:
                async with aclosing(self._follow()) as signs:
                    async for _sign in signs:
                        attempt = 0
            except KubeError as error:
                delay_s = self._timing.backoff.jittered_s(attempt, self._rng)
                attempt += 1
                log.warning("watch.failed", loop=self.name, error=error.message, wait_s=delay_s)
                await asyncio.sleep(delay_s)

    def stop(self) -> None:
        """Take the informer off the loop loop_health, once its ``run`` is cancelled for good."""
        self._loop_health.records.pop(self.name, None)

    async def _follow(self) -> AsyncGenerator[None, None]:
        """List, then watch again and again; each sign of life of a watch is yielded.

        A list alone is none: watches that fail at once must not make a loop without a wait.
        """
        items, version = await read_list(self._kube, self._kind, self._namespace, self._query)
        self._replace(items)
        self._beat()
        while True:
            began_s, is_heard = _now_s(), False
            events = watch_once(
                self._kube,
                self._kind,
                self._namespace,
                self._query,
                version,
                timing=self._timing,
                on_quiet=self._beat,
            )
            async with aclosing(events):
                async for event in events:
                    is_heard = True
                    version = event.version or version
                    self._take(event)
                    self._beat()
                    yield
            if not is_heard:
                if _now_s() - began_s < self._timing.window_s / 2:
                    raise Unavailable(f"{self.name}: the server ended the watch at once")
                # A server in order sends a bookmark before the end: this one may be deaf. List.
                return
            self._beat()
            yield

    def _replace(self, items: list[Json]) -> None:
        self._objects = {_key(item): _slim(item) for item in items}
        self.synced.set()
        self.changed.set()

    def _take(self, event: WatchEvent) -> None:
        if event.type is EventType.BOOKMARK:
            return
        if event.type is EventType.DELETED:
            self._objects.pop(_key(event.body), None)
        else:
            self._objects[_key(event.body)] = _slim(event.body)
        self.changed.set()

    def _beat(self) -> None:
        self._loop_health.heartbeat(self.name)


async def _lines(
    response: aiohttp.ClientResponse, timing: WatchTiming, on_quiet: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    """Split the answer into lines; a line may be larger than what aiohttp's readline takes."""
    what = f"watch {response.url.path}"
    buffer = bytearray()
    while chunk := await _next_chunk(response, what, timing, on_quiet):
        buffer += chunk
        *lines, rest = bytes(buffer).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        buffer = bytearray(rest)
        if len(buffer) > MAX_LINE_BYTES:
            raise Unavailable(f"{what}: an event exceeds {MAX_LINE_BYTES} bytes")


async def _next_chunk(
    response: aiohttp.ClientResponse, what: str, timing: WatchTiming, on_quiet: Callable[[], None]
) -> bytes:
    left_s = timing.silent_s
    async with reading(what):
        while left_s > 0:
            slice_s = min(left_s, timing.pulse_s)
            try:
                async with asyncio.timeout(slice_s):
                    return await response.content.readany()
            except TimeoutError:
                left_s -= slice_s
                on_quiet()
    raise Unavailable(f"{what}: silent for {timing.silent_s:g} s", reason="Silent")


def _parse(line: bytes) -> WatchEvent:
    try:
        parsed = json.loads(line)
        kind, body = parsed["type"], parsed["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("a watch sent something that is no event") from error
    if kind == "ERROR":
        raise error_of(int(body.get("code", 500)), json.dumps(body).encode())
    return WatchEvent(EventType(kind), body)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _key(body: Json) -> tuple[str, str]:
    meta = body["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])


def _slim(body: Json) -> Json:
    body["metadata"].pop("managedFields", None)
    return body
