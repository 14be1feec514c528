"""Kubernetes objects as the planner's values. Pure: JSON in, views out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from fedagent.domain.document import AddressSpec
from fedagent.domain.observed import (
    AddressView,
    ClaimView,
    EventView,
    NamespaceView,
    OwnerView,
    PodView,
    Workload,
)
from fedagent.kube.ownership import OwnerRole, is_created_namespace, owner_of
from fedcore.words import WorkloadKind

Json = Mapping[str, Any]
_SERVICE_PARTS: Final = frozenset({"kubefate", "mariadb"})
"""Label ``fate`` on the objects of KubeFATE's own manifests."""
_BAD_ENDS: Final = frozenset({"Error", "OOMKilled", "ContainerCannotRun", "StartError"})


def namespace_view(body: Json | None) -> NamespaceView:
    """Return the view of a namespace, or of its absence."""
    if body is None:
        return NamespaceView()
    owner = owner_of(body)
    terminating = "deletionTimestamp" in body["metadata"]
    return NamespaceView(
        exists=True,
        owner=None if owner is None else OwnerView(owner.hub_id, owner.resource_id),
        made_by_us=is_created_namespace(body),
        terminating=terminating or (body.get("status") or {}).get("phase") == "Terminating",
    )


def is_of_release(body: Json, release: str) -> bool:
    """Return whether an object bears the labels that KubeFATE's charts put on everything."""
    labels = body["metadata"].get("labels") or {}
    return bool(labels.get("name") == release)


def is_of_service(body: Json) -> bool:
    """Return whether an object belongs to the KubeFATE service itself, ours or another's.

    Where it has rights in one namespace alone, participants share that namespace with it.
    """
    labels = body["metadata"].get("labels") or {}
    owner = owner_of(body)
    is_installed = owner is not None and owner.role is OwnerRole.ENDPOINT
    return is_installed or labels.get("fate") in _SERVICE_PARTS


def workload_view(body: Json, kind: WorkloadKind) -> Workload:
    """Return the view of a Deployment or StatefulSet."""
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    desired = int(spec.get("replicas", 1))
    is_observed = int(status.get("observedGeneration") or 0) >= int(meta.get("generation") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    current = is_observed and (kind is WorkloadKind.STATEFUL_SET or updated >= desired)
    ready = int(status.get("readyReplicas") or 0)
    return Workload(str(meta["name"]), kind, ready, desired, is_current=current)


def pod_view(body: Json) -> PodView:
    """Return the view of a pod."""
    meta, status = body["metadata"], body.get("status") or {}
    containers = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    conditions = {item.get("type"): item for item in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodView(
        name=str(meta["name"]),
        uid=str(meta.get("uid", "")),
        workload=workload_of(body),
        phase=str(status.get("phase", "")),
        is_ready=(conditions.get("Ready") or {}).get("status") == "True",
        started_at=_started_at(status),
        terminating="deletionTimestamp" in meta,
        waiting=tuple(_troubles(containers)),
        restarts=max((int(item.get("restartCount") or 0) for item in containers), default=0),
        unschedulable=str(scheduled.get("message", "")) if stuck else "",
        namespace=str(meta.get("namespace", "")),
        unready=tuple(_unready(status, conditions.get("ContainersReady") or {})),
    )


def workload_of(pod: Json) -> str:
    """Return the Deployment's or StatefulSet's name that a pod belongs to."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        name = str(owner.get("name", ""))
        if owner.get("kind") == "ReplicaSet":
            return name.rpartition("-")[0]
        if owner.get("kind") == "StatefulSet":
            return name
    return ""


def _started_at(status: Json) -> datetime | None:
    """Return when the pod's youngest container started: it has read its files then."""
    times = [
        time_of(((item.get("state") or {}).get("running") or {}).get("startedAt"))
        for item in status.get("containerStatuses") or ()
    ]
    started = [time for time in times if time is not None]
    return max(started) if started else time_of(status.get("startTime"))


def _unready(status: Json, condition: Json) -> Iterable[tuple[str, datetime]]:
    """Yield what runs and is not ready, since its start or since the pod ceased to be ready."""
    turned_at = None
    if condition.get("status") == "False":
        turned_at = time_of(condition.get("lastTransitionTime"))
    for item in status.get("containerStatuses") or ():
        running = (item.get("state") or {}).get("running")
        started_at = time_of((running or {}).get("startedAt"))
        if started_at is not None and not item.get("ready"):
            since = started_at if turned_at is None else max(started_at, turned_at)
            yield str(item.get("name", "")), since


def _troubles(containers: Iterable[Json]) -> Iterable[tuple[str, str, str]]:
    for item in containers:
        state = item.get("state") or {}
        for kind in ("waiting", "terminated"):
            detail = state.get(kind) or {}
            reason = str(detail.get("reason", ""))
            if kind == "terminated" and reason not in _BAD_ENDS:
                continue
            if reason and reason not in {"ContainerCreating", "PodInitializing"}:
                yield str(item.get("name", "")), reason, str(detail.get("message", ""))


def event_view(body: Json) -> EventView:
    """Return the view of a Kubernetes event."""
    about = body.get("involvedObject") or {}
    return EventView(
        reason=str(body.get("reason", "")),
        message=str(body.get("message", "")),
        about=f"{about.get('kind', '')}/{about.get('name', '')}",
        at=time_of(body.get("lastTimestamp") or body.get("eventTime")),
    )


def claim_view(body: Json, release: str) -> ClaimView:
    """Return the view of a PersistentVolumeClaim."""
    phase = str((body.get("status") or {}).get("phase", ""))
    return ClaimView(str(body["metadata"]["name"]), phase, is_of_release(body, release))


def address_view(
    address: AddressSpec, service: Json | None, *, node_ip: str, resolve: Mapping[str, str]
) -> AddressView | None:
    """Return where a Service port is reached from outside; None while nobody knows.

    ``resolve`` answers the names that load balancers have.
    """
    if service is None:
        return None
    spec = service.get("spec") or {}
    ports = [item for item in spec.get("ports") or () if _is_port(item, address.port_name)]
    if not ports:
        return None
    port = ports[0]
    match spec.get("type", "ClusterIP"):
        case "NodePort":
            number = int(port.get("nodePort") or 0)
            return (
                AddressView(address.role, node_ip, node_ip, number) if number and node_ip else None
            )
        case "LoadBalancer":
            return _balanced(address, service, int(port["port"]), resolve)
        case _:
            ip = str(spec.get("clusterIP") or "")
            name = f"{address.service}.{service['metadata'].get('namespace', '')}.svc"
            usable = ip and ip != "None"
            return AddressView(address.role, name, ip, int(port["port"])) if usable else None


def _is_port(item: Json, name: str) -> bool:
    return bool(item.get("name") == name)


def _balanced(
    address: AddressSpec, service: Json, port: int, resolve: Mapping[str, str]
) -> AddressView | None:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    for item in balancer.get("ingress") or ():
        if ip := item.get("ip"):
            return AddressView(address.role, str(ip), str(ip), port)
        if name := item.get("hostname"):
            return AddressView(address.role, str(name), resolve.get(str(name), ""), port)
    return None


def balancer_names(services: Iterable[Json]) -> tuple[str, ...]:
    """Return the names of load balancers, which must be resolved."""
    return tuple(
        str(item["hostname"])
        for service in services
        for item in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        if item.get("hostname")
    )


def time_of(text: object) -> datetime | None:
    """Read a Kubernetes time; None for nothing and for nonsense."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
