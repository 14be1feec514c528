"""What Kubernetes says of a cluster: its components' states, and the ``Info`` of a GET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.kubefate.kubernetes_api import ApiError, KubernetesApi
from fedsim.kubefate.settings import ServiceVersion

Object = dict[str, Any]
AVAILABLE = "Available"
_CONDITIONS = (AVAILABLE, "Progressing", "ReplicaFailure")


class ClusterViews:
    """Reads clusters' objects, found by label ``name`` alone."""

    def __init__(self, api: KubernetesApi, version: ServiceVersion) -> None:
        self._api = api
        self._is_old = version is ServiceVersion.V1_4_4

    async def deployments(self, name: str, namespace: str) -> dict[str, str]:
        """Return the state of each Deployment."""
        items = await self._api.list("Deployment", namespace, f"name={name}")
        return {item["metadata"]["name"]: _deployment_state(item) for item in items}

    async def stateful_sets(self, name: str, namespace: str) -> dict[str, str]:
        """Return the state of each StatefulSet; ready at 0 of 0, as the service has it."""
        items = await self._api.list("StatefulSet", namespace, f"name={name}")
        return {item["metadata"]["name"]: _stateful_state(item) for item in items}

    async def components(self, name: str, namespace: str) -> dict[str, str]:
        """Return the states that a job waits for; 1.4.4 does not see StatefulSets."""
        states = await self.deployments(name, namespace)
        if not self._is_old:
            states |= await self.stateful_sets(name, namespace)
        return states

    async def blocked(self, name: str, namespace: str) -> set[str]:
        """Return the Deployments whose pods wait for a Secret that is not there.

        A kubelet would hold such pods in ContainerCreating; KWOK's fake kubelet starts them, so
        an install asks here before it believes that a Deployment is available.
        """
        items = await self._api.list("Deployment", namespace, f"name={name}")
        mounted = {item["metadata"]["name"]: _secrets(item) for item in items}
        missing = {
            secret
            for secret in set().union(*mounted.values())
            if await self._api.find("Secret", namespace, secret) is None
        }
        return {name for name, secrets in mounted.items() if secrets & missing}

    async def info(self, name: str, namespace: str) -> dict[str, Any]:
        """Return ``Info``; raise ApiError (1.4.4: also when nodes may not be listed)."""
        selector = f"name={name}"
        address = await self._node_address()
        status: dict[str, Any] = {
            "containers": await self._containers(namespace, selector),
            "deployments": await self.deployments(name, namespace),
        }
        if not self._is_old:
            status["statefulSets"] = await self.stateful_sets(name, namespace)
        info: dict[str, Any] = {"dashboard": await self._hosts(namespace, selector)}
        if address is not None:
            info["ip"] = address
        return info | {"status": status}

    async def _node_address(self) -> str | None:
        try:
            nodes = await self._api.list("Node")
        except ApiError as error:
            text = (
                "Get node ip failed. Please check if user has the privilege to list resource "
                f'"nodes" at the cluster scope: {error}'
            )
            if self._is_old:
                raise ApiError(error.status, error.reason, text) from error
            return text
        addresses = [(node.get("status") or {}).get("addresses") or [] for node in nodes]
        first = [listed[0]["address"] for listed in addresses if listed]
        return str(first[-1]) if first else None

    async def _containers(self, namespace: str, selector: str) -> dict[str, str]:
        states: dict[str, str] = {}
        for pod in await self._api.list("Pod", namespace, selector):
            phase = str((pod.get("status") or {}).get("phase") or "")
            states |= {container["name"]: phase for container in pod["spec"]["containers"]}
        return dict(sorted(states.items()))

    async def _hosts(self, namespace: str, selector: str) -> list[str] | None:
        items = await self._api.list("Ingress", namespace, selector)
        hosts = [
            str(rule.get("host") or "")
            for item in items
            for rule in (item.get("spec") or {}).get("rules") or []
        ]
        return hosts or None


def all_available(states: Mapping[str, str]) -> bool:
    """Return whether there are components and all are available."""
    return bool(states) and all(state == AVAILABLE for state in states.values())


def _deployment_state(item: Object) -> str:
    conditions = {
        condition.get("type")
        for condition in (item.get("status") or {}).get("conditions") or []
        if condition.get("status") == "True"
    }
    return next((word for word in _CONDITIONS if word in conditions), "Undefined")


def _stateful_state(item: Object) -> str:
    status = item.get("status") or {}
    is_ready = int(status.get("readyReplicas") or 0) >= int(status.get("replicas") or 0)
    return AVAILABLE if is_ready else "Progressing"


def _secrets(item: Object) -> set[str]:
    volumes = item["spec"]["template"]["spec"].get("volumes") or []
    return {
        str(volume["secret"]["secretName"])
        for volume in volumes
        if "secret" in volume and not volume["secret"].get("optional")
    }
