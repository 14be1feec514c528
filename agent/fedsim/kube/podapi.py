"""The subresources of pods: the log, a few commands, a way to the ports."""

from __future__ import annotations

from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError, bad_request
from fedsim.kube.kinds import PODS
from fedsim.kube.lists import number_of
from fedsim.kube.requests import Target
from fedsim.kube.store import Json
from fedsim.kube.streams import (
    EXEC_PROTOCOLS,
    FORWARD_PROTOCOL,
    Outcome,
    run_exec,
    run_forward,
)


class PodApi:
    """Answers the pod subresources ``log``, ``exec`` and ``portforward``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._programs = Programs(cluster)

    async def answer(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer one request."""
        pod = self._cluster.registry.get(PODS, target.namespace, target.name)
        if target.subresource == "log":
            return self._log(request, pod)
        if target.subresource == "exec":
            return await self._exec(request, pod)
        return await self._forward(request, pod)

    def _log(self, request: web.Request, pod: Json) -> web.Response:
        container = _container(pod, request.query.get("container", ""))
        if not _state(pod, container) or "waiting" in _state(pod, container):
            name = pod["metadata"]["name"]
            raise bad_request(f'container "{container}" in pod "{name}" is waiting to start')
        lines = self._cluster.logs.lines(pod["metadata"]["uid"], container)
        lines = lines[-number_of(request.query, "tailLines") :]
        return web.Response(text="".join(f"{line}\n" for line in lines))

    async def _exec(self, request: web.Request, pod: Json) -> web.StreamResponse:
        container = _container(pod, request.query.get("container", ""))
        command = request.query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least one command for the container")
        self._check_reachable(pod, FaultName.EXEC_FAILS)
        if not _state(pod, container).get("running"):
            text = f'unable to upgrade connection: container not found ("{container}")'
            raise ApiError(500, "InternalError", text)
        _check_upgrade(request, EXEC_PROTOCOLS)
        return await run_exec(request, self._programs.run(pod, container, command))

    async def _forward(self, request: web.Request, pod: Json) -> web.StreamResponse:
        port = number_of(request.query, "ports")
        if not port:
            raise bad_request('query parameter "ports" is required')
        phase = pod["status"].get("phase")
        if phase != "Running":
            raise bad_request(f"unable to forward port because pod is not running: {phase}")
        self._check_reachable(pod, FaultName.FORWARD_FAILS)
        _check_upgrade(request, (FORWARD_PROTOCOL,))
        return await run_forward(request, pod, port, self._cluster.forwards)

    def _check_reachable(self, pod: Json, fault: FaultName) -> None:
        namespace = pod["metadata"]["namespace"]
        if self._cluster.faults.hits(fault, self._cluster.workload(pod), namespace):
            address = f"{self._cluster.settings.node_ip}:10250"
            text = f"error dialing backend: dial tcp {address}: connect: connection refused"
            raise ApiError(500, "InternalError", text)


def _container(pod: Json, name: str) -> str:
    names = [container["name"] for container in pod["spec"]["containers"]]
    if name and name not in names:
        raise bad_request(f"container {name} is not valid for pod {pod['metadata']['name']}")
    return name or str(names[0])


def _state(pod: Json, container: str) -> Json:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == container:
            state: Json = status["state"]
            return state
    return {}


def _check_upgrade(request: web.Request, protocols: tuple[str, ...]) -> None:
    header = request.headers.get("Sec-WebSocket-Protocol", "")
    offered = {word.strip() for word in header.split(",")}
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise bad_request("Upgrade request required")
    if not offered & set(protocols):
        text = f"unable to negotiate protocol: the server supports {list(protocols)}"
        raise ApiError(403, "Forbidden", f"unable to upgrade: {text}")


class Programs:
    """Answers commands: the proxies' reloads, and ``cat`` of mounted files."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def run(self, pod: Json, container: str, command: list[str]) -> Outcome:
        """Run a command in a pod; 127 for programs that are not there."""
        match [command[0].rpartition("/")[2], *command[1:]]:
            case ["traffic_ctl", "config", "reload"] if _is_of(pod, "traffic-server-"):
                self._reload(pod)
                return Outcome()
            case ["nginx", "-s", "reload"] if _is_of(pod, "nginx-"):
                self._reload(pod)
                return Outcome()
            case ["cat", *paths] if paths:
                return self._cat(pod, container, paths)
            case ["echo", *words]:
                return Outcome(stdout=(" ".join(words) + "\n").encode())
            case ["true"]:
                return Outcome()
            case _:
                text = f"simulated container: {command[0]}: not found\n"
                return Outcome(127, stderr=text.encode())

    def _reload(self, pod: Json) -> None:
        """Signal the proxy; the command succeeds whatever comes of it, as the real ones do."""
        workload = self._cluster.workload(pod)
        namespace = pod["metadata"]["namespace"]
        if not self._cluster.faults.hits(FaultName.RELOAD_LOST, workload, namespace):
            self._cluster.reload(pod)

    def _cat(self, pod: Json, container: str, paths: list[str]) -> Outcome:
        output, complaint = b"", ""
        for path in paths:
            content = self._cluster.mounts.read(pod, container, path)
            if content is None:
                complaint += f"cat: {path}: No such file or directory\n"
            else:
                output += content
        return Outcome(1 if complaint else 0, output, complaint.encode())


def _is_of(pod: Json, prefix: str) -> bool:
    return str(pod["metadata"]["name"]).startswith(prefix)
