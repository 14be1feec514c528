"""Shape the Kubernetes objects of a chart: labels, workloads, Services, claims, Ingresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.kubefate.values import Values, dig, filled, go_number, scalar

Object = dict[str, Any]
OPEN_TYPES = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class Identity:
    """Say whose objects these are. ``name`` comes from the cluster.yaml, ``release`` from Helm."""

    name: str
    party_id: str
    release: str
    namespace: str
    chart: str

    def match(self, module: str) -> dict[str, str]:
        """Return the labels that selectors use."""
        return {"fateMoudle": module, "name": self.name, "partyId": self.party_id}

    def labels(self, module: str, *, helm: bool = True) -> dict[str, str]:
        """Return all labels; those of Traffic Server's objects lack Helm's three."""
        labels = self.match(module) | {"owner": "kubefate", "cluster": self.chart}
        if helm:
            labels |= {"heritage": "Helm", "release": self.release, "chart": self.chart}
        return labels


@dataclass(frozen=True, slots=True)
class Context:
    """Carry what every template sees."""

    identity: Identity
    values: Values
    is_stateful: bool = False
    """Charts from 1.9 on keep data in StatefulSets."""

    def module(self, *path: str) -> Any:
        """Return a value of a module, None where it is missing."""
        return dig(self.values, "modules", *path)

    def has(self, module: str) -> bool:
        """Say whether the module is to be deployed."""
        return bool(self.module(module, "include"))

    @property
    def persists(self) -> bool:
        """Say whether data is kept on claims."""
        return bool(dig(self.values, "persistence", "enabled"))

    def image(self, name: str, tag: str | None = "") -> str:
        """Name an image of the registry; the release's tag unless another (None: no tag)."""
        suffix = "" if tag is None else f":{tag or dig(self.values, 'image', 'tag')}"
        return f"{dig(self.values, 'image', 'registry')}/{name}{suffix}"

    def outside_image(self, name: str, official: str = "") -> str:
        """Name an image that comes from the registry only where one was set."""
        if dig(self.values, "image", "isThridParty"):
            return f"{dig(self.values, 'image', 'registry')}/{name}"
        return official or name

    def container(self, name: str, image: str, **rest: Any) -> Object:
        """Make a container; empty parts are left out."""
        policy = dig(self.values, "image", "pullPolicy")
        kept = {key: value for key, value in rest.items() if value}
        return {"name": name, "image": image, "imagePullPolicy": policy, **kept}

    def claim(self, volume: str, claim: str, existing: Any) -> Object:
        """Make the volume of a claim, or an emptyDir where nothing is kept."""
        if not self.persists:
            return {"name": volume, "emptyDir": {}}
        return {"name": volume, "persistentVolumeClaim": {"claimName": existing or claim}}


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service."""

    name: str
    number: int
    node_port: Any = None


def metadata(context: Context, name: str, module: str, *, helm: bool = True) -> Object:
    """Make an object's metadata."""
    identity = context.identity
    labels = identity.labels(module, helm=helm)
    return {"name": name, "namespace": identity.namespace, "labels": labels}


def config_map(
    context: Context, name: str, module: str, data: Mapping[str, str], *, helm: bool = True
) -> Object:
    """Make a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(context, name, module, helm=helm),
        "data": dict(data),
    }


def deployment(
    context: Context,
    name: str,
    containers: Sequence[Object],
    *,
    volumes: Iterable[Object] = (),
    place: Any = None,
    replicas: Any = None,
    helm: bool = True,
    **pod: Any,
) -> Object:
    """Make a Deployment with strategy Recreate; ``pod`` adds to the pod's spec."""
    body = _workload(context, "Deployment", name, containers, helm=helm)
    spec = body["spec"]
    spec["replicas"] = int(scalar(replicas) or 1)
    spec["strategy"] = {"type": "Recreate"}
    _fill_pod(context, spec["template"]["spec"], list(volumes), place, pod)
    return body


def stateful_set(
    context: Context,
    name: str,
    containers: Sequence[Object],
    *,
    volumes: Iterable[Object] = (),
    place: Any = None,
    replicas: Any = None,
    **pod: Any,
) -> Object:
    """Make a StatefulSet; claims become its volumeClaimTemplates."""
    body = _workload(context, "StatefulSet", name, containers, helm=True)
    spec = body["spec"]
    spec["replicas"] = int(scalar(replicas) or 1)
    spec["serviceName"] = name
    kept = list(volumes)
    claims = [volume for volume in kept if "persistentVolumeClaim" in volume]
    plain = [volume for volume in kept if volume not in claims]
    if claims:
        spec["volumeClaimTemplates"] = [_claim_template(volume["name"], place) for volume in claims]
    _fill_pod(context, spec["template"]["spec"], plain, place, pod)
    return body


def _workload(
    context: Context, kind: str, name: str, containers: Sequence[Object], *, helm: bool
) -> Object:
    identity = context.identity
    labels = identity.labels(name, helm=helm)
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": metadata(context, name, name, helm=helm),
        "spec": {
            "selector": {"matchLabels": identity.match(name)},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}},
        },
    }


