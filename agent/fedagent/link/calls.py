"""What the agent hands to its connection: how it introduces itself, and how it renews."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc.aio
import structlog

from fedagent.journal import Journal
from fedagent.link.session import Commands, Session
from fedcore import limits
from fedcore.clock import Clock
from fedcore.ids import Serial, new_id
from fedcore.tasks import LoopHealth
from fedlink.connection import OpenSession, RenewedCertificate
from fedlink.identity import CurrentIdentity
from fedlink.stream import FrameStream
from fedlink.timing import LinkTiming
from fedproto.agent.v1 import certificate_pb2, link_pb2, link_pb2_grpc

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What Hello says about the agent and its cluster."""

    version: str
    cluster_uid: str
    inventory: Callable[[], Awaitable[link_pb2.Inventory]]
    capabilities: tuple[str, ...] = ("documents.v1", "probe_routes")


class AgentCalls:
    """The agent's side of ``fedlink.connection``."""

    def __init__(
        self,
        journal: Journal,
        identity: CurrentIdentity,
        facts: AgentFacts,
        commands: Commands,
        *,
        loop_health: LoopHealth,
        clock: Clock,
        timing: LinkTiming,
    ) -> None:
        self._journal = journal
        self._identity = identity
        self._facts = facts
        self._commands = commands
        self._loop_health = loop_health
        self._clock = clock
        self._timing = timing
        self._boot_id = new_id()

    async def open_session(self, channel: grpc.aio.Channel) -> OpenSession:
        """Say Hello over a new channel and resume what the last session left."""
        raw = link_pb2_grpc.AgentLinkStub(channel).Session()
        session = Session(
            stream=FrameStream(raw, link_pb2.HubFrame, clock=self._clock, timing=self._timing),
            journal=self._journal,
            loop_health=self._loop_health,
            clock=self._clock,
            timing=self._timing,
            commands=self._commands,
            on_trust=self._identity.add_roots,
        )
        welcome = await session.open(await self._hello())
        log.info("link.connected", epoch=welcome.epoch, site=welcome.site_name)
        return session

    async def renew(
        self, channel: grpc.aio.Channel, csr_pem: bytes, *, limit_s: float
    ) -> RenewedCertificate:
        """Ask for a certificate for a new key."""
        answer = await link_pb2_grpc.AgentLinkStub(channel).RenewCertificate(
            certificate_pb2.RenewCertificateRequest(csr_pem=csr_pem), timeout=limit_s
        )
        return RenewedCertificate(
            serial=Serial(answer.serial),
            chain_pem=answer.certificate_chain_pem,
            roots_pem=answer.trust.roots_pem,
            trust_version=answer.trust.version,
        )

    async def _hello(self) -> link_pb2.Hello:
        position = await self._journal.spool.position()
        hello = link_pb2.Hello(
            protocol_min=limits.PROTOCOL_MIN,
            protocol_max=limits.PROTOCOL_MAX,
            agent_version=self._facts.version,
            capabilities=self._facts.capabilities,
            instance_id=self._journal.instance_id,
            boot_id=self._boot_id,
            cluster_uid=self._facts.cluster_uid,
            spool_id=position.spool_id,
            spool_first_seq=position.first_seq,
            spool_last_seq=position.last_seq,
            last_epoch=await self._journal.max_epoch(),
            documents=await self._journal.documents.refs(),
            trust_version=self._identity.value.trust_version,
            inventory=await self._facts.inventory(),
        )
        hello.sent_at.FromDatetime(self._clock.now())
        return hello
