"""Shape the Kubernetes objects of a chart: labels, Deployments, Services, claims, Ingresses.

What nothing reads of a pod is left out: commands, probes, most of the environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.kubefate.values import Values, dig, filled, go_number, scalar

Object = dict[str, Any]
OPEN_TYPES = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class Context:
    """What every template of a release sees. ``release`` is Helm's name for it."""

    values: Values
    release: str
    namespace: str
    chart: str

    @property
    def party_id(self) -> str:
        """Return the party's id as the templates print it."""
        return go_number(self.values.get("partyId"))

    def match(self, module: str) -> dict[str, str]:
        """Return the labels that selectors use; ``name`` comes from the cluster.yaml."""
        name = str(self.values.get("partyName") or "")
        return {"fateMoudle": module, "name": name, "partyId": self.party_id}

    def labels(self, module: str, *, helm: bool = True) -> dict[str, str]:
        """Return all labels; those of Traffic Server's objects lack Helm's three."""
        labels = self.match(module) | {"owner": "kubefate", "cluster": self.chart}
        if helm:
            labels |= {"heritage": "Helm", "release": self.release, "chart": self.chart}
        return labels

    def module(self, *path: str) -> Any:
        """Return a value of a module, None where it is missing."""
        return dig(self.values, "modules", *path)

    def block(self, *path: str) -> Values:
        """Return a block of a module, empty where it is missing."""
        return self.module(*path) or {}

    def has(self, module: str) -> bool:
        """Return whether the module is to be deployed."""
        return bool(self.module(module, "include"))

    def image(self, name: str, tag: str = "") -> str:
        """Return an image of the registry, with the release's tag unless another is named."""
        image = self.values["image"]
        return f"{image['registry']}/{name}:{tag or image['tag']}"

    def outside_image(self, name: str) -> str:
        """Return an image that comes from the registry only where one was set."""
        image = self.values["image"]
        return f"{image['registry']}/{name}" if image["isThridParty"] else name

    def container(self, name: str, image: str, ports: Sequence[int] = (), **rest: Any) -> Object:
        """Return a container; empty parts are left out."""
        exposed = [{"containerPort": port} for port in ports]
        kept = {key: value for key, value in {"ports": exposed, **rest}.items() if value}
        policy = self.values["image"]["pullPolicy"]
        return {"name": name, "image": image, "imagePullPolicy": policy, **kept}

    def data_volume(self, volume: str, claim: str, values: Values) -> Object:
        """Return the volume of a claim, or an emptyDir where nothing is kept."""
        if not dig(self.values, "persistence", "enabled"):
            return {"name": volume, "emptyDir": {}}
        name = values.get("existingClaim") or claim
        return {"name": volume, "persistentVolumeClaim": {"claimName": name}}


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service."""

    name: str
    number: int
    node_port: Any = None


def metadata(context: Context, name: str, module: str, *, helm: bool = True) -> Object:
    """Return an object's metadata."""
    labels = context.labels(module, helm=helm)
    return {"name": name, "namespace": context.namespace, "labels": labels}


def config_map(
    context: Context, name: str, module: str, data: Mapping[str, str], *, helm: bool = True
) -> Object:
    """Return a ConfigMap."""
    about = metadata(context, name, module, helm=helm)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": dict(data)}


def deployment(
    context: Context,
    name: str,
    containers: Sequence[Object],
    *,
    volumes: Iterable[Object] = (),
    values: Mapping[str, Any] | None = None,
    replicas: Any = 1,
    helm: bool = True,
    **pod: Any,
) -> Object:
    """Return a Deployment with strategy Recreate; ``pod`` adds to the pod's spec."""
    optional = {
        "volumes": list(volumes),
        **filled(values or {}, "nodeSelector", "tolerations", "affinity"),
        **filled(context.values["image"], "imagePullSecrets"),
        **pod,
    }
    spec = {
        "containers": list(containers),
        "serviceAccountName": "default",
        "restartPolicy": "Always",
        **{key: value for key, value in optional.items() if value},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(context, name, name, helm=helm),
        "spec": {
            "replicas": int(scalar(replicas) or 1),
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": context.match(name)},
            "template": {"metadata": {"labels": context.labels(name, helm=helm)}, "spec": spec},
        },
    }


def data_claim(context: Context, name: str, module: str, values: Values) -> list[Object]:
    """Return the PersistentVolumeClaim of a module that keeps data on one of the chart's own."""
    if not dig(context.values, "persistence", "enabled") or values.get("existingClaim"):
        return []
    spec: Object = {
        "accessModes": [values.get("accessMode")],
        "resources": {"requests": {"storage": values.get("size")}},
    }
    if storage_class := values.get("storageClass"):
        spec["storageClassName"] = "" if storage_class == "-" else storage_class
    about = metadata(context, name, module)
    return [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": spec}]


def service(
    context: Context,
    name: str,
    module: str,
    ports: Sequence[Port],
    *,
    values: Mapping[str, Any] | None = None,
    helm: bool = True,
    has_node_port: bool = False,
    **rest: Any,
) -> Object:
    """Return a Service that selects ``module``, of the type that the module's values name.

    A node port is written for an open type alone, unless ``has_node_port`` is set. ``rest`` adds to
    the spec.
    """
    values = {"type": "ClusterIP"} if values is None else values
    opens = has_node_port or values.get("type") in OPEN_TYPES
    address = {"loadBalancerIP": values.get("loadBalancerIP")}
    optional = {**filled(values, "type"), **filled(address, "loadBalancerIP"), **rest}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(context, name, module, helm=helm),
        "spec": {
            "ports": [_port(port, opens=opens) for port in ports],
            "selector": context.match(module),
            **optional,
        },
    }


def _port(port: Port, *, opens: bool) -> Object:
    body: Object = {
        "name": port.name,
        "port": port.number,
        "targetPort": port.number,
        "protocol": "TCP",
    }
    return body | ({"nodePort": port.node_port} if opens and port.node_port else {})


def ingress(context: Context, name: str, target: str, port: int) -> Object:
    """Return an Ingress for the hosts of a block of ``ingress``."""
    values = dig(context.values, "ingress", name) or {}
    backend = {"service": {"name": target, "port": {"number": port}}}
    rules = [
        {
            "host": host.get("name"),
            "http": {
                "paths": [
                    {"path": host.get("path") or "/", "pathType": "Prefix", "backend": backend}
                ]
            },
        }
        for host in values.get("hosts") or []
    ]
    spec: Object = {"ingressClassName": context.values.get("ingressClassName"), "rules": rules}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(context, name, name) | filled(values, "annotations"),
        "spec": spec | filled(values, "tls"),
    }


def mount(volume: str, path: str, sub_path: str = "") -> Object:
    """Return a mount of a volume, or of one file of it that never changes under a running pod."""
    body = {"name": volume, "mountPath": path}
    return body | ({"subPath": sub_path} if sub_path else {})


def from_config(volume: str, config: str) -> Object:
    """Return a volume of a ConfigMap."""
    return {"name": volume, "configMap": {"name": config}}


def from_secret(volume: str, secret: str) -> Object:
    """Return a volume of a Secret; the pod waits until the Secret is there."""
    return {"name": volume, "secret": {"secretName": secret}}
