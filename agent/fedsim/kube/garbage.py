"""The garbage collector: what goes when its owner goes, after it or before it."""

from __future__ import annotations

from collections import defaultdict

from fedsim.kube.cluster import Cluster
from fedsim.kube.kinds import RESOURCES, Resource
from fedsim.kube.lifecycle import FOREGROUND, Removal
from fedsim.kube.store import Change, ChangeType, Json, clone

Key = tuple[Resource, str, str]


class Garbage:
    """Knows who owns whom, by uid. An object goes when the last of its owners has gone."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._alive: dict[str, Key] = {}
        self._dependents: defaultdict[str, set[Key]] = defaultdict(set)

    def start(self) -> None:
        """Take in the objects that are there."""
        for resource in RESOURCES:
            for obj in self._cluster.store.list(resource):
                self._add(resource, obj)

    def follow(self, change: Change) -> None:
        """Keep up with a change, and mark the uids that need a look."""
        if change.type is not ChangeType.DELETED:
            self._add(change.resource, change.object)
            return
        uid = change.object["metadata"]["uid"]
        self._alive.pop(uid, None)
        for owner in _owners(change.object):
            self._dependents[owner].discard((change.resource, change.namespace, change.name))
            self._cluster.mark("garbage", "", owner)
        self._cluster.mark("garbage", "", uid)

    def _add(self, resource: Resource, obj: Json) -> None:
        metadata = obj["metadata"]
        key = (resource, metadata.get("namespace", ""), metadata["name"])
        self._alive[metadata["uid"]] = key
        for owner in _owners(obj):
            self._dependents[owner].add(key)
            if owner not in self._alive:
                self._cluster.mark("garbage", "", owner)
        if FOREGROUND in (metadata.get("finalizers") or ()):
            self._cluster.mark("garbage", "", metadata["uid"])

    def reconcile(self, _: str, uid: str) -> None:
        """Delete the dependents of an owner that is gone or goes after them."""
        key = self._alive.get(uid)
        owner = self._cluster.store.get(*key) if key else None
        if owner is None or key is None:
            for resource, obj in self._living(uid):
                if not any(other in self._alive for other in _owners(obj)):
                    self._delete(resource, obj, "Background")
            if not self._dependents.get(uid):
                self._dependents.pop(uid, None)
        elif FOREGROUND in (owner["metadata"].get("finalizers") or ()):
            dependents = self._living(uid)
            for resource, obj in dependents:
                self._delete(resource, obj, "Foreground")
            if not dependents:
                changed = clone(owner)
                changed["metadata"]["finalizers"].remove(FOREGROUND)
                self._cluster.registry.write(key[0], changed)

    def _living(self, uid: str) -> list[tuple[Resource, Json]]:
        objects = [(key[0], self._cluster.store.get(*key)) for key in self._dependents.get(uid, ())]
        return [(resource, obj) for resource, obj in objects if obj and uid in _owners(obj)]

    def _delete(self, resource: Resource, obj: Json, propagation: str) -> None:
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp"):
            removal = Removal(propagation=propagation, uid=metadata["uid"])
            self._cluster.registry.delete(
                resource, metadata.get("namespace", ""), metadata["name"], removal
            )


def _owners(obj: Json) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]
