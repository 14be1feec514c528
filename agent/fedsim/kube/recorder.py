"""Kubernetes Events: what happened to an object, counted when it happens again."""

from __future__ import annotations

import itertools
import uuid
from collections import OrderedDict

from fedsim.kube.clock import Clock
from fedsim.kube.kinds import EVENTS, NAMESPACES
from fedsim.kube.store import Json, Store

_KEPT_PER_NAMESPACE = 2_000
_REMEMBERED = 10_000


class Recorder:
    """Writes Events as the scheduler, the kubelet and the controllers do."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._names: OrderedDict[tuple[str, str, str], tuple[str, str]] = OrderedDict()
        self._numbers = itertools.count(int(clock.now().timestamp() * 1e9))

    def normal(self, obj: Json, reason: str, message: str, component: str) -> None:
        """Record that something went as it should."""
        self._record(obj, "Normal", reason, message, component)

    def warning(self, obj: Json, reason: str, message: str, component: str) -> None:
        """Record that something went wrong."""
        self._record(obj, "Warning", reason, message, component)

    def _record(self, obj: Json, sort: str, reason: str, message: str, component: str) -> None:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        space = self._store.get(NAMESPACES, "", namespace)
        if space is None:
            return
        key = (metadata["uid"], reason, message)
        known = self._names.get(key)
        event = self._store.get(EVENTS, *known) if known else None
        if event is not None:
            again = {**event, "metadata": dict(event["metadata"])}
            again.update(count=event["count"] + 1, lastTimestamp=self._clock.stamp())
            self._store.put(EVENTS, again)
        elif not space["metadata"].get("deletionTimestamp"):
            event = self._new(obj, component)
            event["metadata"]["namespace"] = namespace
            event.update(type=sort, reason=reason, message=message)
            self._names[key] = (namespace, event["metadata"]["name"])
            self._store.put(EVENTS, event)
            self._trim(namespace)

    def _new(self, obj: Json, component: str) -> Json:
        metadata = obj["metadata"]
        stamp = self._clock.stamp()
        source: Json = {"component": component}
        if component == "kubelet":
            source["host"] = obj.get("spec", {}).get("nodeName", "")
        reference = {
            "kind": obj["kind"],
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata["uid"],
            "apiVersion": obj["apiVersion"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": f"{metadata['name']}.{next(self._numbers):x}",
                "uid": str(uuid.uuid4()),
                "creationTimestamp": stamp,
            },
            "involvedObject": {key: value for key, value in reference.items() if value},
            "source": source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": source.get("host", ""),
        }

    def _trim(self, namespace: str) -> None:
        while len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)
        events = self._store.list(EVENTS, namespace)
        if len(events) > _KEPT_PER_NAMESPACE:
            oldest = min(events, key=lambda event: int(event["metadata"]["resourceVersion"]))
            self._store.remove(EVENTS, namespace, oldest["metadata"]["name"])
