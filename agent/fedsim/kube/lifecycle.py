"""How objects come, change and go: the rules that hold for every kind.

Everything here is synchronous and touches memory alone, so each call is atomic. Clients come
through `create`, `update`, `modify` and `delete`, which admit what they write; the cluster's own
controllers write by `write` and `write_status`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from fedsim.kube.clock import Clock
from fedsim.kube.defaults import complete
from fedsim.kube.errors import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    value_invalid,
)
from fedsim.kube.kinds import NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS, SERVICES, Resource
from fedsim.kube.ports import PortAllocator, drop_node_ports
from fedsim.kube.store import Json, Store, clone
from fedsim.kube.validation import check_shape, validate

PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
FOREGROUND = "foregroundDeletion"
_SERVER_METADATA = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


@dataclass(frozen=True, slots=True)
class Removal:
    """How a client deletes."""

    grace_s: int | None = None
    propagation: str = "Background"
    uid: str | None = None


class Registry:
    """The rules of the API server over a store."""

    def __init__(self, store: Store, clock: Clock, ports: PortAllocator) -> None:
        self._store = store
        self._clock = clock
        self._ports = ports

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """Return an object; raises 404."""
        live = self._store.get(resource, namespace, name)
        if live is None:
            raise not_found(resource, name)
        return live

    def create(self, resource: Resource, namespace: str, obj: Json) -> Json:
        """Make a new object; ``obj`` belongs to the registry from now on."""
        check_envelope(resource, namespace, obj)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = str(metadata.get("name", ""))
        self._check_namespace(resource, namespace, name)
        if name and self._store.get(resource, namespace, name) is not None:
            raise already_exists(resource, name)
        self._begin(resource, namespace, obj)
        self._admit(resource, obj, None)
        return self._store.put(resource, obj)

    def _begin(self, resource: Resource, namespace: str, obj: Json) -> None:
        metadata = obj["metadata"]
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self._clock.stamp()
        if resource.is_namespaced:
            metadata["namespace"] = namespace
        if resource.has_generation:
            metadata["generation"] = 1
        if resource.has_status and resource is not NODES:
            obj.pop("status", None)

    def _admit(self, resource: Resource, obj: Json, before: Json | None) -> None:
        check_shape(resource, obj)
        complete(resource, obj)
        if resource is SERVICES:
            drop_node_ports(obj, before)
        validate(resource, obj, before)
        if resource is SERVICES:
            self._ports.allocate(obj, before)
        if resource is PODS and before is None:
            self._admit_pod(obj)

    def _admit_pod(self, pod: Json) -> None:
        metadata = pod["metadata"]
        account = pod["spec"].setdefault("serviceAccountName", "default")
        if self._store.get(SERVICE_ACCOUNTS, metadata["namespace"], account) is None:
            where = f"{metadata['namespace']}/{account}"
            why = f'error looking up service account {where}: serviceaccount "{account}" not found'
            raise forbidden(PODS, metadata["name"], why)

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.is_namespaced:
            return
        live = self._store.get(NAMESPACES, "", namespace)
        if live is None:
            raise not_found(NAMESPACES, namespace)
        if live["metadata"].get("deletionTimestamp"):
            text = f"namespace {namespace} is being terminated"
            cause = Cause("NamespaceTerminating", text, "metadata.namespace")
            why = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            raise forbidden(resource, name, why, [cause])

    def update(self, resource: Resource, namespace: str, name: str, obj: Json) -> Json:
        """Replace an object; returns it unchanged when nothing differs."""
        return self.modify(resource, namespace, name, lambda _: obj)

    def modify(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Json], Json]
    ) -> Json:
        """Change an object by a function of it, as a patch does."""
        live = self.get(resource, namespace, name)
        obj = change(clone(live))
        check_envelope(resource, namespace, obj)
        if obj["metadata"].get("name") != name:
            cause = value_invalid(
                "metadata.name", obj["metadata"].get("name"), "field is immutable"
            )
            raise invalid(resource, name, [cause])
        _check_version(resource, live, obj)
        _keep_server_fields(resource, live, obj)
        self._admit(resource, obj, live)
        obj["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        if obj == live:
            return live
        if resource.has_generation and obj.get("spec") != live.get("spec"):
            obj["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
        return self._put(resource, obj)

    def write(self, resource: Resource, obj: Json) -> Json:
        """Store an object changed by a controller, unless it is gone or nothing differs."""
        metadata = obj["metadata"]
        live = self._store.get(resource, metadata.get("namespace", ""), metadata["name"])
        if live is None or live["metadata"]["uid"] != metadata["uid"] or live == obj:
            return obj
        obj["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        return self._put(resource, obj)

    def write_status(self, resource: Resource, live: Json, status: Json) -> Json:
        """Store a status computed by a controller, if it differs."""
        if live.get("status") == status:
            return live
        changed = {**live, "metadata": dict(live["metadata"]), "status": status}
        return self.write(resource, changed)

    def delete(self, resource: Resource, namespace: str, name: str, removal: Removal) -> Json:
        """Delete an object, or mark it for deletion; returns its last form."""
        live = self.get(resource, namespace, name)
        self._check_removal(resource, live, removal)
        if resource is PODS:
            return self._delete_pod(live, removal)
        finalizers = list(live["metadata"].get("finalizers") or ())
        if removal.propagation == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        if not finalizers and resource is not NAMESPACES:
            return self._store.remove(resource, namespace, name) or live
        return self._mark(resource, live, finalizers, 0)

    def _check_removal(self, resource: Resource, live: Json, removal: Removal) -> None:
        metadata = live["metadata"]
        if resource is NAMESPACES and metadata["name"] in PROTECTED_NAMESPACES:
            raise forbidden(resource, metadata["name"], "this namespace may not be deleted")
        if removal.uid and removal.uid != metadata["uid"]:
            raise _wrong_uid(resource, live, removal.uid)

    def _delete_pod(self, pod: Json, removal: Removal) -> Json:
        metadata, spec = pod["metadata"], pod["spec"]
        grace_s = removal.grace_s
        if grace_s is None:
            grace_s = spec["terminationGracePeriodSeconds"]
        finalizers = list(metadata.get("finalizers") or ())
        is_over = not spec.get("nodeName") or pod["status"]["phase"] in {"Succeeded", "Failed"}
        if (grace_s <= 0 or is_over) and not finalizers:
            return self._store.remove(PODS, metadata["namespace"], metadata["name"]) or pod
        if metadata.get("deletionTimestamp") and metadata["deletionGracePeriodSeconds"] <= grace_s:
            return pod
        return self._mark(PODS, pod, finalizers, grace_s)

    def _mark(self, resource: Resource, live: Json, finalizers: list[str], grace_s: int) -> Json:
        metadata = dict(live["metadata"])
        metadata.setdefault("deletionTimestamp", self._clock.stamp())
        metadata["deletionGracePeriodSeconds"] = grace_s
        if finalizers:
            metadata["finalizers"] = finalizers
        obj = {**live, "metadata": metadata}
        if resource is NAMESPACES:
            obj["status"] = {**live.get("status", {}), "phase": "Terminating"}
        if resource.has_generation and "deletionTimestamp" not in live["metadata"]:
            metadata["generation"] = metadata.get("generation", 0) + 1
        return live if obj == live else self._store.put(resource, obj)

    def finish(self, resource: Resource, live: Json) -> None:
        """Remove an object at once, whatever is left of it: the last act of a controller."""
        metadata = live["metadata"]
        obj = self._store.get(resource, metadata.get("namespace", ""), metadata["name"])
        if obj is not None and obj["metadata"]["uid"] == metadata["uid"]:
            self._store.remove(resource, metadata.get("namespace", ""), metadata["name"])

    def _put(self, resource: Resource, obj: Json) -> Json:
        """Store an object, and remove it when it is deleted and nothing holds it any more."""
        stored = self._store.put(resource, obj)
        metadata = stored["metadata"]
        is_held = metadata.get("finalizers") or (
            (resource is NAMESPACES and (stored.get("spec") or {}).get("finalizers"))
            or (resource is PODS and metadata.get("deletionGracePeriodSeconds"))
        )
        if metadata.get("deletionTimestamp") and not is_held:
            self._store.remove(resource, metadata.get("namespace", ""), metadata["name"])
        return stored


def check_envelope(resource: Resource, namespace: str, obj: Json) -> None:
    """Check that the object is of the kind and the namespace that its URL says; raises 400."""
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if (obj.get(field) or expected) != expected:
            words = {"apiVersion": "API version", "kind": "kind"}
            raise bad_request(
                f"the {words[field]} in the data ({obj[field]}) does not match the expected "
                f"{words[field]} ({expected})"
            )
        obj[field] = expected
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("json: cannot unmarshal into Go struct field .metadata")
    if resource.is_namespaced and metadata.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not resource.is_namespaced:
        metadata.pop("namespace", None)


def _check_version(resource: Resource, live: Json, obj: Json) -> None:
    metadata, now = obj["metadata"], live["metadata"]
    if metadata.get("uid") and metadata["uid"] != now["uid"]:
        raise _wrong_uid(resource, live, metadata["uid"])
    if metadata.get("resourceVersion", now["resourceVersion"]) != now["resourceVersion"]:
        raise conflict(resource, now["name"])


def _wrong_uid(resource: Resource, live: Json, uid: str) -> Exception:
    metadata = live["metadata"]
    why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
    return conflict(resource, metadata["name"], why)


def _keep_server_fields(resource: Resource, live: Json, obj: Json) -> None:
    """Put what a client may not change back to what the live object has."""
    metadata = obj["metadata"]
    for field in _SERVER_METADATA:
        if field in live["metadata"]:
            metadata[field] = live["metadata"][field]
        else:
            metadata.pop(field, None)
    if metadata.get("managedFields") is None and "managedFields" in live["metadata"]:
        metadata["managedFields"] = live["metadata"]["managedFields"]
    if resource.has_status:
        obj.pop("status", None)
        if "status" in live:
            obj["status"] = live["status"]
