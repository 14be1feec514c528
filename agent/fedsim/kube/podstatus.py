"""The status that a kubelet writes for a pod, as a function of how far the pod has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fedsim.kube.cluster import condition
from fedsim.kube.store import Json


class Stage(StrEnum):
    """How far a pod has come; all its containers go together."""

    MOUNTING = "mounting"
    PULLING = "pulling"
    IMAGE_ERROR = "image-error"
    CONFIG_ERROR = "config-error"
    RUNNING = "running"
    READY = "ready"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status is made of, beside the pod itself."""

    stage: Stage
    restarts: int
    stamp: str
    host_ip: str
    pod_ip: str
    message: str = ""

    @property
    def is_started(self) -> bool:
        """Return whether the containers have been started."""
        return self.stage in {Stage.RUNNING, Stage.READY, Stage.CRASHED}


_WAITING = {
    Stage.MOUNTING: "ContainerCreating",
    Stage.PULLING: "ContainerCreating",
    Stage.IMAGE_ERROR: "ImagePullBackOff",
    Stage.CONFIG_ERROR: "CreateContainerConfigError",
    Stage.CRASHED: "CrashLoopBackOff",
}


def build_status(pod: Json, facts: Facts) -> Json:
    """Return the pod's whole status at its stage."""
    before, spec = pod.get("status") or {}, pod["spec"]
    status: Json = {
        "phase": "Running" if facts.is_started else "Pending",
        "conditions": _conditions(pod, facts),
        "hostIP": facts.host_ip,
        "startTime": before.get("startTime") or facts.stamp,
        "qosClass": before.get("qosClass", "BestEffort"),
        "containerStatuses": [
            _container(pod, container, facts) for container in spec["containers"]
        ],
    }
    if facts.is_started:
        status["podIP"] = facts.pod_ip
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [
            _init_container(pod, container, facts) for container in spec["initContainers"]
        ]
    return status


def _conditions(pod: Json, facts: Facts) -> list[Json]:
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    is_ready = facts.stage is Stage.READY
    unready = {
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{names}]",
    }
    states: tuple[tuple[str, bool, dict[str, str]], ...] = (
        ("Initialized", facts.is_started or not pod["spec"].get("initContainers"), {}),
        ("Ready", is_ready, {} if is_ready else unready),
        ("ContainersReady", is_ready, {} if is_ready else unready),
        ("PodScheduled", True, {}),
    )
    return [
        condition(pod, name, "True" if holds else "False", facts.stamp, **rest)
        for name, holds, rest in states
    ]


def _container(pod: Json, container: Json, facts: Facts) -> Json:
    before = _before(pod, "containerStatuses", container["name"])
    last: Json = before.get("lastState") or {}
    if facts.stage is Stage.CRASHED and not (before.get("state") or {}).get("waiting"):
        last = {"terminated": _terminated(facts, 1)}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": facts.stage is Stage.READY,
        "started": facts.stage in {Stage.RUNNING, Stage.READY},
        "restartCount": facts.restarts,
        "state": _kept(before, _state(container, facts)),
        "lastState": last,
    }


def _state(container: Json, facts: Facts) -> Json:
    if facts.stage in {Stage.RUNNING, Stage.READY}:
        return {"running": {"startedAt": facts.stamp}}
    waiting = {"reason": _WAITING[facts.stage]}
    if facts.stage is Stage.IMAGE_ERROR:
        image = container["image"]
        waiting["message"] = f'Back-off pulling image "{image}": ErrImagePull: {facts.message}'
    elif facts.message:
        waiting["message"] = facts.message
    return {"waiting": waiting}


def _terminated(facts: Facts, code: int) -> Json:
    reason = "Error" if code else "Completed"
    times = {"startedAt": facts.stamp, "finishedAt": facts.stamp}
    return {"exitCode": code, "reason": reason, **times}


def _init_container(pod: Json, container: Json, facts: Facts) -> Json:
    before = _before(pod, "initContainerStatuses", container["name"])
    state: Json = {"waiting": {"reason": "PodInitializing"}}
    if facts.is_started:
        state = {"terminated": _terminated(facts, 0)}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": facts.is_started,
        "restartCount": 0,
        "state": _kept(before, state),
        "lastState": {},
    }


def _before(pod: Json, group: str, name: str) -> Json:
    statuses = (pod.get("status") or {}).get(group) or ()
    return next((status for status in statuses if status["name"] == name), {})


def _kept(before: Json, state: Json) -> Json:
    """Keep the times of a state that has not changed in kind."""
    old: Json = before.get("state") or {}
    return old if old.keys() == state.keys() and "waiting" not in state else state
