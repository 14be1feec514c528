"""What kind of cluster the site has, and what the agent may do in it."""

from __future__ import annotations

from dataclasses import dataclass

from fedagent.kube.client import Json, Kube
from fedagent.kube.errors import Forbidden, NotFound
from fedagent.kube.kinds import INGRESSCLASSES, NAMESPACES, NODES, STORAGECLASSES, Kind
from fedagent.kube.objects import get, list_all
from fedagent.kube.ownership import SIMULATED_LABEL
from fedproto.agent.v1 import link_pb2

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its addresses, outside ones first."""

    name: str
    addresses: tuple[str, ...]
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the hub is told about a site's cluster. What may not be read is empty."""

    cluster_uid: str
    kubernetes_version: str
    nodes: tuple[Node, ...] = ()
    default_storage_class: str = ""
    ingress_classes: tuple[str, ...] = ()
    is_simulated: bool = False

    def to_proto(self, agent_platform: str) -> link_pb2.Inventory:
        """Return the message of the wire."""
        return link_pb2.Inventory(
            kubernetes_version=self.kubernetes_version,
            node_count=len(self.nodes),
            default_storage_class=self.default_storage_class,
            ingress_classes=self.ingress_classes,
            simulated=self.is_simulated,
            agent_platform=agent_platform,
        )


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that a role may allow."""

    verb: str
    kind: Kind
    namespace: str | None = None
    subresource: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = self.kind.plural + (f"/{self.subresource}" if self.subresource else "")
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {what}{where}"


async def read_cluster_uid(kube: Kube) -> str:
    """Return the UID of the namespace kube-system, which identifies a cluster for good."""
    system = await get(kube, NAMESPACES, "kube-system")
    return str(system["metadata"]["uid"])


async def read_inventory(kube: Kube) -> Inventory:
    """Read the inventory; raises Forbidden only when the cluster's identity may not be read."""
    version = await kube.request("GET", "/version")
    nodes = await _list_allowed(kube, NODES)
    classes = await _list_allowed(kube, STORAGECLASSES)
    ingress = await _list_allowed(kube, INGRESSCLASSES)
    return Inventory(
        cluster_uid=await read_cluster_uid(kube),
        kubernetes_version=str(version.get("gitVersion", "")),
        nodes=tuple(map(node_of, nodes)),
        default_storage_class=next((_name(c) for c in classes if _is_default(c)), ""),
        ingress_classes=tuple(sorted(map(_name, ingress))),
        is_simulated=any(_label(node, SIMULATED_LABEL) == "true" for node in nodes),
    )


async def may(kube: Kube, permission: Permission) -> bool:
    """Ask the API server whether the agent may do this."""
    attributes = {
        "verb": permission.verb,
        "group": permission.kind.group,
        "resource": permission.kind.plural,
        "subresource": permission.subresource,
        "namespace": permission.namespace or "",
        "name": permission.name,
    }
    body: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await kube.request("POST", _REVIEWS, body=body)
    return bool(answer.get("status", {}).get("allowed"))


def node_of(body: Json) -> Node:
    """Read a node; ExternalIP comes before InternalIP, host names are left out."""
    status = body.get("status", {})
    typed = [(row.get("type"), str(row.get("address"))) for row in status.get("addresses") or ()]
    addresses = [
        address
        for shown_type in ("ExternalIP", "InternalIP")
        for address_type, address in typed
        if address_type == shown_type
    ]
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    return Node(_name(body), tuple(addresses), conditions.get("Ready") == "True")


async def _list_allowed(kube: Kube, kind: Kind) -> tuple[Json, ...]:
    try:
        return await list_all(kube, kind)
    except (Forbidden, NotFound):
        return ()


def _name(body: Json) -> str:
    return str(body["metadata"]["name"])


def _label(body: Json, label: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(label, ""))


def _is_default(storage_class: Json) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return bool(annotations.get(_DEFAULT_CLASS) == "true")
