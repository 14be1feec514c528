"""The agent port: mTLS, one session per agent, and the calls beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc.aio
import structlog

from fedca.authority import IssuedCertificate, peer_identity
from fedcore import limits
from fedcore.errors import Denied, ErrorCode, FedError, Invalid, Unauthenticated, Unavailable
from fedhub.fleet.admission import PeerIdentity
from fedhub.fleet.agent_sessions import LiveAgentSession
from fedhub.fleet.liveness import Loop
from fedhub.rpc.enrolment import trust_of
from fedhub.services import agent_sessions, certificates, charts, reports
from fedhub.services.context import HubContext
from fedproto.agent.v1 import certificate_pb2, event_pb2, link_pb2, link_pb2_grpc

log = structlog.get_logger()
Context = grpc.aio.ServicerContext[Any, Any]


class LinkServicer(link_pb2_grpc.AgentLinkServicer):
    """Serves ``AgentLink``; the peer is whom its certificate names, never whom a message names."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._closing: set[asyncio.Task[None]] = set()

    async def _peer(self, context: Context) -> PeerIdentity:
        presented = list(context.auth_context().get("x509_pem_cert", ()))
        if len(presented) != 1:
            raise Unauthenticated("an agent's client certificate is needed")
        authority = self._hub.authority
        identity = peer_identity(presented[0], authority.settings.trust_domain)
        if await authority.is_revoked(identity.serial):
            raise Denied("this certificate is revoked")
        return PeerIdentity(identity.site_id, identity.agent_id, identity.serial)

    async def Session(
        self, request_iterator: AsyncIterator[link_pb2.AgentFrame], context: Context
    ) -> AsyncIterator[link_pb2.HubFrame]:
        """Serve one agent until either side ends."""
        identity = await self._peer(context)
        hello = await _first_frame(request_iterator, self._hub.timing.hello_limit_s)
        session, welcome = await agent_sessions.open_session(self._hub, hello, identity)
        name = session.site_name
        tasks = (
            asyncio.create_task(self._read(session, request_iterator), name=f"read.{name}"),
            asyncio.create_task(self._hub.notifier.serve(session), name=f"documents.{name}"),
        )
        for task in tasks:
            task.add_done_callback(lambda _task: session.stream.end())
        try:
            yield link_pb2.HubFrame(epoch=session.epoch, welcome=welcome)
            if hello.trust_version != self._hub.authority.trust_bundle().version:
                yield link_pb2.HubFrame(epoch=session.epoch, trust=trust_of(self._hub))
            async for frame in session.stream.outgoing():
                self._count("out", frame.WhichOneof("body"))
                yield frame
            _raise_first(tasks)
        finally:
            # A call may be cancelled while it ends, which must not keep its end from being noted.
            closing = asyncio.create_task(self._close(session, tasks), name=f"close.{name}")
            self._closing.add(closing)
            closing.add_done_callback(self._closed)
            await asyncio.shield(closing)

    async def _close(
        self, session: LiveAgentSession, tasks: tuple[asyncio.Task[None], asyncio.Task[None]]
    ) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await agent_sessions.close_session(self._hub, session)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.warning("session.end_not_noted", error=str(error))

    async def _read(
        self, session: LiveAgentSession, frames: AsyncIterator[link_pb2.AgentFrame]
    ) -> None:
        async for frame in frames:
            # Whatever comes shows that the site is there: heartbeats may wait behind reports.
            session.liveness.note_frame()
            self._count("in", frame.WhichOneof("body"))
            if frame.epoch != session.epoch:
                raise FedError("the frame is of another epoch", code=ErrorCode.FENCED)
            await session.frame_rate.wait_and_take(turns(frame))
            await self._handle_surely(session, frame)

    async def _handle_surely(self, session: LiveAgentSession, frame: link_pb2.AgentFrame) -> None:
        """Handle a frame, however long the database is away; meanwhile nothing more is read.

        The stream stays, nothing is acknowledged, and the agent keeps its events.
        """
        while True:
            try:
                with session.liveness.at_work(Loop.READ):
                    await self._handle(session, frame)
            except Unavailable:
                log.warning("session.waits", site=session.site_name)
                await asyncio.sleep(self._hub.timing.database_retry_s)
                # The agent could not be heard: that is no silence of its own.
                session.liveness.excuse()
            else:
                return

    async def _handle(self, session: LiveAgentSession, frame: link_pb2.AgentFrame) -> None:
        match frame.WhichOneof("body"):
            case "heartbeat":
                await self._acknowledge(session, await reports.resume_events(self._hub, session))
                ack = await agent_sessions.heartbeat(self._hub, session, frame.heartbeat)
                await session.stream.send(link_pb2.HubFrame(heartbeat_ack=ack))
            case "status":
                await reports.receive_statuses(self._hub, session, frame.status.statuses)
            case "events":
                stored = await reports.receive_events(self._hub, session, frame.events)
                await self._acknowledge(session, stored)
            case "command_result":
                self._hub.registry.complete(session, frame.command_result)
            case "inventory":
                await agent_sessions.note_inventory(self._hub, session, frame.inventory)
            case "goodbye":
                session.stream.end()
            case other:
                log.info("session.frame_ignored", site=session.site_name, body=other)

    def _count(self, direction: str, kind: str | None) -> None:
        # A kind that this hub does not know has no name: its agent is newer.
        self._hub.instruments.frames.labels(direction, kind or "unknown").inc()

    async def _acknowledge(
        self, session: LiveAgentSession, acks: Iterable[event_pb2.EventAck]
    ) -> None:
        for ack in acks:
            await session.stream.send(link_pb2.HubFrame(event_ack=ack))

    async def FetchBlob(
        self, request: link_pb2.FetchBlobRequest, context: Context
    ) -> AsyncIterator[link_pb2.BlobChunk]:
        """Stream a chart archive from an offset."""
        await self._peer(context)
        async for offset, data, total in charts.chunks(self._hub, request.sha256, request.offset):
            yield link_pb2.BlobChunk(offset=offset, data=data, total=total)

    async def RenewCertificate(
        self, request: certificate_pb2.RenewCertificateRequest, context: Context
    ) -> certificate_pb2.CertificateResponse:
        """Issue the agent's next certificate."""
        peer = await self._peer(context)
        issued = await certificates.renew_agent(
            self._hub,
            site_id=peer.site_id,
            agent_id=peer.agent_id,
            old_serial=peer.serial,
            csr_pem=request.csr_pem,
        )
        return self._certificate(issued)

    async def IssueCertificate(
        self, request: certificate_pb2.IssueCertificateRequest, context: Context
    ) -> certificate_pb2.CertificateResponse:
        """Issue a certificate that one of the agent's documents lists."""
        peer = await self._peer(context)
        issued = await certificates.issue_for_resource(
            self._hub,
            peer.site_id,
            resource_id=request.resource_id,
            secret_name=request.secret_name,
            csr_pem=request.csr_pem,
        )
        return self._certificate(issued)

    def _certificate(self, issued: IssuedCertificate) -> certificate_pb2.CertificateResponse:
        answer = certificate_pb2.CertificateResponse(
            certificate_chain_pem=issued.chain_pem,
            trust=trust_of(self._hub),
            serial=issued.serial,
        )
        answer.not_after.FromDatetime(issued.not_after)
        return answer


def turns(frame: link_pb2.AgentFrame) -> float:
    """Return how many frames' worth of work a frame is."""
    statuses, events = len(frame.status.statuses), len(frame.events.events)
    return max(1.0, statuses, events / limits.EVENTS_PER_TURN)


def _raise_first(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Raise what ended a session, if that was an error."""
    for task in tasks:
        if task.done() and not task.cancelled():
            error = task.exception()
            if error is not None:
                raise error


async def _first_frame(
    frames: AsyncIterator[link_pb2.AgentFrame], limit_s: float
) -> link_pb2.Hello:
    try:
        async with asyncio.timeout(limit_s):
            first = await anext(aiter(frames))
    except TimeoutError as error:
        raise Unavailable("no Hello came in time") from error
    except StopAsyncIteration as error:
        raise Invalid("the stream ended before Hello") from error
    if first.WhichOneof("body") != "hello":
        raise Invalid("the first frame must be Hello")
    return first.hello
