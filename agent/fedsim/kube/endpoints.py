"""Endpoints of Services, and the addresses of load balancers."""

from __future__ import annotations

from fedsim.kube.cluster import NODE_NAME, Cluster, is_ready
from fedsim.kube.kinds import ENDPOINTS, SERVICES
from fedsim.kube.lifecycle import Write
from fedsim.kube.store import Json, clone

_AS_CONTROLLER = Write("kube-controller-manager")


class Endpoints:
    """Writes which pods stand behind each Service."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring the Endpoints of one Service up to date."""
        store, registry = self._cluster.store, self._cluster.registry
        service = store.get(SERVICES, namespace, name)
        live = store.get(ENDPOINTS, namespace, name)
        if service is None:
            if live is not None:
                registry.finish(ENDPOINTS, live)
            return
        self._give_address(service)
        selector = service["spec"].get("selector")
        if not selector or service["metadata"].get("deletionTimestamp"):
            return
        subsets = self._subsets(service, self._cluster.pods(namespace, selector))
        if live is None:
            labels = service["metadata"].get("labels") or {}
            obj: Json = {"metadata": {"name": name, "labels": dict(labels)}}
            if subsets:
                obj["subsets"] = subsets
            registry.create(ENDPOINTS, namespace, obj, _AS_CONTROLLER)
        elif live.get("subsets", []) != subsets:
            changed = clone(live)
            changed["subsets"] = subsets
            registry.write(ENDPOINTS, changed)

    def _give_address(self, service: Json) -> None:
        address = self._cluster.settings.load_balancer_ip
        if service["spec"]["type"] != "LoadBalancer" or not address:
            return
        if not (service.get("status") or {}).get("loadBalancer", {}).get("ingress"):
            set_address(self._cluster, service, address)

    def _subsets(self, service: Json, pods: list[Json]) -> list[Json]:
        ready: list[Json] = []
        waiting: list[Json] = []
        for pod in pods:
            address = (pod.get("status") or {}).get("podIP")
            if address and not pod["metadata"].get("deletionTimestamp"):
                (ready if is_ready(pod) else waiting).append(_address(pod, address))
        if not ready and not waiting:
            return []
        subset: Json = {"ports": [_port(port, pods) for port in service["spec"].get("ports") or ()]}
        if ready:
            subset["addresses"] = ready
        if waiting:
            subset["notReadyAddresses"] = waiting
        return [subset]


def set_address(cluster: Cluster, service: Json, address: str | None) -> None:
    """Give a LoadBalancer Service its address, or take it away."""
    balancer: Json = {}
    if address:
        balancer["ingress"] = [{"ip": address, "ipMode": "VIP"}]
    status = {**(service.get("status") or {}), "loadBalancer": balancer}
    cluster.registry.write_status(SERVICES, service, status)


def target_port(port: Json, pods: list[Json]) -> int | None:
    """Return the container's port behind a Service's port; a name is looked up in the pods."""
    target: int | str = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for each in container.get("ports") or ():
                if each.get("name") == target:
                    return int(each["containerPort"])
    return int(target) if str(target).isdigit() else None


def _address(pod: Json, address: str) -> Json:
    metadata = pod["metadata"]
    return {
        "ip": address,
        "nodeName": NODE_NAME,
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def _port(port: Json, pods: list[Json]) -> Json:
    written: Json = {"port": target_port(port, pods) or 0, "protocol": port["protocol"]}
    if port.get("name"):
        written["name"] = port["name"]
    return written
