"""What Kubernetes says of a cluster: its components' states, and the ``Info`` of a GET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.kubefate.kubernetes_api import KubernetesApi

Object = dict[str, Any]
AVAILABLE = "Available"
_CONDITIONS = (AVAILABLE, "Progressing", "ReplicaFailure")


class ClusterViews:
    """Reads clusters' objects, found by label ``name`` alone."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def deployments(self, name: str, namespace: str) -> dict[str, str]:
        """Return the state of each Deployment; a job waits for these."""
        items = await self._api.list("Deployment", namespace, f"name={name}")
        return {item["metadata"]["name"]: _state(item) for item in items}

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
        """Return ``Info`` without the nodes' addresses; raise ApiError."""
        selector = f"name={name}"
        pods = await self._api.list("Pod", namespace, selector)
        ingresses = await self._api.list("Ingress", namespace, selector)
        hosts = [
            str(rule.get("host") or "")
            for ingress in ingresses
            for rule in (ingress.get("spec") or {}).get("rules") or []
        ]
        containers = {
            container["name"]: str((pod.get("status") or {}).get("phase") or "")
            for pod in pods
            for container in pod["spec"]["containers"]
        }
        status = {
            "containers": dict(sorted(containers.items())),
            "deployments": await self.deployments(name, namespace),
            "statefulSets": {},  # the charts rendered here have none
        }
        return {"dashboard": hosts or None, "status": status}


def all_available(states: Mapping[str, str]) -> bool:
    """Return whether there are components and all are available."""
    return bool(states) and all(state == AVAILABLE for state in states.values())


def _state(item: Object) -> str:
    conditions = {
        condition.get("type")
        for condition in (item.get("status") or {}).get("conditions") or []
        if condition.get("status") == "True"
    }
    return next((word for word in _CONDITIONS if word in conditions), "Undefined")


def _secrets(item: Object) -> set[str]:
    volumes = item["spec"]["template"]["spec"].get("volumes") or []
    return {
        str(volume["secret"]["secretName"])
        for volume in volumes
        if "secret" in volume and not volume["secret"].get("optional")
    }
