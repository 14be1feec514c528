"""Objects with resource versions, and the bounded history that watches resume from.

Stored objects are never changed in place: a caller clones an object, changes the clone and
puts that. So what `Store.get` and `Store.list` return may be kept and sent, not edited.
"""

from __future__ import annotations

import asyncio
import bisect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedsim.kube.kinds import RESOURCES, Resource

Json = dict[str, Any]
FIRST_VERSION = 1000
_KEPT_CHANGES = 5_000


class ChangeType(StrEnum):
    """The words of a watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object; ``previous`` is the object before it."""

    type: ChangeType
    resource: Resource
    version: int
    object: Json
    previous: Json | None

    @property
    def namespace(self) -> str:
        """Return the object's namespace, empty for cluster-wide kinds."""
        return str(self.object["metadata"].get("namespace", ""))

    @property
    def name(self) -> str:
        """Return the object's name."""
        return str(self.object["metadata"]["name"])


class TooOldError(Exception):
    """The history does not reach back to the version asked for."""

    def __init__(self, version: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {version} ({oldest})")


class Log:
    """The last changes of one resource, in order."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self.oldest = FIRST_VERSION
        self.floor = FIRST_VERSION

    def append(self, change: Change) -> None:
        """Add a change, dropping the oldest half when twice the limit is reached."""
        self._changes.append(change)
        if len(self._changes) >= 2 * _KEPT_CHANGES:
            self.compact(keep=_KEPT_CHANGES)
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def compact(self, *, keep: int = 0) -> None:
        """Forget all changes but the last ``keep``."""
        dropped = self._changes[: len(self._changes) - keep]
        if dropped:
            self.oldest = dropped[-1].version
            self.floor = max(self.floor, self.oldest)
            self._changes = self._changes[len(dropped) :]

    def reset(self, version: int) -> None:
        """Forget all changes: watches that are up to date go on, none resumes from before."""
        self.compact()
        self.floor = version

    def check_resume(self, version: int) -> None:
        """Raise `TooOldError` when a watch cannot begin at this version."""
        if version < self.floor:
            raise TooOldError(version, self.floor)

    def since(self, version: int) -> list[Change]:
        """Return the changes after a version; raises `TooOldError`."""
        if version < self.oldest:
            raise TooOldError(version, self.oldest)
        start = bisect.bisect_right(self._changes, version, key=lambda change: change.version)
        return self._changes[start:]

    async def wait(self) -> None:
        """Return at the next change; the caller limits the time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


class Store:
    """All objects of the cluster, by resource, namespace and name."""

    def __init__(self) -> None:
        self.version = FIRST_VERSION
        self._objects: dict[str, dict[str, dict[str, Json]]] = {
            resource.plural: {} for resource in RESOURCES
        }
        self._logs = {resource.plural: Log() for resource in RESOURCES}
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call ``listener`` after each change, before the changing call returns."""
        self._listeners.append(listener)

    def log(self, resource: Resource) -> Log:
        """Return the history of one resource."""
        return self._logs[resource.plural]

    def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Return an object, None when there is none."""
        return self._objects[resource.plural].get(namespace, {}).get(name)

    def list(self, resource: Resource, namespace: str | None = None) -> list[Json]:
        """Return the objects of a namespace, or of all, by namespace and name."""
        spaces = self._objects[resource.plural]
        names = sorted(spaces) if namespace is None else [namespace]
        return [spaces[space][name] for space in names for name in sorted(spaces.get(space, ()))]

    def put(self, resource: Resource, obj: Json) -> Json:
        """Store an object under a new version; the store owns it from now on."""
        metadata = obj["metadata"]
        space = self._objects[resource.plural].setdefault(metadata.get("namespace", ""), {})
        previous = space.get(metadata["name"])
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        space[metadata["name"]] = obj
        kind = ChangeType.ADDED if previous is None else ChangeType.MODIFIED
        self._publish(Change(kind, resource, self.version, obj, previous))
        return obj

    def remove(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Take an object away; return its last form, None when there is none."""
        spaces = self._objects[resource.plural]
        previous = spaces.get(namespace, {}).pop(name, None)
        if previous is None:
            return None
        if not spaces[namespace]:
            del spaces[namespace]
        self.version += 1
        last = {**previous, "metadata": {**previous["metadata"]}}
        last["metadata"]["resourceVersion"] = str(self.version)
        self._publish(Change(ChangeType.DELETED, resource, self.version, last, previous))
        return last

    def load(self, objects: Iterable[tuple[Resource, Json]], version: int) -> None:
        """Take over the objects of an earlier run; histories begin at its last version."""
        for resource, obj in objects:
            metadata = obj["metadata"]
            space = self._objects[resource.plural].setdefault(metadata.get("namespace", ""), {})
            space[metadata["name"]] = obj
        self.version = max(self.version, version)
        for log in self._logs.values():
            log.reset(self.version)

    def compact(self) -> None:
        """Forget the history, so that every older watch must list again (410)."""
        for log in self._logs.values():
            log.reset(self.version)

    def _publish(self, change: Change) -> None:
        self._logs[change.resource.plural].append(change)
        for listener in self._listeners:
            listener(change)


def clone(value: Any) -> Any:
    """Copy a JSON value deeply."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def dump(value: Any) -> bytes:
    """Encode a JSON value compactly."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
