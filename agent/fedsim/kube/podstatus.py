"""The status that a kubelet writes for a pod, as a function of how far the pod has come."""

from __future__ import annotations

import hashlib
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
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status is made of, beside the pod itself."""

    stage: Stage
    restarts: int
    stamp: str
    host_ip: str
    pod_ip: str
    message: str = ""


_STARTED = frozenset({Stage.RUNNING, Stage.READY, Stage.CRASHED})
_OVER = frozenset({Stage.SUCCEEDED, Stage.FAILED})
_WAITING = {
    Stage.MOUNTING: "ContainerCreating",
    Stage.PULLING: "ContainerCreating",
    Stage.IMAGE_ERROR: "ImagePullBackOff",
    Stage.CONFIG_ERROR: "CreateContainerConfigError",
    Stage.CRASHED: "CrashLoopBackOff",
}


def build_status(pod: Json, facts: Facts) -> Json:
    """Return the pod's whole status at its stage."""
    before = pod.get("status") or {}
    spec = pod["spec"]
    status: Json = {
        "phase": _phase(facts.stage),
        "conditions": _conditions(pod, facts),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": before.get("startTime") or facts.stamp,
        "observedGeneration": pod["metadata"].get("generation", 1),
        "qosClass": before.get("qosClass", "BestEffort"),
        "containerStatuses": [_container(pod, each, facts) for each in spec["containers"]],
    }
    if facts.stage in _STARTED | _OVER:
        status["podIP"] = facts.pod_ip
        status["podIPs"] = [{"ip": facts.pod_ip}]
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [
            _init_container(pod, each, facts) for each in spec["initContainers"]
        ]
    return status


def _phase(stage: Stage) -> str:
    if stage is Stage.SUCCEEDED:
        return "Succeeded"
    if stage is Stage.FAILED:
        return "Failed"
    return "Running" if stage in _STARTED else "Pending"


def _conditions(pod: Json, facts: Facts) -> list[Json]:
    stage = facts.stage
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    is_started = stage in _STARTED | _OVER
    is_initialized = is_started or not pod["spec"].get("initContainers")
    unready = {
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{names}]",
    }
    if stage is Stage.SUCCEEDED:
        unready = {"reason": "PodCompleted"}
    elif stage is Stage.FAILED:
        unready = {"reason": "PodFailed"}
    is_ready = stage is Stage.READY
    wanted: tuple[tuple[str, bool, dict[str, str]], ...] = (
        ("PodReadyToStartContainers", is_started and stage not in _OVER, {}),
        ("Initialized", is_initialized, {}),
        ("Ready", is_ready, {} if is_ready else unready),
        ("ContainersReady", is_ready, {} if is_ready else unready),
        ("PodScheduled", True, {}),
    )
    return [
        {
            **condition(pod, name, "True" if holds else "False", facts.stamp, **rest),
            "lastProbeTime": None,
        }
        for name, holds, rest in wanted
    ]


def _container(pod: Json, container: Json, facts: Facts) -> Json:
    before = _before(pod, "containerStatuses", container["name"])
    state = _kept(before, _state(container, facts))
    is_started = facts.stage in {Stage.RUNNING, Stage.READY}
    status: Json = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": facts.stage is Stage.READY,
        "started": is_started,
        "restartCount": facts.restarts,
        "state": state,
        "lastState": _last_state(before, facts),
    }
    if facts.stage in _STARTED | _OVER:
        digest = hashlib.sha256(container["image"].encode()).hexdigest()
        status["imageID"] = f"{container['image'].partition(':')[0]}@sha256:{digest}"
        identity = f"{pod['metadata']['uid']}/{container['name']}/{facts.restarts}"
        status["containerID"] = f"containerd://{hashlib.sha256(identity.encode()).hexdigest()}"
    return status


def _state(container: Json, facts: Facts) -> Json:
    stage = facts.stage
    if stage in {Stage.RUNNING, Stage.READY}:
        return {"running": {"startedAt": facts.stamp}}
    if stage in _OVER:
        return {"terminated": _terminated(facts, 0 if stage is Stage.SUCCEEDED else 1)}
    waiting = {"reason": _WAITING[stage]}
    if stage is Stage.IMAGE_ERROR:
        image = container["image"]
        waiting["message"] = f'Back-off pulling image "{image}": ErrImagePull: {facts.message}'
    elif facts.message:
        waiting["message"] = facts.message
    return {"waiting": waiting}


def _terminated(facts: Facts, code: int) -> Json:
    return {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "startedAt": facts.stamp,
        "finishedAt": facts.stamp,
    }


def _last_state(before: Json, facts: Facts) -> Json:
    if facts.stage is Stage.CRASHED and not (before.get("state") or {}).get("waiting"):
        return {"terminated": _terminated(facts, 1)}
    kept: Json = before.get("lastState") or {}
    return kept


def _init_container(pod: Json, container: Json, facts: Facts) -> Json:
    before = _before(pod, "initContainerStatuses", container["name"])
    is_over = facts.stage in _STARTED | _OVER
    state: Json = {"waiting": {"reason": "PodInitializing"}}
    if is_over:
        state = {"terminated": _terminated(facts, 0)}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": is_over,
        "started": False,
        "restartCount": 0,
        "state": _kept(before, state),
        "lastState": {},
    }


def _before(pod: Json, group: str, name: str) -> Json:
    for status in (pod.get("status") or {}).get(group) or ():
        if status["name"] == name:
            found: Json = status
            return found
    return {}


def _kept(before: Json, state: Json) -> Json:
    """Keep the times of a state that has not changed in kind."""
    old: Json = before.get("state") or {}
    if old.keys() == state.keys() and "waiting" not in state:
        return old
    return state
