"""The scheduler and the kubelet: how a pod comes to run, fails on the way, and stops."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedsim.faults import FaultName
from fedsim.kube.cluster import NODE_NAME, Cluster, condition, controller_of
from fedsim.kube.kinds import CLAIMS, CONFIG_MAPS, NODES, PODS, SECRETS, Resource
from fedsim.kube.podstatus import Facts, Stage, build_status
from fedsim.kube.store import Json

_SCHEDULER = "default-scheduler"
_KUBELET = "kubelet"
_RETRY_S = 5.0
_LONGEST_BACKOFF_S = 300.0
_POD_NETWORK = ipaddress.ip_network("10.244.0.0/16")


@dataclass(slots=True)
class _Run:
    """How far a pod has come, and since when (`Clock.monotonic`)."""

    stage: Stage
    since: float
    address: str
    restarts: int = 0
    message: str = ""
    stopping_since: float | None = None


class Pods:
    """Looks after the pods of the one node; level-triggered, so that it may be asked any time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._runs: dict[str, _Run] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._numbers = itertools.count(10)
        self._stages: dict[Stage, Callable[[Json, _Run], Stage]] = {
            Stage.MOUNTING: self._mounting,
            Stage.PULLING: self._pulling,
            Stage.IMAGE_ERROR: self._image_error,
            Stage.CONFIG_ERROR: self._config_error,
            Stage.RUNNING: self._running,
            Stage.READY: self._ready,
            Stage.CRASHED: self._crashed,
        }

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring one pod as far as time and faults let it come."""
        pod = self._cluster.store.get(PODS, namespace, name)
        known = self._keys.get((namespace, name))
        if known is not None and (pod is None or pod["metadata"]["uid"] != known):
            self._forget(namespace, name, known)
        if pod is None:
            return
        if pod["spec"].get("nodeName"):
            self._advance(pod)
        elif not pod["metadata"].get("deletionTimestamp"):
            self._schedule(pod)

    def _forget(self, namespace: str, name: str, uid: str) -> None:
        del self._keys[namespace, name]
        self._runs.pop(uid, None)
        self._cluster.logs.forget(uid)

    def _schedule(self, pod: Json) -> None:
        cluster = self._cluster
        why = self._unschedulable(pod)
        if why:
            stamp = cluster.clock.stamp()
            unscheduled = condition(
                pod, "PodScheduled", "False", stamp, reason="Unschedulable", message=why
            )
            status = {**pod.get("status", {}), "conditions": [unscheduled]}
            if pod.get("status") != status:
                cluster.recorder.warning(pod, "FailedScheduling", why, _SCHEDULER)
            cluster.registry.write_status(PODS, pod, status)
            self._wake(pod, _RETRY_S)
            return
        bound = {**pod, "spec": {**pod["spec"], "nodeName": NODE_NAME}}
        bound["metadata"] = dict(pod["metadata"])
        metadata = bound["metadata"]
        where = f"{metadata['namespace']}/{metadata['name']}"
        message = f"Successfully assigned {where} to {NODE_NAME}"
        cluster.recorder.normal(pod, "Scheduled", message, _SCHEDULER)
        cluster.registry.write(PODS, bound)

    def _unschedulable(self, pod: Json) -> str:
        cluster, metadata = self._cluster, pod["metadata"]
        tail = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        workload = cluster.workload(pod)
        if cluster.faults.hits(FaultName.UNSCHEDULABLE, workload, metadata["namespace"]):
            return (
                "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                "available: 1 No preemption victims found for incoming pod."
            )
        node = cluster.store.get(NODES, "", NODE_NAME) or {"metadata": {}}
        wanted = pod["spec"].get("nodeSelector") or {}
        if not wanted.items() <= (node["metadata"].get("labels") or {}).items():
            text = "1 node(s) didn't match Pod's node affinity/selector"
            return f"0/1 nodes are available: {text}. {tail}"
        for claim_name in _claims(pod):
            claim = cluster.store.get(CLAIMS, metadata["namespace"], claim_name)
            if claim is None:
                text = f'persistentvolumeclaim "{claim_name}" not found'
                return f"0/1 nodes are available: {text}. {tail}"
            if claim["status"].get("phase") != "Bound":
                text = "pod has unbound immediate PersistentVolumeClaims"
                return f"0/1 nodes are available: {text}. {tail}"
        return ""

    def _advance(self, pod: Json) -> None:
        run = self._run(pod)
        if pod["metadata"].get("deletionTimestamp"):
            self._stop(pod, run)
            return
        while (step := self._stages.get(run.stage)) is not None:
            reached = step(pod, run)
            if reached is run.stage:
                break
            run.stage, run.since = reached, self._cluster.clock.monotonic()
            pod = self._write(pod, run)
        self._write(pod, run)

    def _write(self, pod: Json, run: _Run) -> Json:
        facts = Facts(
            run.stage,
            run.restarts,
            self._cluster.clock.stamp(),
            self._cluster.settings.node_ip,
            run.address,
            run.message,
        )
        return self._cluster.registry.write_status(PODS, pod, build_status(pod, facts))

    def _run(self, pod: Json) -> _Run:
        uid = pod["metadata"]["uid"]
        run = self._runs.get(uid)
        if run is None:
            run = self._begin(pod)
            self._runs[uid] = run
            self._keys[pod["metadata"]["namespace"], pod["metadata"]["name"]] = uid
        return run

    def _begin(self, pod: Json) -> _Run:
        """Start a pod's run, or take it up where an earlier process left it."""
        status = pod.get("status") or {}
        now = self._cluster.clock.monotonic()
        address = status.get("podIP") or str(_POD_NETWORK[next(self._numbers) % 65_000])
        phase = status.get("phase")
        if phase in {"Succeeded", "Failed"}:
            return _Run(Stage(phase.lower()), now, address)
        if phase != "Running":
            return _Run(Stage.MOUNTING, now, address)
        self._cluster.mounts.start(pod)
        restarts = max(each.get("restartCount", 0) for each in status["containerStatuses"])
        was_ready = all(each.get("ready") for each in status["containerStatuses"])
        return _Run(Stage.READY if was_ready else Stage.RUNNING, now, address, restarts)

    def _mounting(self, pod: Json, _: _Run) -> Stage:
        problems = self._cluster.mounts.problems(pod)
        if problems:
            for problem in problems:
                self._cluster.recorder.warning(pod, "FailedMount", problem, _KUBELET)
            self._wake(pod, _RETRY_S * 4)
            return Stage.MOUNTING
        self._cluster.mounts.start(pod)
        for image in _images(pod):
            self._cluster.recorder.normal(pod, "Pulling", f'Pulling image "{image}"', _KUBELET)
        return Stage.PULLING

    def _pulling(self, pod: Json, run: _Run) -> Stage:
        cluster, namespace = self._cluster, pod["metadata"]["namespace"]
        workload = cluster.workload(pod)
        if cluster.faults.hits(FaultName.IMAGE_ERROR, workload, namespace):
            image = _images(pod)[0]
            run.message = (
                f'failed to pull and unpack image "{image}": failed to resolve reference '
                f'"{image}": {image}: not found'
            )
            text = f'Failed to pull image "{image}": rpc error: code = NotFound desc = '
            cluster.recorder.warning(pod, "Failed", text + run.message, _KUBELET)
            cluster.recorder.warning(pod, "Failed", "Error: ErrImagePull", _KUBELET)
            return Stage.IMAGE_ERROR
        usual_s = 0.6 * cluster.clock.pick(cluster.settings.delays.ready_s, namespace, workload)
        ordered_s = cluster.faults.seconds(FaultName.SLOW_IMAGE, workload, namespace)
        took_s = max(usual_s, ordered_s)
        if not self._is_past(pod, run, took_s):
            return Stage.PULLING
        for image in _images(pod):
            text = f'Successfully pulled image "{image}" in {took_s:.3f}s'
            cluster.recorder.normal(pod, "Pulled", text, _KUBELET)
        return self._start(pod, run)

    def _start(self, pod: Json, run: _Run) -> Stage:
        run.message = self._config_problem(pod)
        if run.message:
            self._cluster.recorder.warning(pod, "Failed", f"Error: {run.message}", _KUBELET)
            return Stage.CONFIG_ERROR
        self._start_containers(pod)
        return Stage.RUNNING

    def _start_containers(self, pod: Json) -> None:
        cluster, uid = self._cluster, pod["metadata"]["uid"]
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            name = container["name"]
            cluster.recorder.normal(pod, "Created", f"Created container: {name}", _KUBELET)
            cluster.recorder.normal(pod, "Started", f"Started container {name}", _KUBELET)
            cluster.logs.write(uid, name, f"{name}: simulated container of {container['image']}")

    def _config_problem(self, pod: Json) -> str:
        for resource, source, key in _references(pod):
            if source.get("optional"):
                continue
            namespace = pod["metadata"]["namespace"]
            found = self._cluster.store.get(resource, namespace, source.get("name", ""))
            if found is None:
                return f'{resource.singular} "{source.get("name", "")}" not found'
            if key and key not in (found.get("data") or {}):
                return f"couldn't find key {key} in {resource.kind} {namespace}/{source['name']}"
        return ""

    def _config_error(self, pod: Json, run: _Run) -> Stage:
        if self._config_problem(pod):
            self._wake(pod, _RETRY_S)
            return Stage.CONFIG_ERROR
        return self._start(pod, run)

    def _image_error(self, pod: Json, run: _Run) -> Stage:
        cluster = self._cluster
        workload = cluster.workload(pod)
        if cluster.faults.hits(FaultName.IMAGE_ERROR, workload, pod["metadata"]["namespace"]):
            text = f'Back-off pulling image "{_images(pod)[0]}"'
            cluster.recorder.normal(pod, "BackOff", text, _KUBELET)
            self._wake(pod, _RETRY_S * 2)
            return Stage.IMAGE_ERROR
        run.message = ""
        return Stage.PULLING

    def _running(self, pod: Json, run: _Run) -> Stage:
        cluster, namespace = self._cluster, pod["metadata"]["namespace"]
        workload = cluster.workload(pod)
        if cluster.faults.hits(FaultName.CRASH, workload, namespace):
            return self._crash(pod, run)
        if self._is_task(pod):
            is_over = self._is_past(pod, run, cluster.settings.delays.job_s)
            return Stage.SUCCEEDED if is_over else Stage.RUNNING
        if self._is_unready(pod, workload):
            text = "Readiness probe failed: dial tcp: connect: connection refused"
            cluster.recorder.warning(pod, "Unhealthy", text, _KUBELET)
            self._wake(pod, _RETRY_S * 2)
            return Stage.RUNNING
        usual_s = 0.4 * cluster.clock.pick(cluster.settings.delays.ready_s, namespace, workload)
        return Stage.READY if self._is_past(pod, run, usual_s) else Stage.RUNNING

    def _ready(self, pod: Json, run: _Run) -> Stage:
        cluster, namespace = self._cluster, pod["metadata"]["namespace"]
        workload = cluster.workload(pod)
        if cluster.faults.hits(FaultName.CRASH, workload, namespace):
            return self._crash(pod, run)
        return Stage.RUNNING if self._is_unready(pod, workload) else Stage.READY

    def _is_unready(self, pod: Json, workload: str) -> bool:
        faults = self._cluster.faults
        return faults.is_on(FaultName.NODE_NOT_READY) or faults.hits(
            FaultName.NEVER_READY, workload, pod["metadata"]["namespace"]
        )

    def _crash(self, pod: Json, run: _Run) -> Stage:
        cluster, metadata = self._cluster, pod["metadata"]
        run.restarts += 1
        for container in pod["spec"]["containers"]:
            name = container["name"]
            cluster.logs.write(metadata["uid"], name, f"{name}: fatal: ordered to crash")
            where = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            text = f"Back-off restarting failed container {name} in pod {where}"
            cluster.recorder.warning(pod, "BackOff", text, _KUBELET)
        if pod["spec"].get("restartPolicy") == "Never":
            return Stage.FAILED
        run.message = f"back-off {self._backoff_s(run):.0f}s restarting failed container"
        return Stage.CRASHED

    def _backoff_s(self, run: _Run) -> float:
        first_s = self._cluster.settings.delays.crash_backoff_s
        return min(_LONGEST_BACKOFF_S, first_s * 2.0 ** min(run.restarts - 1, 10))

    def _crashed(self, pod: Json, run: _Run) -> Stage:
        if not self._is_past(pod, run, self._backoff_s(run)):
            return Stage.CRASHED
        run.message = ""
        self._cluster.mounts.start(pod)
        self._start_containers(pod)
        return Stage.RUNNING

    def _stop(self, pod: Json, run: _Run) -> None:
        cluster = self._cluster
        if run.stopping_since is None:
            run.stopping_since = cluster.clock.monotonic()
            for container in pod["spec"]["containers"]:
                text = f"Stopping container {container['name']}"
                cluster.recorder.normal(pod, "Killing", text, _KUBELET)
        waited_s = cluster.clock.monotonic() - run.stopping_since
        left_s = cluster.settings.delays.stop_s * cluster.clock.scale - waited_s
        if left_s > 0:
            self._wake(pod, left_s / cluster.clock.scale)
        elif not pod["metadata"].get("finalizers"):
            cluster.registry.finish(PODS, pod)

    def _is_past(self, pod: Json, run: _Run, delay_s: float) -> bool:
        """Say whether a stage has lasted so long; if not, look again when it has."""
        clock = self._cluster.clock
        left_s = delay_s * clock.scale - (clock.monotonic() - run.since)
        if left_s <= 0:
            return True
        self._wake(pod, left_s / clock.scale)
        return False

    def _wake(self, pod: Json, delay_s: float) -> None:
        metadata = pod["metadata"]
        self._cluster.clock.call_later(
            delay_s,
            lambda: self._cluster.mark("pod", metadata["namespace"], metadata["name"]),
        )

    def _is_task(self, pod: Json) -> bool:
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "Job":
            return True
        return bool(pod["spec"].get("restartPolicy") != "Always")


def _images(pod: Json) -> list[str]:
    spec = pod["spec"]
    return [each["image"] for each in (*(spec.get("initContainers") or ()), *spec["containers"])]


def _claims(pod: Json) -> Iterator[str]:
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]


def _references(pod: Json) -> Iterator[tuple[Resource, Json, str]]:
    """Yield the ConfigMaps and Secrets that the containers' environment needs, with the key."""
    spec = pod["spec"]
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            if "secretKeyRef" in source:
                yield SECRETS, source["secretKeyRef"], source["secretKeyRef"]["key"]
            if "configMapKeyRef" in source:
                yield CONFIG_MAPS, source["configMapKeyRef"], source["configMapKeyRef"]["key"]
        for bulk in container.get("envFrom") or ():
            if "secretRef" in bulk:
                yield SECRETS, bulk["secretRef"], ""
            if "configMapRef" in bulk:
                yield CONFIG_MAPS, bulk["configMapRef"], ""