def _fill_pod(
    context: Context, spec: Object, volumes: list[Object], place: Any, extra: Mapping[str, Any]
) -> None:
    spec |= filled(place or {}, "nodeSelector", "tolerations", "affinity")
    spec |= filled(context.values.get("image") or {}, "imagePullSecrets")
    spec["serviceAccountName"] = "default"
    spec["restartPolicy"] = "Always"
    spec |= {key: value for key, value in extra.items() if value}
    if volumes:
        spec["volumes"] = volumes


def _claim_template(name: str, place: Any) -> Object:
    return {"metadata": {"name": name}, "spec": _claim_spec(place or {})}


def _claim_spec(values: Mapping[str, Any]) -> Object:
    spec: Object = {
        "accessModes": [values.get("accessMode")],
        "resources": {"requests": {"storage": values.get("size")}},
    }
    storage_class = values.get("storageClass")
    if storage_class:
        spec["storageClassName"] = "" if storage_class == "-" else storage_class
    return spec


def claim_object(context: Context, name: str, module: str, values: Any) -> list[Object]:
    """Make a PersistentVolumeClaim where data is kept on one of the chart's own."""
    given = values or {}
    if not context.persists or context.is_stateful or given.get("existingClaim"):
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(context, name, module),
            "spec": _claim_spec(given),
        }
    ]


def service(  # noqa: PLR0913 - a Service has that many parts; all but four are by keyword
    context: Context,
    name: str,
    module: str,
    ports: Sequence[Port],
    *,
    type_: Any = "ClusterIP",
    label: str = "",
    headless: bool = False,
    address: Any = None,
    helm: bool = True,
    always_node_port: bool = False,
) -> Object:
    """Make a Service that selects ``module``; ``label`` names it otherwise in its own labels."""
    opens = always_node_port or type_ in OPEN_TYPES
    spec: Object = {
        "ports": [_port(port, opens=opens) for port in ports],
        "selector": context.identity.match(module),
    }
    if type_:
        spec["type"] = type_
    if headless:
        spec["clusterIP"] = "None"
    if address:
        spec["loadBalancerIP"] = str(address)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(context, name, label or module, helm=helm),
        "spec": spec,
    }


def _port(port: Port, *, opens: bool) -> Object:
    body: Object = {
        "name": port.name,
        "port": port.number,
        "targetPort": port.number,
        "protocol": "TCP",
    }
    if opens and port.node_port:
        body["nodePort"] = port.node_port
    return body


def ingress(context: Context, name: str, module: str, target: str, number: int) -> Object:
    """Make an Ingress for the hosts of a block of ``ingress``."""
    given = dig(context.values, "ingress", name) or {}
    backend = {"service": {"name": target, "port": {"number": number}}}
    rules = [
        {
            "host": host.get("name"),
            "http": {
                "paths": [
                    {"path": host.get("path") or "/", "pathType": "Prefix", "backend": backend}
                ]
            },
        }
        for host in given.get("hosts") or []
    ]
    spec: Object = {"ingressClassName": context.values.get("ingressClassName"), "rules": rules}
    spec |= filled(given, "tls")
    about = metadata(context, name, module) | filled(given, "annotations")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": about,
        "spec": spec,
    }


def probes(action: Object, delay_s: int = 1) -> Object:
    """Make the three probes that the party charts use."""
    timing = {"periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 3}
    later = {**action, **timing, "initialDelaySeconds": delay_s}
    return {
        "livenessProbe": later,
        "readinessProbe": later,
        "startupProbe": {**action, "periodSeconds": 10, "failureThreshold": 12},
    }


def http(path: str, port: int) -> Object:
    """Make an HTTP check."""
    return {"httpGet": {"path": path, "port": port}}


def tcp(port: int) -> Object:
    """Make a TCP check."""
    return {"tcpSocket": {"port": port}}


def command(*words: str) -> Object:
    """Make a check by command."""
    return {"exec": {"command": list(words)}}


def exposed(*numbers: int) -> list[Object]:
    """List a container's ports."""
    return [{"containerPort": number} for number in numbers]


def named_ports(**ports: int) -> list[Object]:
    """List a container's ports by name."""
    return [
        {"name": name.replace("_", "-"), "containerPort": number} for name, number in ports.items()
    ]


def mount(volume: str, path: str, sub_path: str = "") -> Object:
    """Mount a volume, or one file of it (which then never changes under a running pod)."""
    body = {"name": volume, "mountPath": path}
    return body | ({"subPath": sub_path} if sub_path else {})


def env(**variables: Any) -> list[Object]:
    """List environment variables."""
    return [{"name": name, "value": go_number(value)} for name, value in variables.items()]


def from_config(volume: str, config: str) -> Object:
    """Make a volume of a ConfigMap."""
    return {"name": volume, "configMap": {"name": config}}


def from_secret(volume: str, secret: str) -> Object:
    """Make a volume of a Secret; the pod waits until the Secret is there."""
    return {"name": volume, "secret": {"secretName": secret}}
