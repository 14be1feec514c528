"""The garbage collector: what goes when its owner goes, and in which order."""

from __future__ import annotations

from collections import defaultdict

from fedsim.kube.cluster import Cluster
from fedsim.kube.kinds import RESOURCES, Resource
from fedsim.kube.lifecycle import FOREGROUND, ORPHAN, Removal
from fedsim.kube.store import Change, ChangeType, Json, clone

Key = tuple[Resource, str, str]


class Garbage:
    """Knows who owns whom, by uid."""

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
        uid = change.object["metadata"]["uid"]
        key = (change.resource, change.namespace, change.name)
        if change.type is ChangeType.DELETED:
            self._alive.pop(uid, None)
            for owner in _owners(change.object):
                self._dependents[owner].discard(key)
                self._cluster.mark("garbage", "", owner)
            if uid in self._dependents:
                self._cluster.mark("garbage", "", uid)
            return
        if change.previous is not None:
            for owner in _owners(change.previous):
                self._dependents[owner].discard(key)
        self._add(change.resource, change.object)
        finalizers = change.object["metadata"].get("finalizers") or ()
        is_going = bool(change.object["metadata"].get("deletionTimestamp"))
        if is_going and (FOREGROUND in finalizers or ORPHAN in finalizers):
            self._cluster.mark("garbage", "", uid)

    def _add(self, resource: Resource, obj: Json) -> None:
        metadata = obj["metadata"]
        key = (resource, metadata.get("namespace", ""), metadata["name"])
        self._alive[metadata["uid"]] = key
        for owner in _owners(obj):
            self._dependents[owner].add(key)
            if owner not in self._alive:
                self._cluster.mark("garbage", "", owner)

    def reconcile(self, _: str, uid: str) -> None:
        """Look after the dependents of one owner."""
        key = self._alive.get(uid)
        owner = self._cluster.store.get(*key) if key else None
        if owner is None:
            self._collect(uid)
            return
        finalizers = owner["metadata"].get("finalizers") or ()
        if not owner["metadata"].get("deletionTimestamp") or key is None:
            return
        if ORPHAN in finalizers:
            for dependent in self._live_dependents(uid):
                self._disown(*dependent, uid)
            self._release(key[0], owner, ORPHAN)
        elif FOREGROUND in finalizers:
            self._delete_first(key[0], owner)

    def _collect(self, uid: str) -> None:
        for resource, obj in self._live_dependents(uid):
            others = [owner for owner in _owners(obj) if owner in self._alive]
            if others:
                self._disown(resource, obj, uid)
            elif not obj["metadata"].get("deletionTimestamp"):
                self._delete(resource, obj, Removal(uid=obj["metadata"]["uid"]))
        if not self._dependents.get(uid):
            self._dependents.pop(uid, None)

    def _delete_first(self, resource: Resource, owner: Json) -> None:
        uid = owner["metadata"]["uid"]
        blocking = [
            (each, obj)
            for each, obj in self._live_dependents(uid)
            if any(
                reference["uid"] == uid and reference.get("blockOwnerDeletion")
                for reference in obj["metadata"]["ownerReferences"]
            )
        ]
        for each, obj in blocking:
            if not obj["metadata"].get("deletionTimestamp"):
                self._delete(each, obj, Removal(propagation="Foreground"))
        if not blocking:
            self._release(resource, owner, FOREGROUND)

    def _delete(self, resource: Resource, obj: Json, removal: Removal) -> None:
        metadata = obj["metadata"]
        self._cluster.registry.delete(
            resource, metadata.get("namespace", ""), metadata["name"], removal
        )

    def _live_dependents(self, uid: str) -> list[tuple[Resource, Json]]:
        found = []
        for key in tuple(self._dependents.get(uid, ())):
            obj = self._cluster.store.get(*key)
            if obj is not None and uid in _owners(obj):
                found.append((key[0], obj))
        return found

    def _disown(self, resource: Resource, obj: Json, uid: str) -> None:
        changed = clone(obj)
        changed["metadata"]["ownerReferences"] = [
            reference
            for reference in changed["metadata"]["ownerReferences"]
            if reference["uid"] != uid
        ]
        self._cluster.registry.write(resource, changed)

    def _release(self, resource: Resource, owner: Json, finalizer: str) -> None:
        changed = clone(owner)
        changed["metadata"]["finalizers"].remove(finalizer)
        self._cluster.registry.write(resource, changed)


def _owners(obj: Json) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]
