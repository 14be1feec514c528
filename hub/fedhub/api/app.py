"""The REST application: every route, problems, and the probes of an orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from fedcore.errors import Unavailable
from fedhub.api import (
    certificates,
    charts,
    endpoints,
    events,
    federations,
    operations,
    participants,
    releases,
    sites,
)
from fedhub.api.idempotency import Idempotency
from fedhub.api.measured import measured
from fedhub.api.request import HUB, STOPPING
from fedhub.domain.access import Principal
from fedhub.services import tokens
from fedhub.services.context import HubContext
from fedhub.services.health import Health
from fedweb.openapi import openapi
from fedweb.problems import harden, problems
from fedweb.routes import BEARER, Authenticator, Limits, Route, register

API_VERSION: Final = "1.0.0"
BEARER_SCHEME: Final = {"type": "http", "scheme": "bearer"}
HEALTH: Final[web.AppKey[Health]] = web.AppKey("health", Health)

ROUTES: Final[Sequence[Route[Principal]]] = (
    *sites.ROUTES,
    *endpoints.ROUTES,
    *federations.ROUTES,
    *participants.ROUTES,
    *operations.ROUTES,
    *certificates.ROUTES,
    *events.ROUTES,
    *charts.ROUTES,
    *releases.ROUTES,
)


def document() -> dict[str, Any]:
    """Build the OpenAPI document of the hub; committed as docs/openapi.json."""
    return openapi(
        ROUTES,
        title="FATE Lifecycle Manager",
        version=API_VERSION,
        description="Sites, federations, participants, certificates, operations and events.",
        security_schemes={BEARER: BEARER_SCHEME},
    )


def build(hub: HubContext, health: Health) -> web.Application:
    """Build the application around a hub."""
    app = web.Application(middlewares=[measured(hub.instruments), problems])
    app.on_response_prepare.append(harden)
    app.on_shutdown.append(_stop_streams)
    app[STOPPING] = asyncio.Event()
    app[HUB] = hub
    app[HEALTH] = health

    register(
        app,
        ROUTES,
        {BEARER: _token_authenticator(hub)},
        Idempotency(hub),
        limits=Limits(
            body_pause_limit_s=hub.timing.body_pause_limit_s, body_limit_s=hub.timing.body_limit_s
        ),
    )
    spec = document()

    async def serve_openapi(_request: web.Request) -> web.Response:
        return web.json_response(spec)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(hub.instruments.registry),
            headers={"Content-Type": CONTENT_TYPE_LATEST},
        )

    app.router.add_get("/api/v1/openapi.json", serve_openapi)
    app.router.add_get("/livez", _livez)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", metrics)
    return app


def _token_authenticator(hub: HubContext) -> Authenticator[Principal]:
    async def authenticate(request: web.Request) -> Principal | None:
        authorization = request.headers.get("Authorization")
        if authorization is None:
            return None
        return await tokens.authenticate(hub.database, authorization)

    return Authenticator(authenticate, tokens.HINT, BEARER_SCHEME)


async def _stop_streams(app: web.Application) -> None:
    app[STOPPING].set()


async def _livez(_request: web.Request) -> web.Response:
    """Answer while the process turns; never asks the database."""
    return web.json_response({"status": "alive"})


async def _readyz(request: web.Request) -> web.Response:
    """Answer whether requests can be served: database there, no loop stalled."""
    causes = await request.app[HEALTH].causes()
    if causes:
        raise Unavailable("; ".join(causes))
    return web.json_response({"status": "ready"})
