"""Services: the addresses of load balancers, and the ports of the pods behind."""

from __future__ import annotations

from fedsim.kube.cluster import Cluster
from fedsim.kube.kinds import SERVICES
from fedsim.kube.store import Json


class Balancers:
    """Gives LoadBalancer Services the address of the settings, and takes it from others."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring the status of one Service up to date; an address that is there stays."""
        service = self._cluster.store.get(SERVICES, namespace, name)
        if service is None or service["metadata"].get("deletionTimestamp"):
            return
        address = self._cluster.settings.load_balancer_ip
        if service["spec"]["type"] != "LoadBalancer":
            set_address(self._cluster, service, None)
        elif address and not service["status"]["loadBalancer"].get("ingress"):
            set_address(self._cluster, service, address)


def set_address(cluster: Cluster, service: Json, address: str | None) -> None:
    """Give a LoadBalancer Service its address, or take it away."""
    ingress = {"ingress": [{"ip": address, "ipMode": "VIP"}]} if address else {}
    status = {**(service.get("status") or {}), "loadBalancer": ingress}
    cluster.registry.write_status(SERVICES, service, status)


def target_port(port: Json) -> int:
    """Return the container's port behind a Service's port; charts and agents name none."""
    target = port.get("targetPort") or port["port"]
    return int(target) if str(target).isdigit() else 0
