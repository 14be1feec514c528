"""Keep a session with the hub, for ever: dial, redial with jitter, renew the certificate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import grpc
import grpc.aio
import structlog

from fedagent.journal import Journal
from fedagent.link.identity import (
    Identity,
    StoredIdentity,
    make_csr,
    make_key,
    with_certificate,
)
from fedagent.link.session import Commands, Session, SessionEnded, stub_of
from fedagent.link.validation import check_certificate, check_roots
from fedcore import limits
from fedcore.backoff import Backoff
from fedcore.clock import Clock
from fedcore.errors import ErrorCode, FedError, Invalid, Unavailable
from fedcore.ids import new_id
from fedcore.tasks import (
    LoopHealth,
    await_with_heartbeat,
    run_periodically,
    sleep_with_heartbeat,
)
from fedproto.agent.v1 import certificate_pb2, link_pb2
from fedproto.transport import channel_options, error_from_rpc

log = structlog.get_logger()
_RENEWAL_CHECK_S = 60.0
_SESSIONS = "link.sessions"
_RENEWAL = "link.renewal"


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What Hello says about the agent and its cluster."""

    version: str
    cluster_uid: str
    inventory: Callable[[], Awaitable[link_pb2.Inventory]]
    capabilities: tuple[str, ...] = ("documents.v1", "probe_routes")


