"""The loop that keeps the cluster going: changes mark objects, controllers look at the marked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from fedsim.faults import FaultName
from fedsim.kube.cluster import NODE_NAME, Cluster, condition, controller_of
from fedsim.kube.errors import ApiError
from fedsim.kube.garbage import Garbage
from fedsim.kube.kinds import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from fedsim.kube.namespaces import Namespaces
from fedsim.kube.pods import Pods
from fedsim.kube.store import Change, ChangeType, Json
from fedsim.kube.volumes import Claims
from fedsim.kube.workloads import Deployments, ReplicaSets

log = structlog.get_logger(__name__)

_BREATH = 50
_KINDS = {
    PODS: "pod",
    REPLICA_SETS: "replicaset",
    DEPLOYMENTS: "deployment",
    CLAIMS: "claim",
    SERVICES: "service",
    NAMESPACES: "namespace",
}
_OWNERS = {DEPLOYMENTS.kind: "deployment", REPLICA_SETS.kind: "replicaset"}


class Controllers:
    """All controllers of the cluster, run by one task; marks for the same object count once."""

    def __init__(self, cluster: Cluster, ca_pem: str) -> None:
        self._cluster = cluster
        self._marks: dict[tuple[str, str, str], None] = {}
        self._wakeup = asyncio.Event()
        cluster.mark = self.mark
        self.namespaces = Namespaces(cluster, ca_pem)
        self._garbage = Garbage(cluster)
        self._handlers: dict[str, Callable[[str, str], None]] = {
            "pod": Pods(cluster).reconcile,
            "replicaset": ReplicaSets(cluster).reconcile,
            "deployment": Deployments(cluster).reconcile,
            "claim": Claims(cluster).reconcile,
            "service": self._balancer,
            "namespace": self.namespaces.reconcile,
            "garbage": self._garbage.reconcile,
            "node": self._node,
        }

    def mark(self, kind: str, namespace: str, name: str) -> None:
        """Ask for a look at an object soon."""
        self._marks[kind, namespace, name] = None
        self._wakeup.set()

    def start(self) -> None:
        """Follow the store and the faults, and look at everything once."""
        self._garbage.start()
        self._cluster.store.listen(self._follow)
        self._cluster.faults.listen(self._mark_all)
        self._mark_all()

    async def run(self) -> None:
        """Work off the marks, for ever."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            for count, mark in enumerate(tuple(self._marks), start=1):
                self._marks.pop(mark, None)
                self._handle(*mark)
                if count % _BREATH == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _handle(self, kind: str, namespace: str, name: str) -> None:
        try:
            self._handlers[kind](namespace, name)
        except ApiError as error:
            log.info("controller.refused", kind=kind, namespace=namespace, why=error.message)
        except Exception:
            log.exception("controller.failed", kind=kind, namespace=namespace, name=name)

    def _mark_all(self) -> None:
        for resource in _KINDS:
            self._mark_objects(resource)
        self.mark("node", "", NODE_NAME)

    def _mark_objects(self, resource: Resource, namespace: str | None = None) -> None:
        for obj in self._cluster.store.list(resource, namespace):
            metadata = obj["metadata"]
            self.mark(_KINDS[resource], metadata.get("namespace", ""), metadata["name"])

    def _follow(self, change: Change) -> None:
        self._garbage.follow(change)
        namespace, is_gone = change.namespace, change.type is ChangeType.DELETED
        if change.resource in _KINDS:
            self.mark(_KINDS[change.resource], namespace, change.name)
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] in _OWNERS:
            self.mark(_OWNERS[owner["kind"]], namespace, owner["name"])
        if change.resource is PODS and is_gone:
            self._mark_objects(CLAIMS, namespace)
            # One that recreates waits for the end of old pods, which its sets no longer count.
            self._mark_objects(DEPLOYMENTS, namespace)
        elif change.resource in {SECRETS, CONFIG_MAPS, CLAIMS}:
            self._mark_waiting_pods(namespace)
        elif change.resource is SERVICE_ACCOUNTS:
            self._mark_objects(REPLICA_SETS, namespace)
        if namespace and is_gone:
            self.mark("namespace", "", namespace)

    def _mark_waiting_pods(self, namespace: str) -> None:
        for pod in self._cluster.store.list(PODS, namespace):
            if pod["status"].get("phase") == "Pending":
                self.mark("pod", namespace, pod["metadata"]["name"])

    def _balancer(self, namespace: str, name: str) -> None:
        """Give a LoadBalancer Service without an address that of the settings; clear others'."""
        cluster = self._cluster
        service = cluster.store.get(SERVICES, namespace, name)
        if service is None or service["metadata"].get("deletionTimestamp"):
            return
        address, status = cluster.settings.load_balancer_ip, service["status"]
        balancer = status["loadBalancer"]
        if service["spec"]["type"] != "LoadBalancer":
            balancer = {}
        elif address and not balancer.get("ingress"):
            balancer = {"ingress": [{"ip": address, "ipMode": "VIP"}]}
        cluster.registry.write_status(SERVICES, service, {**status, "loadBalancer": balancer})

    def _node(self, _: str, name: str) -> None:
        cluster = self._cluster
        node = cluster.store.get(NODES, "", name)
        if node is None:
            return
        is_lost = cluster.faults.is_on(FaultName.NODE_NOT_READY)
        conditions = [ready_condition(node, cluster.clock.stamp(), is_lost=is_lost)]
        cluster.registry.write_status(NODES, node, {**node["status"], "conditions": conditions})


def ready_condition(node: Json, stamp: str, *, is_lost: bool) -> Json:
    """Return the condition Ready of a node that reports, or no longer does."""
    if is_lost:
        text = "Kubelet stopped posting node status."
        return condition(node, "Ready", "Unknown", stamp, reason="NodeStatusUnknown", message=text)
    text = "kubelet is posting ready status"
    return condition(node, "Ready", "True", stamp, reason="KubeletReady", message=text)
