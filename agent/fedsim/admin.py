"""The admin endpoint's routes that both programs share: orders to misbehave.

Served on a separate loopback port without a token: it is for the person at this machine.
"""

from __future__ import annotations

from aiohttp import web

from fedsim.faults import FaultError, Faults


def fault_routes(faults: Faults) -> list[web.RouteDef]:
    """Return ``GET /faults``, ``GET|PUT|DELETE /faults/NAME`` and ``DELETE /faults``.

    The body of a PUT is the argument as plain text (empty: the default). Bad orders answer 400
    ``{"error": text}``; GET of a fault that is not ordered answers 404.
    """

    async def show_all(_: web.Request) -> web.Response:
        ordered = {fault.name.value: fault.argument for fault in faults.ordered()}
        kinds = {
            kind.name.value: {"shape": kind.shape.value, "text": kind.text}
            for kind in faults.kinds()
        }
        return web.json_response({"ordered": ordered, "kinds": kinds})

    async def show(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        for fault in faults.ordered():
            if fault.name == name:
                return web.json_response({"name": name, "argument": fault.argument})
        return web.json_response({"error": f"{name} is not ordered"}, status=404)

    async def order(request: web.Request) -> web.Response:
        try:
            fault = faults.set(request.match_info["name"], (await request.text()).strip())
        except FaultError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"name": fault.name, "argument": fault.argument})

    async def clear(request: web.Request) -> web.Response:
        try:
            faults.clear(request.match_info["name"])
        except FaultError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({})

    async def clear_all(_: web.Request) -> web.Response:
        faults.clear_all()
        return web.json_response({})

    return [
        web.get("/faults", show_all),
        web.delete("/faults", clear_all),
        web.get("/faults/{name}", show),
        web.put("/faults/{name}", order),
        web.delete("/faults/{name}", clear),
    ]
