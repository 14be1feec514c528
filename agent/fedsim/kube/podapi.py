"""What one asks of a pod itself: its log, a command in it, a way to its ports."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kube.cluster import Cluster
from fedsim.kube.errors import ApiError, bad_request
from fedsim.kube.kinds import PODS
from fedsim.kube.logs import Line
from fedsim.kube.paths import Target
from fedsim.kube.programs import Programs
from fedsim.kube.store import Json
from fedsim.kube.streams import EXEC_PROTOCOLS, FORWARD_PROTOCOL, run_exec, run_forward

_FOLLOW_LIMIT_S = 4 * 3600.0


class PodApi:
    """Answers the pod subresources ``log``, ``exec`` and ``portforward``."""

    def __init__(self, cluster: Cluster, programs: Programs | None = None) -> None:
        self._cluster = cluster
        self._programs = programs or Programs(cluster)

    async def answer(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer one request."""
        pod = self._cluster.registry.get(PODS, target.space, target.name)
        if target.subresource == "log":
            return await self._log(request, pod)
        if target.subresource == "exec":
            return await self._exec(request, pod)
        return await self._forward(request, pod)

    async def _log(self, request: web.Request, pod: Json) -> web.StreamResponse:
        query = request.query
        container = _container(pod, query.get("container", ""))
        _check_started(pod, container)
        uid = pod["metadata"]["uid"]
        lines = self._chosen(query, self._cluster.logs.lines(uid, container))
        has_times = query.get("timestamps") in {"true", "1"}
        text = b"".join(_bytes(line, has_times=has_times) for line in lines)
        if limit := query.get("limitBytes"):
            text = text[: int(limit)]
        if query.get("follow") not in {"true", "1"}:
            return web.Response(body=text, content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(text)
        after = lines[-1].number if lines else 0
        try:
            async with asyncio.timeout(_FOLLOW_LIMIT_S):
                async for line in self._cluster.logs.follow(uid, container, after):
                    await response.write(_bytes(line, has_times=has_times))
        except TimeoutError:
            pass  # a client that still follows asks again
        await response.write_eof()
        return response

    def _chosen(self, query: Mapping[str, str], lines: list[Line]) -> list[Line]:
        get = query.get
        if get("previous") in {"true", "1"}:
            raise bad_request("previous terminated container not found")
        since: datetime | None = None
        if seconds := get("sinceSeconds"):
            since = self._cluster.clock.now() - timedelta(seconds=_number(seconds, "sinceSeconds"))
        elif stamp := get("sinceTime"):
            since = self._cluster.clock.parse(stamp)
        if since is not None:
            lines = [line for line in lines if self._cluster.clock.parse(line.time) >= since]
        if (tail := get("tailLines")) is not None:
            count = _number(tail, "tailLines")
            lines = lines[-count:] if count else []
        return lines

    async def _exec(self, request: web.Request, pod: Json) -> web.StreamResponse:
        query = request.query
        container = _container(pod, query.get("container", ""))
        command = query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least one command for the container")
        self._check_reachable(pod, container, FaultName.EXEC_FAILS)
        _check_upgrade(request, EXEC_PROTOCOLS)
        return await run_exec(request, lambda: self._programs.run(pod, container, command))

    async def _forward(self, request: web.Request, pod: Json) -> web.StreamResponse:
        ports = [
            _number(port, "ports")
            for value in request.query.getall("ports", [])
            for port in value.split(",")
        ]
        if not ports:
            raise bad_request('query parameter "ports" is required')
        if pod["status"].get("phase") != "Running":
            phase = pod["status"].get("phase")
            raise bad_request(f"unable to forward port because pod is not running: {phase}")
        self._check_reachable(pod, "", FaultName.FORWARD_FAILS)
        _check_upgrade(request, (FORWARD_PROTOCOL,))
        return await run_forward(request, pod, ports, self._cluster.forwards)

    def _check_reachable(self, pod: Json, container: str, fault: FaultName) -> None:
        namespace = pod["metadata"]["namespace"]
        if self._cluster.faults.hits(fault, self._cluster.workload(pod), namespace):
            address = f"{self._cluster.settings.node_ip}:10250"
            text = f"error dialing backend: dial tcp {address}: connect: connection refused"
            raise ApiError(500, "InternalError", text)
        if container and not _state(pod, container).get("running"):
            text = f'unable to upgrade connection: container not found ("{container}")'
            raise ApiError(500, "InternalError", text)


def _container(pod: Json, name: str) -> str:
    known = [each["name"] for each in pod["spec"]["containers"]]
    initial = [each["name"] for each in pod["spec"].get("initContainers") or ()]
    if name:
        if name not in (*known, *initial):
            raise bad_request(f"container {name} is not valid for pod {pod['metadata']['name']}")
        return name
    if len(known) > 1:
        listed = " ".join(known)
        raise bad_request(
            f"a container name must be specified for pod {pod['metadata']['name']}, "
            f"choose one of: [{listed}]"
        )
    return str(known[0])


def _state(pod: Json, container: str) -> Json:
    for group in ("containerStatuses", "initContainerStatuses"):
        for status in (pod.get("status") or {}).get(group) or ():
            if status["name"] == container:
                found: Json = status["state"]
                return found
    return {}


def _check_started(pod: Json, container: str) -> None:
    state = _state(pod, container)
    reason = (state.get("waiting") or {}).get("reason", "ContainerCreating")
    is_waiting = not state or "waiting" in state
    if is_waiting and reason != "CrashLoopBackOff":
        raise bad_request(
            f'container "{container}" in pod "{pod["metadata"]["name"]}" is waiting to start: '
            f"{reason}"
        )


def _check_upgrade(request: web.Request, protocols: tuple[str, ...]) -> None:
    wanted = request.headers.get("Sec-WebSocket-Protocol", "")
    offered = {word.strip() for word in wanted.split(",")}
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise bad_request("Upgrade request required")
    if not offered & set(protocols):
        raise ApiError(
            403,
            "Forbidden",
            f"unable to upgrade: unable to negotiate protocol: client supports {sorted(offered)}, "
            f"server supports {list(protocols)}",
        )


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
    return int(text)


def _bytes(line: Line, *, has_times: bool) -> bytes:
    return (f"{line.time} {line.text}\n" if has_times else f"{line.text}\n").encode()
