"""Namespaces: what each is born with, and how one goes with all that is in it."""

from __future__ import annotations

from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError
from fedsim.kube.kinds import CONFIG_MAPS, NAMESPACED, NAMESPACES, SERVICE_ACCOUNTS
from fedsim.kube.lifecycle import Removal
from fedsim.kube.store import Json, clone

_ROOT_CA = "kube-root-ca.crt"


class Namespaces:
    """Furnishes and empties namespaces."""

    def __init__(self, cluster: Cluster, ca_pem: str) -> None:
        self._cluster = cluster
        self._ca_pem = ca_pem

    def reconcile(self, _: str, name: str) -> None:
        """Make what every namespace has, or delete what is left in a terminating one."""
        live = self._cluster.store.get(NAMESPACES, "", name)
        if live is None:
            return
        if live["metadata"].get("deletionTimestamp"):
            self._empty(live)
        else:
            self.furnish(name)

    def furnish(self, name: str) -> None:
        """Make the default service account and the CA's ConfigMap, if they are missing."""
        store, registry = self._cluster.store, self._cluster.registry
        if store.get(SERVICE_ACCOUNTS, name, "default") is None:
            account: Json = {"metadata": {"name": "default"}}
            registry.create(SERVICE_ACCOUNTS, name, account)
        if store.get(CONFIG_MAPS, name, _ROOT_CA) is None:
            config = {"metadata": {"name": _ROOT_CA}, "data": {"ca.crt": self._ca_pem}}
            registry.create(CONFIG_MAPS, name, config)

    def _empty(self, live: Json) -> None:
        name = live["metadata"]["name"]
        store, registry = self._cluster.store, self._cluster.registry
        for resource in NAMESPACED:
            for obj in store.list(resource, name):
                if obj["metadata"].get("deletionTimestamp"):
                    continue
                try:
                    registry.delete(resource, name, obj["metadata"]["name"], Removal())
                except ApiError:
                    continue  # gone already: a dependent of one deleted before it
        if any(store.list(resource, name) for resource in NAMESPACED):
            return
        changed = clone(live)
        changed["spec"]["finalizers"] = []
        registry.write(NAMESPACES, changed)
