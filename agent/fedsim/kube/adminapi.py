"""The admin endpoint of a simulated cluster: orders to misbehave, and the hand of fate.

Loopback alone and without a token. ``GET|PUT|DELETE /faults[/NAME]``;
``PUT|DELETE /load-balancers/NAMESPACE/SERVICE`` (body: an IP); ``DELETE /pods/NAMESPACE/POD``;
``GET|PUT /time-scale`` (body: a number); ``GET|PUT /forwards`` (body: a ``--forward`` line);
``POST /compact`` forgets the history that watches resume from.
"""

from __future__ import annotations

import ipaddress

from aiohttp import web

from fedsim.admin import fault_routes
from fedsim.kube.cluster import Cluster
from fedsim.kube.endpoints import set_address
from fedsim.kube.errors import ApiError
from fedsim.kube.kinds import PODS, SERVICES
from fedsim.kube.lifecycle import Removal
from fedsim.kube.settings import Forward

_LONGEST_SCALE = 1000.0


def admin_routes(cluster: Cluster) -> list[web.RouteDef]:
    """Return the routes of the admin endpoint."""
    admin = _Admin(cluster)
    return [
        *fault_routes(cluster.faults),
        web.put("/load-balancers/{namespace}/{name}", admin.give_address),
        web.delete("/load-balancers/{namespace}/{name}", admin.give_address),
        web.delete("/pods/{namespace}/{name}", admin.delete_pod),
        web.get("/time-scale", admin.show_scale),
        web.put("/time-scale", admin.set_scale),
        web.get("/forwards", admin.show_forwards),
        web.put("/forwards", admin.add_forward),
        web.post("/compact", admin.compact),
    ]


class _Admin:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def give_address(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        service = self._cluster.store.get(SERVICES, namespace, name)
        if service is None:
            return _refusal(404, f"there is no service {namespace}/{name}")
        address = (await request.text()).strip() if request.method == "PUT" else None
        if address is not None:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                return _refusal(400, f"{address!r} is no IP address")
        set_address(self._cluster, service, address)
        return web.json_response({"address": address})

    async def delete_pod(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        try:
            self._cluster.registry.delete(PODS, namespace, name, Removal(grace_s=0))
        except ApiError as error:
            return _refusal(error.code, error.message)
        return web.json_response({})

    async def show_scale(self, _: web.Request) -> web.Response:
        return web.json_response({"scale": self._cluster.clock.scale})

    async def set_scale(self, request: web.Request) -> web.Response:
        text = (await request.text()).strip()
        try:
            scale = float(text)
        except ValueError:
            return _refusal(400, f"{text!r} is no number")
        if not 0 <= scale <= _LONGEST_SCALE:
            return _refusal(400, f"the scale lies between 0 and {_LONGEST_SCALE:.0f}")
        self._cluster.clock.scale = scale
        for pod in self._cluster.store.list(PODS):
            self._cluster.mark("pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        return web.json_response({"scale": scale})

    async def show_forwards(self, _: web.Request) -> web.Response:
        shown = [
            f"{each.namespace}/{each.pod_prefix}:{each.port}={each.host}:{each.target_port}"
            for each in self._cluster.forwards
        ]
        return web.json_response({"forwards": shown})

    async def add_forward(self, request: web.Request) -> web.Response:
        try:
            added = Forward.parse((await request.text()).strip())
        except ValueError as error:
            return _refusal(400, str(error))
        source = (added.namespace, added.pod_prefix, added.port)
        kept = [
            each
            for each in self._cluster.forwards
            if (each.namespace, each.pod_prefix, each.port) != source
        ]
        self._cluster.forwards[:] = [*kept, added]
        return await self.show_forwards(request)

    async def compact(self, _: web.Request) -> web.Response:
        self._cluster.store.compact()
        return web.json_response({"version": self._cluster.store.version})


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
