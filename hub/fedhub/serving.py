"""The hub's listeners: REST over HTTPS, enrolment and agent link over gRPC.

The gRPC ports are bound first, so that the hub knows its addresses when it is put together; they
are served once it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio
from aiohttp import web

from fedcore import limits
from fedcore.errors import Internal, Unavailable
from fedhub.rpc.enrolment import EnrolmentServicer
from fedhub.rpc.link import LinkServicer
from fedhub.server_identity import ServerIdentity
from fedhub.services.context import HubContext
from fedhub.timing import HubTiming
from fedproto.agent.v1 import enrolment_pb2_grpc, link_pb2_grpc
from fedproto.transport import ErrorInterceptor, server_options

BACKLOG: Final = 512
"""Connections that may wait to be accepted: a fleet that redials at once."""
MAX_LINE_BYTES: Final = 32 * 1024


@asynccontextmanager
async def serve_rest(
    app: web.Application, identity: ServerIdentity, host: str, port: int, timing: HubTiming
) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """Serve REST; yields the port and the TLS context (to renew the certificate in)."""
    runner = web.AppRunner(
        app,
        shutdown_timeout=timing.drain_limit_s,
        access_log=None,
        handler_cancellation=True,
        # Also the time that a new connection has for its first request's head.
        keepalive_timeout=timing.http_silence_limit_s,
        lingering_time=timing.http_linger_limit_s,
        # Ours to refuse, with a problem document, where aiohttp's own 400 would be plain text.
        max_line_size=MAX_LINE_BYTES,
    )
    await runner.setup()
    context = identity.ssl_context()
    try:
        async with _listening(runner, host, port, context, timing) as bound_port:
            yield bound_port, context
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _listening(
    runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext, timing: HubTiming
) -> AsyncIterator[int]:
    """Listen as aiohttp's TCPSite does, but with a time limit for the TLS handshake."""
    if runner.server is None:
        raise Internal("the REST application is not set up")
    try:
        listener = await asyncio.get_running_loop().create_server(
            runner.server,
            host,
            port,
            ssl=context,
            backlog=BACKLOG,
            ssl_handshake_timeout=timing.handshake_limit_s,
            ssl_shutdown_timeout=timing.http_linger_limit_s,
        )
    except OSError as error:
        raise _cannot_listen(f"{host}:{port}", error) from error
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()


def _cannot_listen(address: str, error: BaseException) -> Unavailable:
    return Unavailable(f"cannot listen on {address}: {error}; choose another address or port")


@dataclass(frozen=True, slots=True)
class GrpcListener:
    """A gRPC server whose port is bound; it answers nothing yet."""

    server: grpc.aio.Server
    port: int


def bind_grpc(
    address: str,
    credentials: grpc.ServerCredentials,
    max_message_bytes: int = limits.MAX_MESSAGE_BYTES,
) -> GrpcListener:
    """Bind a port for gRPC; Unavailable where it is taken."""
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor()], options=server_options(max_message_bytes)
    )
    try:
        return GrpcListener(server, server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise _cannot_listen(address, error) from error


@asynccontextmanager
async def serve_enrolment(hub: HubContext, listener: GrpcListener) -> AsyncIterator[None]:
    """Serve the enrolment port: the only calls that need no client certificate."""
    enrolment_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentServicer(hub), listener.server)
    async with _running(listener, hub.timing.drain_limit_s):
        yield


@asynccontextmanager
async def serve_link(hub: HubContext, listener: GrpcListener) -> AsyncIterator[None]:
    """Serve the agent port; at the end every agent is told to come back elsewhere or later."""
    link_pb2_grpc.add_AgentLinkServicer_to_server(LinkServicer(hub), listener.server)
    async with _running(listener, hub.timing.drain_limit_s):
        try:
            yield
        finally:
            hub.registry.drain()
            await asyncio.sleep(0)


@asynccontextmanager
async def _running(listener: GrpcListener, drain_limit_s: float) -> AsyncIterator[None]:
    await listener.server.start()
    try:
        yield
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await listener.server.stop(drain_limit_s)
