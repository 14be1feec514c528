"""Which lists of the API merge by key, which are sets, and which are replaced as a whole.

The facts of the schemas of Kubernetes 1.34 (`x-kubernetes-list-type`, `x-kubernetes-list-map-keys`
and `x-kubernetes-map-type`) for the kinds that the server knows; what is not named is atomic.
"""

from __future__ import annotations

from fedsim.kube.store import Json

_NAME = ("name",)
_KEYS: dict[str, tuple[str, ...]] = {
    "containers": _NAME,
    "initContainers": _NAME,
    "ephemeralContainers": _NAME,
    "volumes": _NAME,
    "imagePullSecrets": _NAME,
    "env": _NAME,
    "secrets": _NAME,
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_ATOMIC_MAPS = frozenset({"selector", "nodeSelector", "namespaceSelector", "podSelector"})
_REFERENCES = frozenset({"secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"})

Path = tuple[str, ...]


def list_keys(path: Path) -> tuple[str, ...] | None:
    """Return the keys of a list that merges by key; ``path`` holds field names alone."""
    name = path[-1]
    if name == "ports":
        if "containers" in path or "initContainers" in path:
            return ("containerPort", "protocol")
        return ("port", "protocol") if path == ("spec", "ports") else None
    if name == "addresses" and path[0] == "status":
        return ("type",)
    return _KEYS.get(name)


def is_set(path: Path) -> bool:
    """Say whether a list is a set of words."""
    return path == ("metadata", "finalizers")


def is_atomic_map(path: Path) -> bool:
    """Say whether a map is owned and replaced as a whole."""
    if path[-1] in _REFERENCES:
        return True
    return path[-1] in _ATOMIC_MAPS and path[0] == "spec"


def item_key(item: Json, keys: tuple[str, ...]) -> tuple[object, ...]:
    """Return an item's key; a protocol that is not given is TCP, as the schemas default it."""
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)
