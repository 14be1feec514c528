"""The kubelet: how a scheduled pod comes to run, fails on the way, and stops."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.kinds import CONFIG_MAPS, PODS, SECRETS, Resource
from fedsim.kube.podstatus import Facts, Stage, build_status
from fedsim.kube.scheduler import Scheduler
from fedsim.kube.store import Json

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
    """Runs the pods of the one node; level-triggered: `reconcile` may be called any time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._runs: dict[str, _Run] = {}
        self._uids: dict[tuple[str, str], str] = {}
        self._numbers = itertools.count(10)
        self._scheduler = Scheduler(cluster)
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
        uid = self._uids.get((namespace, name))
        if uid is not None and (pod is None or pod["metadata"]["uid"] != uid):
            del self._uids[namespace, name]
            self._runs.pop(uid, None)
            self._cluster.logs.forget(uid)
        if pod is None:
            return
        if pod["spec"].get("nodeName"):
            self._advance(pod)
        elif not pod["metadata"].get("deletionTimestamp"):
            self._scheduler.schedule(pod)

    def _advance(self, pod: Json) -> None:
        run = self._run(pod)
        if pod["metadata"].get("deletionTimestamp"):
            self._stop(pod, run)
            return
        while (stage := self._stages[run.stage](pod, run)) is not run.stage:
            run.stage, run.since = stage, self._cluster.clock.monotonic()
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
        if uid not in self._runs:
            self._runs[uid] = self._begin(pod)
            self._uids[pod["metadata"]["namespace"], pod["metadata"]["name"]] = uid
        return self._runs[uid]

    def _begin(self, pod: Json) -> _Run:
        """Start a pod's run, or take it up where an earlier process left it."""
        status = pod.get("status") or {}
        now = self._cluster.clock.monotonic()
        address = status.get("podIP") or str(_POD_NETWORK[next(self._numbers) % 65_000])
        if status.get("phase") != "Running":
            return _Run(Stage.MOUNTING, now, address)
        self._cluster.mounts.start(pod)
        containers = status["containerStatuses"]
        restarts = max(container["restartCount"] for container in containers)
        was_ready = all(container["ready"] for container in containers)
        return _Run(Stage.READY if was_ready else Stage.RUNNING, now, address, restarts)

    def _mounting(self, pod: Json, _: _Run) -> Stage:
        problems = self._cluster.mounts.problems(pod)
        for problem in problems:
            self._cluster.recorder.warning(pod, "FailedMount", problem, _KUBELET)
        if problems:
            self._wake(pod, _RETRY_S * 4)
            return Stage.MOUNTING
        self._cluster.mounts.start(pod)
        for container in _containers(pod):
            text = f'Pulling image "{container["image"]}"'
            self._cluster.recorder.normal(pod, "Pulling", text, _KUBELET)
        return Stage.PULLING

    def _pulling(self, pod: Json, run: _Run) -> Stage:
        cluster, namespace = self._cluster, pod["metadata"]["namespace"]
        workload = cluster.workload(pod)
        if self._is_hit(FaultName.IMAGE_ERROR, pod):
            image = pod["spec"]["containers"][0]["image"]
            run.message = (
                f'failed to pull and unpack image "{image}": failed to resolve reference '
                f'"{image}": {image}: not found'
            )
            text = f'Failed to pull image "{image}": rpc error: code = NotFound desc = '
            cluster.recorder.warning(pod, "Failed", text + run.message, _KUBELET)
            cluster.recorder.warning(pod, "Failed", "Error: ErrImagePull", _KUBELET)
            return Stage.IMAGE_ERROR
        usual_s = 0.6 * cluster.clock.pick(cluster.settings.delays.ready_s, namespace, workload)
        took_s = max(usual_s, cluster.faults.seconds(FaultName.SLOW_IMAGE, workload, namespace))
        if not self._is_past(pod, run, took_s):
            return Stage.PULLING
        for container in _containers(pod):
            text = f'Successfully pulled image "{container["image"]}" in {took_s:.3f}s'
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
        for container in _containers(pod):
            name = container["name"]
            cluster.recorder.normal(pod, "Created", f"Created container: {name}", _KUBELET)
            cluster.recorder.normal(pod, "Started", f"Started container {name}", _KUBELET)
            cluster.logs.write(uid, name, f"{name}: simulated container of {container['image']}")

    def _config_problem(self, pod: Json) -> str:
        """Return which ConfigMap, Secret or key the environment lacks, in the kubelet's words."""
        namespace = pod["metadata"]["namespace"]
        for resource, name, key in _references(pod):
            obj = self._cluster.store.get(resource, namespace, name)
            if obj is None:
                return f'{resource.singular} "{name}" not found'
            if key and key not in (obj.get("data") or {}):
                return f"couldn't find key {key} in {resource.kind} {namespace}/{name}"
        return ""

    def _config_error(self, pod: Json, run: _Run) -> Stage:
        if self._config_problem(pod):
            self._wake(pod, _RETRY_S)
            return Stage.CONFIG_ERROR
        return self._start(pod, run)

    def _image_error(self, pod: Json, run: _Run) -> Stage:
        if self._is_hit(FaultName.IMAGE_ERROR, pod):
            text = f'Back-off pulling image "{pod["spec"]["containers"][0]["image"]}"'
            self._cluster.recorder.normal(pod, "BackOff", text, _KUBELET)
            self._wake(pod, _RETRY_S * 2)
            return Stage.IMAGE_ERROR
        run.message = ""
        return Stage.PULLING

    def _running(self, pod: Json, run: _Run) -> Stage:
        cluster, namespace = self._cluster, pod["metadata"]["namespace"]
        if self._is_hit(FaultName.CRASH, pod):
            return self._crash(pod, run)
        if self._is_unready(pod):
            text = "Readiness probe failed: dial tcp: connect: connection refused"
            cluster.recorder.warning(pod, "Unhealthy", text, _KUBELET)
            self._wake(pod, _RETRY_S * 2)
            return Stage.RUNNING
        interval, workload = cluster.settings.delays.ready_s, cluster.workload(pod)
        usual_s = 0.4 * cluster.clock.pick(interval, namespace, workload)
        return Stage.READY if self._is_past(pod, run, usual_s) else Stage.RUNNING

    def _ready(self, pod: Json, run: _Run) -> Stage:
        if self._is_hit(FaultName.CRASH, pod):
            return self._crash(pod, run)
        return Stage.RUNNING if self._is_unready(pod) else Stage.READY

    def _is_hit(self, fault: FaultName, pod: Json) -> bool:
        workload = self._cluster.workload(pod)
        return self._cluster.faults.hits(fault, workload, pod["metadata"]["namespace"])

    def _is_unready(self, pod: Json) -> bool:
        is_node_lost = self._cluster.faults.is_on(FaultName.NODE_NOT_READY)
        return is_node_lost or self._is_hit(FaultName.NEVER_READY, pod)

    def _crash(self, pod: Json, run: _Run) -> Stage:
        cluster, metadata = self._cluster, pod["metadata"]
        run.restarts += 1
        for container in pod["spec"]["containers"]:
            name = container["name"]
            cluster.logs.write(metadata["uid"], name, f"{name}: fatal: ordered to crash")
            where = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            text = f"Back-off restarting failed container {name} in pod {where}"
            cluster.recorder.warning(pod, "BackOff", text, _KUBELET)
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
        left_s = cluster.settings.delays.stop_s - waited_s
        if left_s > 0:
            self._wake(pod, left_s)
        elif not pod["metadata"].get("finalizers"):
            cluster.registry.finish(PODS, pod)

    def _is_past(self, pod: Json, run: _Run, delay_s: float) -> bool:
        """Return whether a stage has lasted so long; if not, look again when it has."""
        left_s = delay_s - (self._cluster.clock.monotonic() - run.since)
        if left_s > 0:
            self._wake(pod, left_s)
        return left_s <= 0

    def _wake(self, pod: Json, delay_s: float) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._cluster.clock.call_later(delay_s, lambda: self._cluster.mark("pod", namespace, name))


def _containers(pod: Json) -> list[Json]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]


def _references(pod: Json) -> Iterator[tuple[Resource, str, str]]:
    """Yield the ConfigMaps and Secrets that the containers' environment needs, with the key."""
    kinds = (("secretKeyRef", SECRETS), ("configMapKeyRef", CONFIG_MAPS))
    for container in _containers(pod):
        for variable in container.get("env") or ():
            for field, resource in kinds:
                if reference := (variable.get("valueFrom") or {}).get(field):
                    yield resource, reference["name"], reference["key"]
        for bulk in container.get("envFrom") or ():
            if reference := bulk.get("configMapRef"):
                yield CONFIG_MAPS, reference["name"], ""
