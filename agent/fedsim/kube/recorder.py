"""What the cluster records: Events of objects, and the lines that containers write."""

from __future__ import annotations

import itertools
import uuid
from collections import OrderedDict, defaultdict, deque

from fedsim.kube.clock import Clock
from fedsim.kube.kinds import EVENTS, NAMESPACES
from fedsim.kube.store import Json, Store

_KEPT_PER_NAMESPACE = 2_000
_REMEMBERED = 10_000
_KEPT_LINES = 2_000


class Recorder:
    """Writes Events as scheduler, kubelet and controllers do; a repeated Event is counted."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._names: OrderedDict[tuple[str, str, str], tuple[str, str]] = OrderedDict()
        self._numbers = itertools.count(int(clock.now().timestamp() * 1e9))

    def normal(self, obj: Json, reason: str, message: str, component: str) -> None:
        """Record that something went as it should."""
        self._record(obj, "Normal", (reason, message), component)

    def warning(self, obj: Json, reason: str, message: str, component: str) -> None:
        """Record that something went wrong."""
        self._record(obj, "Warning", (reason, message), component)

    def _record(self, obj: Json, kind: str, text: tuple[str, str], component: str) -> None:
        namespace = obj["metadata"].get("namespace") or "default"
        space = self._store.get(NAMESPACES, "", namespace)
        if space is None:
            return
        key = (obj["metadata"]["uid"], *text)
        earlier = self._names.get(key)
        event = self._store.get(EVENTS, *earlier) if earlier else None
        if event is not None:
            again = {**event, "metadata": dict(event["metadata"])}
            again.update(count=event["count"] + 1, lastTimestamp=self._clock.stamp())
            self._store.put(EVENTS, again)
        elif not space["metadata"].get("deletionTimestamp"):
            event = self._event(obj, namespace, component)
            event.update(type=kind, reason=text[0], message=text[1])
            self._names[key] = (namespace, event["metadata"]["name"])
            self._store.put(EVENTS, event)
            self._trim(namespace)

    def _event(self, obj: Json, namespace: str, component: str) -> Json:
        metadata = obj["metadata"]
        stamp = self._clock.stamp()
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": f"{metadata['name']}.{next(self._numbers):x}",
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": stamp,
            },
            "involvedObject": {
                "kind": obj["kind"],
                "apiVersion": obj["apiVersion"],
                "namespace": namespace,
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "source": {"component": component},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "reportingComponent": component,
        }

    def _trim(self, namespace: str) -> None:
        while len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)
        events = self._store.list(EVENTS, namespace)
        if len(events) > _KEPT_PER_NAMESPACE:
            oldest = min(events, key=lambda event: int(event["metadata"]["resourceVersion"]))
            self._store.remove(EVENTS, namespace, oldest["metadata"]["name"])


class PodLogs:
    """The output of every container, by pod uid and container name."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], deque[str]] = defaultdict(
            lambda: deque(maxlen=_KEPT_LINES)
        )

    def write(self, uid: str, container: str, text: str) -> None:
        """Add a line."""
        self._lines[uid, container].append(text)

    def lines(self, uid: str, container: str) -> list[str]:
        """Return the lines kept so far, oldest first."""
        return list(self._lines.get((uid, container), ()))

    def forget(self, uid: str) -> None:
        """Drop a pod's lines."""
        for key in [key for key in self._lines if key[0] == uid]:
            del self._lines[key]