class HubConnection:
    """The agent's connection to its hub. Calls beside the session use the same channel."""

    def __init__(
        self,
        journal: Journal,
        kept: StoredIdentity,
        facts: AgentFacts,
        *,
        loop_health: LoopHealth,
        clock: Clock,
        commands: Commands,
        on_connected: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._journal = journal
        self._identities = kept.identities
        self._identity = kept.identity
        self._facts = facts
        self._loop_health = loop_health
        self._clock = clock
        self._commands = commands
        self._on_connected = on_connected
        self._rng = rng if rng is not None else random.Random()  # noqa: S311 - jitter, no secret
        self._boot_id = new_id()
        self._channel: grpc.aio.Channel | None = None
        self._redial = asyncio.Event()
        self._look_at_renewal = asyncio.Event()
        self.connected = asyncio.Event()

    @property
    def identity(self) -> Identity:
        """Who this agent is at present."""
        return self._identity

    async def run(self) -> None:
        """Hold a session for ever; run it in a TaskGroup."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hold_sessions(), name=_SESSIONS)
            renewal = run_periodically(
                _RENEWAL,
                self._renew_if_due,
                interval_s=_RENEWAL_CHECK_S,
                loop_health=self._loop_health,
                wake=self._look_at_renewal,
            )
            group.create_task(renewal, name=_RENEWAL)

    async def _hold_sessions(self) -> None:
        attempt = 0
        while True:
            self._loop_health.heartbeat(_SESSIONS)
            started = self._clock.monotonic()
            wish: float | None = None
            try:
                await self._one_session()
            except SessionEnded as ended:
                wish = ended.retry_after_s
                log.info("link.ended", reason=ended.message)
            except FedError as error:
                log.warning("link.lost", code=error.code.value, reason=error.message)
            finally:
                self.connected.clear()
            if self._clock.monotonic() - started > limits.RECONNECT_RESET_S or wish is not None:
                attempt = 0
            delay = self._delay_s(attempt, wish)
            attempt += 1
            if await sleep_with_heartbeat(
                _SESSIONS, delay, loop_health=self._loop_health, wake=self._redial
            ):
                attempt = 0

    def _delay_s(self, attempt: int, wish: float | None) -> float:
        if wish is not None:
            return self._rng.uniform(0.0, wish)
        backoff = Backoff(base_s=limits.RECONNECT_BASE_S, cap_s=limits.RECONNECT_CAP_S)
        return backoff.jittered_s(attempt, self._rng)

    async def _one_session(self) -> None:
        async with self._open_channel() as channel:
            session = Session(
                stream=stub_of(channel).Session(),
                journal=self._journal,
                loop_health=self._loop_health,
                clock=self._clock,
                commands=self._commands,
                on_trust=self._take_trust,
            )
            welcome = await session.open(await self._hello())
            self._channel = channel
            self.connected.set()
            self._look_at_renewal.set()
            self._on_connected()
            log.info("link.connected", epoch=welcome.epoch, site=welcome.site_name)
            await self._run_until_redial(session)

    async def _run_until_redial(self, session: Session) -> None:
        """Run the session; end it when the agent itself wants a new one (a new certificate)."""
        running = asyncio.create_task(session.run(), name="link.session")
        redial = asyncio.create_task(self._redial.wait(), name="link.redial")
        try:
            first = asyncio.wait({running, redial}, return_when=asyncio.FIRST_COMPLETED)
            await await_with_heartbeat(_SESSIONS, first, loop_health=self._loop_health)
            if running.done():
                await running
            self._redial.clear()
            raise SessionEnded("the agent redials with a new certificate", retry_after_s=0.0)
        finally:
            running.cancel()
            redial.cancel()
            await asyncio.gather(running, redial, return_exceptions=True)

    @asynccontextmanager
    async def _open_channel(self) -> AsyncIterator[grpc.aio.Channel]:
        identity = self._identity
        credentials = grpc.ssl_channel_credentials(
            root_certificates=identity.roots_pem,
            private_key=identity.key_pem,
            certificate_chain=identity.chain_pem,
        )
        options = channel_options(identity.hub_name)
        async with grpc.aio.secure_channel(
            identity.link_address, credentials, options=options
        ) as channel:
            try:
                yield channel
            finally:
                self._channel = None

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
            trust_version=self._identity.trust_version,
            inventory=await self._facts.inventory(),
        )
        hello.sent_at.FromDatetime(self._clock.now())
        return hello

    async def _take_trust(self, version: int, roots_pem: bytes) -> None:
        """Add roots that the hub announces; the old ones stay until the hub drops them later."""
        if version <= self._identity.trust_version:
            return
        check_roots(roots_pem)
        identity = replace(self._identity, roots_pem=roots_pem, trust_version=version)
        try:
            await self._store(identity)
        except FedError as error:
            # They hold for this life; the next session announces them again.
            log.warning("trust.not_stored", reason=error.message)
            self._identity = identity

    async def _store(self, identity: Identity) -> None:
        await self._identities.save(identity)
        self._identity = identity

    async def issue_certificate(
        self, resource_id: str, secret_name: str, csr_pem: bytes
    ) -> certificate_pb2.CertificateResponse:
        """Ask the hub for a certificate of one of the agent's documents."""
        stub = stub_of(self._live_channel())
        with _calling():
            answer: certificate_pb2.CertificateResponse = await stub.IssueCertificate(
                certificate_pb2.IssueCertificateRequest(
                    resource_id=resource_id, secret_name=secret_name, csr_pem=csr_pem
                ),
                timeout=limits.RPC_TIMEOUT_S,
            )
        return answer

    async def fetch_chart(self, sha256: str) -> bytes:
        """Fetch an archive; the caller checks its digest. At most MAX_CHART_BYTES."""
        stub = stub_of(self._live_channel())
        data = bytearray()
        try:
            with _calling():
                async with asyncio.timeout(limits.RPC_TIMEOUT_S * 3):
                    async for chunk in stub.FetchBlob(link_pb2.FetchBlobRequest(sha256=sha256)):
                        _take_chunk(data, chunk)
        except TimeoutError as error:
            raise Unavailable(f"blob {sha256} did not come in time") from error
        return bytes(data)

    def _live_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise Unavailable("the hub is not connected")
        return self._channel

    async def _renew_if_due(self) -> None:
        """Renew at the time for it; without a session the next one calls again."""
        if self._clock.now() >= self._identity.renew_at() and self.connected.is_set():
            await self._renew()

    async def _renew(self) -> None:
        """Get a certificate for a new key, then redial with it."""
        if await self._was_renewed_elsewhere():
            return
        key_pem = make_key()
        with _calling():
            answer = await stub_of(self._live_channel()).RenewCertificate(
                certificate_pb2.RenewCertificateRequest(csr_pem=make_csr(key_pem, "fedagent")),
                timeout=limits.RPC_TIMEOUT_S,
            )
        check_certificate(key_pem, answer.certificate_chain_pem, answer.trust.roots_pem)
        await self._store(
            with_certificate(
                self._identity,
                key_pem,
                answer.certificate_chain_pem,
                answer.trust.roots_pem,
                answer.trust.version,
            )
        )
        log.info("renewal.done", serial=answer.serial)
        self._redial.set()

    async def _was_renewed_elsewhere(self) -> bool:
        """Take up what another process has stored for this agent meanwhile; tell whether it has."""
        stored = await self._identities.load()
        same = stored.chain_pem == self._identity.chain_pem
        if same or stored.agent_id != self._identity.agent_id:
            return False
        self._identity = stored
        log.info("renewal.found", place=self._identities.place)
        self._redial.set()
        return True


def _take_chunk(data: bytearray, chunk: link_pb2.BlobChunk) -> None:
    """Add the next piece of an archive; raise for a gap, and for more than an archive may have."""
    if chunk.offset != len(data):
        raise Invalid(f"the archive came with a gap at {len(data)}")
    if len(data) + len(chunk.data) > limits.MAX_CHART_BYTES:
        raise FedError("the archive is too large", code=ErrorCode.TOO_LARGE)
    data += chunk.data


@contextmanager
def _calling() -> Iterator[None]:
    """Make the errors of a call ours, also where its channel was closed under it.

    grpc.aio then raises CancelledError, though nobody cancelled the task that waits: let through,
    it would end that task without a word.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("the connection to the hub was closed") from error
