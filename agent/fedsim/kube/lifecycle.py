"""How objects come, change and go: the rules that hold for every kind.

Everything here is synchronous and touches memory alone, so each call is atomic. Clients come
through `create`, `update`, `modify` and `delete`; the cluster's own controllers write by
`write_status` and `write`, which track no ownership of fields.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from fedsim.kube.apply import Manager, track
from fedsim.kube.clock import Clock
from fedsim.kube.defaults import check_shape, complete
from fedsim.kube.errors import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    value_forbidden,
    value_invalid,
)
from fedsim.kube.kinds import NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES, Resource
from fedsim.kube.services import PortBook, keep_address
from fedsim.kube.store import Json, Store, clone
from fedsim.kube.validation import validate

PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


@dataclass(frozen=True, slots=True)
class Write:
    """How a client writes: under which manager's name, to what, and whether for show."""

    manager: str = "unknown"
    subresource: str = ""
    is_dry_run: bool = False
    is_apply: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """How a client deletes."""

    grace_s: int | None = None
    propagation: str = "Background"
    uid: str | None = None
    version: str | None = None
    is_dry_run: bool = False


class Registry:
    """The rules of the API server over a store."""

    def __init__(self, store: Store, clock: Clock, ports: PortBook) -> None:
        self._store = store
        self._clock = clock
        self._ports = ports

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """Return an object; raises 404."""
        found = self._store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def create(self, resource: Resource, namespace: str, obj: Json, write: Write) -> Json:
        """Make a new object; the object given belongs to the registry from now on."""
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
        self._birth(resource, namespace, obj)
        self._admit(resource, obj, None)
        if not write.is_apply:
            track(None, obj, _manager(resource, write), self._clock.stamp())
        return obj if write.is_dry_run else self._store.put(resource, obj)

    def _birth(self, resource: Resource, namespace: str, obj: Json) -> None:
        metadata = obj["metadata"]
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self._clock.stamp()
        if resource.is_namespaced:
            metadata["namespace"] = namespace
        if resource.has_generation:
            metadata["generation"] = 1
        if resource.has_status and resource.plural != "nodes":
            obj.pop("status", None)

    def _admit(self, resource: Resource, obj: Json, before: Json | None) -> None:
        check_shape(resource, obj)
        complete(resource, obj)
        if resource is SERVICES and before is not None:
            keep_address(obj, before)
        validate(resource, obj, before)
        if resource is SERVICES:
            self._ports.allocate(obj, before)
        if resource is PODS and before is None:
            self._admit_pod(obj)

    def _admit_pod(self, pod: Json) -> None:
        spec, metadata = pod["spec"], pod["metadata"]
        account = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = account
        if self._store.get(SERVICE_ACCOUNTS, metadata["namespace"], account) is None:
            where = f"{metadata['namespace']}/{account}"
            why = f'error looking up service account {where}: serviceaccount "{account}" not found'
            raise forbidden(PODS, metadata["name"], why)

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.is_namespaced:
            return
        space = self._store.get(NAMESPACES, "", namespace)
        if space is None:
            raise not_found(NAMESPACES, namespace)
        if space["metadata"].get("deletionTimestamp"):
            cause = Cause(
                "NamespaceTerminating",
                f"namespace {namespace} is being terminated",
                "metadata.namespace",
            )
            why = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            raise forbidden(resource, name, why, [cause])

    def update(
        self, resource: Resource, namespace: str, name: str, obj: Json, write: Write
    ) -> Json:
        """Replace an object, or its status; returns it unchanged when nothing differs."""
        check_envelope(resource, namespace, obj)
        if obj["metadata"].get("name") != name:
            raise bad_request(
                f"the name of the object ({obj['metadata'].get('name', '')}) does not match "
                f"the name on the URL ({name})"
            )
        live = self.get(resource, namespace, name)
        self._check_version(resource, live, obj)
        return self._change(resource, live, obj, write)

    def modify(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        transform: Callable[[Json], Json],
        write: Write,
    ) -> Json:
        """Change an object by a function of it, as a patch does."""
        live = self.get(resource, namespace, name)
        obj = transform(clone(live))
        check_envelope(resource, namespace, obj)
        if obj["metadata"].get("name") != name:
            cause = value_invalid(
                "metadata.name", obj["metadata"].get("name"), "field is immutable"
            )
            raise invalid(resource.kind, resource.group, name, [cause])
        self._check_version(resource, live, obj)
        return self._change(resource, live, obj, write)

    def _check_version(self, resource: Resource, live: Json, obj: Json) -> None:
        metadata, now = obj["metadata"], live["metadata"]
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if uid and uid != now["uid"]:
            raise conflict(
                resource,
                now["name"],
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                f"{now['uid']}",
            )
        if version and version != now["resourceVersion"]:
            raise conflict(resource, now["name"])
        if not version and not resource.may_update_unconditionally:
            cause = value_invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.kind, resource.group, now["name"], [cause])

    def _change(self, resource: Resource, live: Json, obj: Json, write: Write) -> Json:
        obj = _with_live_parts(resource, live, obj, write)
        if not write.subresource:
            self._admit(resource, obj, live)
            _check_finalizers(resource, live, obj)
        if not write.is_apply:
            track(live, obj, _manager(resource, write), self._clock.stamp())
        obj["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        if obj == live:
            return live
        if resource.has_generation and obj.get("spec") != live.get("spec"):
            obj["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
        if write.is_dry_run:
            return obj
        stored = self._store.put(resource, obj)
        self._remove_if_done(resource, stored)
        return stored

    def write(self, resource: Resource, obj: Json) -> Json:
        """Store an object changed by a controller, unless it is gone or nothing differs."""
        metadata = obj["metadata"]
        live = self._store.get(resource, metadata.get("namespace", ""), metadata["name"])
        if live is None or live["metadata"]["uid"] != metadata["uid"] or live == obj:
            return obj
        obj["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        stored = self._store.put(resource, obj)
        self._remove_if_done(resource, stored)
        return stored

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
        if removal.is_dry_run:
            return live
        if resource is PODS:
            return self._delete_pod(live, removal)
        finalizers = list(live["metadata"].get("finalizers") or ())
        extra = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(removal.propagation)
        if extra and extra not in finalizers:
            finalizers.append(extra)
        if not finalizers and resource is not NAMESPACES:
            return self._store.remove(resource, namespace, name) or live
        return self._mark(resource, live, finalizers, 0)

    def _check_removal(self, resource: Resource, live: Json, removal: Removal) -> None:
        metadata = live["metadata"]
        if resource is NAMESPACES and metadata["name"] in PROTECTED_NAMESPACES:
            raise forbidden(resource, metadata["name"], "this namespace may not be deleted")
        for wanted, is_now, label in (
            (removal.uid, metadata["uid"], "UID"),
            (removal.version, metadata["resourceVersion"], "ResourceVersion"),
        ):
            if wanted and wanted != is_now:
                why = (
                    f"Precondition failed: {label} in precondition: {wanted}, "
                    f"{label} in object meta: {is_now}"
                )
                raise conflict(resource, metadata["name"], why)

    def _delete_pod(self, pod: Json, removal: Removal) -> Json:
        metadata, spec = pod["metadata"], pod["spec"]
        grace_s = removal.grace_s
        if grace_s is None:
            grace_s = spec.get("terminationGracePeriodSeconds", 30)
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
        """Take an object away at once, whatever is left of it: the last act of a controller."""
        metadata = live["metadata"]
        found = self._store.get(resource, metadata.get("namespace", ""), metadata["name"])
        if found is not None and found["metadata"]["uid"] == metadata["uid"]:
            self._store.remove(resource, metadata.get("namespace", ""), metadata["name"])

    def _remove_if_done(self, resource: Resource, obj: Json) -> None:
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
            return
        if resource is NAMESPACES and (obj.get("spec") or {}).get("finalizers"):
            return
        if resource is PODS and metadata.get("deletionGracePeriodSeconds"):
            return
        self._store.remove(resource, metadata.get("namespace", ""), metadata["name"])


def check_envelope(resource: Resource, namespace: str, obj: Json) -> None:
    """Check that the object is of the kind and the namespace that its URL says."""
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if obj.setdefault(field, expected) != expected:
            words = {"apiVersion": "API version", "kind": "kind"}
            raise bad_request(
                f"the {words[field]} in the data ({obj[field]}) does not match the expected "
                f"{words[field]} ({expected})"
            )
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("json: cannot unmarshal into Go struct field .metadata")
    if resource.is_namespaced and metadata.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not resource.is_namespaced:
        metadata.pop("namespace", None)


def _manager(resource: Resource, write: Write) -> Manager:
    return Manager(write.manager, "Update", resource.api_version, write.subresource)


def _with_live_parts(resource: Resource, live: Json, obj: Json, write: Write) -> Json:
    """Return the object with what a client may not change taken from the live one."""
    metadata = obj["metadata"]
    if write.subresource:
        changed = {**live, "metadata": dict(live["metadata"])}
        part = "spec" if write.subresource == "finalize" else "status"
        if part in obj:
            changed[part] = obj[part]
        if "managedFields" in metadata:
            changed["metadata"]["managedFields"] = metadata["managedFields"]
        return changed
    for field in _KEPT_METADATA:
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
    return obj


def _check_finalizers(resource: Resource, live: Json, obj: Json) -> None:
    if not live["metadata"].get("deletionTimestamp"):
        return
    before = set(live["metadata"].get("finalizers") or ())
    if set(obj["metadata"].get("finalizers") or ()) - before:
        cause = value_forbidden(
            "metadata.finalizers",
            "no new finalizers can be added if the object is being deleted",
        )
        raise invalid(resource.kind, resource.group, live["metadata"]["name"], [cause])
