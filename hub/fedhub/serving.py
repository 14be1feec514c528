"""The hub's listeners: REST over HTTPS, enrolment and agent link over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from aiohttp import web

from fedca.authority import Authority, IssueRequest, Subject
from fedca.csr import make_csr_pem
from fedca.keys import make_private_key, private_key_pem
from fedca.names import ProfileName
from fedca.renewal import renew_at
from fedcore import limits
from fedcore.clock import Clock
from fedcore.errors import Internal, Unavailable
from fedhub.rpc.enrolment import EnrolmentServicer, trust_of
from fedhub.rpc.link import LinkServicer
from fedhub.services.context import HubContext
from fedproto.agent.v1 import enrolment_pb2_grpc, link_pb2, link_pb2_grpc
from fedproto.transport import ErrorInterceptor, server_options

DRAIN_S: Final = 5.0
SILENCE_S: Final = 20.0
"""A connection that is silent, or slow to send a request's head, is closed after this."""
LINGER_S: Final = 5.0
BACKLOG: Final = 512
MAX_LINE_BYTES: Final = 32 * 1024
RETRY_AFTER_DRAIN_MS: Final = 2_000


@dataclass(slots=True)
class ServerIdentity:
    """The hub's own key and certificate; renewed while it serves, for new handshakes."""

    authority: Authority
    clock: Clock
    folder: Path
    profile: ProfileName
    key_pem: bytes = b""
    chain_pem: bytes = b""
    due: float = 0.0

    async def renew_if_due(self) -> None:
        """Get a certificate for a new key at 2/3 of life, and write both for the HTTPS listener."""
        if self.chain_pem and self.clock.now().timestamp() < self.due:
            return
        key = make_private_key()
        issued = await self.authority.issue(
            IssueRequest(
                profile=self.profile,
                subject=Subject(),
                csr_pem=make_csr_pem(key),
                requested_by="hub",
            )
        )
        self.key_pem, self.chain_pem = private_key_pem(key), issued.chain_pem
        self.due = renew_at(issued.not_before, issued.not_after, spread=0.0).timestamp()

    def ssl_context(self) -> ssl.SSLContext:
        """Build the context of the HTTPS listener, TLS 1.2 or newer."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the present certificate; the ssl module reads files only, so they exist shortly."""
        path = self.folder / "server.pem"
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(self.key_pem + self.chain_pem)
        try:
            context.load_cert_chain(path)
        finally:
            path.unlink()


@asynccontextmanager
async def serve_rest(
    app: web.Application, identity: ServerIdentity, host: str, port: int
) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """Serve REST; yields the port and the TLS context (to renew the certificate in)."""
    runner = web.AppRunner(
        app,
        shutdown_timeout=DRAIN_S,
        access_log=None,
        handler_cancellation=True,
        # Also the time that a new connection has for its first request's head.
        keepalive_timeout=SILENCE_S,
        lingering_time=LINGER_S,
        # Ours to refuse, with a problem document, where aiohttp's own 400 would be plain text.
        max_line_size=MAX_LINE_BYTES,
    )
    await runner.setup()
    context = identity.ssl_context()
    try:
        async with _listening(runner, host, port, context) as bound:
            yield bound, context
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _listening(
    runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext
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
            ssl_handshake_timeout=limits.HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=LINGER_S,
        )
    except OSError as error:
        raise _cannot_listen(f"{host}:{port}", error) from error
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()


def _cannot_listen(address: str, error: BaseException) -> Unavailable:
    return Unavailable(f"cannot listen on {address}: {error}; choose another address or port")


@asynccontextmanager
async def serve_enrolment(
    hub: HubContext, identity: ServerIdentity, address: str
) -> AsyncIterator[int]:
    """Serve the enrolment port: server TLS, small messages."""
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor()],
        options=server_options(limits.MAX_ENROL_MESSAGE_BYTES),
    )
    enrolment_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentServicer(hub), server)
    credentials = _credentials(identity, None)
    async with _running(server, address, credentials) as port:
        yield port


@asynccontextmanager
async def serve_link(hub: HubContext, identity: ServerIdentity, address: str) -> AsyncIterator[int]:
    """Serve the agent port: mTLS, the Agents CA as the only client anchor."""
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
    link_pb2_grpc.add_AgentLinkServicer_to_server(LinkServicer(hub), server)
    credentials = _credentials(identity, hub.authority.agents_anchor_pem)
    async with _running(server, address, credentials) as port:
        try:
            yield port
        finally:
            hub.fleet.drain(RETRY_AFTER_DRAIN_MS)
            await asyncio.sleep(0)


@dataclass(slots=True)
class _Certificates:
    """What a gRPC port shows and trusts; asked at every handshake.

    ``fetch`` answers None while nothing changed. That is more than thrift: gRPC swaps in each
    configuration that it is given without a lock, while other handshakes use the one before, and
    crashes in a storm of connections.
    """

    identity: ServerIdentity
    client_anchor: Callable[[], bytes] | None
    known: tuple[bytes, bytes, bytes | None] = (b"", b"", None)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration, if it is another one than the last time."""
        anchor = self.client_anchor() if self.client_anchor is not None else None
        present = (self.identity.key_pem, self.identity.chain_pem, anchor)
        if present == self.known:
            return None
        self.known = present
        return self._configuration()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        key_pem, chain_pem, anchor = self.known
        return grpc.ssl_server_certificate_configuration([(key_pem, chain_pem)], anchor)

    def first(self) -> grpc.ServerCertificateConfiguration:
        """Return the configuration to begin with."""
        self.fetch()
        return self._configuration()


def _credentials(
    identity: ServerIdentity, client_anchor: Callable[[], bytes] | None
) -> grpc.ServerCredentials:
    """Server credentials that take up a renewed certificate and new anchors while they serve."""
    certificates = _Certificates(identity, client_anchor)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first(),
        certificates.fetch,  # type: ignore[arg-type] # the stub forgets that None means unchanged
        require_client_authentication=client_anchor is not None,
    )


@asynccontextmanager
async def _running(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials
) -> AsyncIterator[int]:
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _cannot_listen(address, error) from error
    await server.start()
    try:
        yield port
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await server.stop(DRAIN_S)


async def keep_certificates_fresh(
    link: ServerIdentity, console: ServerIdentity, context: ssl.SSLContext
) -> None:
    """Renew the hub's certificates if they are due; new handshakes show them at once."""
    before = console.chain_pem
    await link.renew_if_due()
    await console.renew_if_due()
    if console.chain_pem != before:
        console.load_into(context)


async def keep_trust_fresh(hub: HubContext) -> None:
    """Replace authorities that are due, and tell every agent when the set of roots changed."""
    before = hub.authority.trust_bundle()
    await hub.authority.refresh()
    if hub.authority.trust_bundle() == before:
        return
    for session in hub.fleet:
        session.offer(link_pb2.HubFrame(trust=trust_of(hub)))
