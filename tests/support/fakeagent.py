"""A scripted agent: a real certificate, a real stream, and nothing behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import grpc
import grpc.aio
from tests.support.patience import patient, time_limit, until
from tests.support.restclient import Place

from fedca.csr import make_csr_pem
from fedca.keys import make_private_key, private_key_pem
from fedca.settings import DEFAULT_TRUST_DOMAIN
from fedcore.errors import FedError
from fedcore.ids import new_id
from fedproto.agent.v1 import (
    certificate_pb2,
    document_pb2,
    enrolment_pb2,
    enrolment_pb2_grpc,
    event_pb2,
    link_pb2,
    link_pb2_grpc,
    status_pb2,
)
from fedproto.transport import channel_options, error_from_rpc

HUB_NAME: Final = f"hub.{DEFAULT_TRUST_DOMAIN}"


class FakeAgent:
    """A scripted agent: a real certificate, a real stream, and nothing behind them."""

    def __init__(self, place: Place, name: str, *, cluster_uid: str | None = None) -> None:
        self.place = place
        self.name = name
        self.cluster_uid = cluster_uid or f"cluster-{name}"
        self.instance_id = f"instance-{name}"
        self.spool_id = new_id()
        self.key = make_private_key()
        self.enrolled: enrolment_pb2.EnrolResponse | None = None
        self.chain_pem = b""
        self.roots_pem = place.ca_pem
        self.seq = 0
        self.unacked: list[event_pb2.Event] = []
        self.held: dict[str, document_pb2.DesiredDocument] = {}
        self.channel: grpc.aio.Channel | None = None
        self.session: FakeSession | None = None

    async def enrol(
        self, token: str, *, csr_pem: bytes | None = None
    ) -> enrolment_pb2.EnrolResponse:
        """Trade a token for a certificate; raises the hub's error."""
        request = enrolment_pb2.EnrolRequest(
            token=token,
            csr_pem=make_csr_pem(self.key) if csr_pem is None else csr_pem,
            cluster_uid=self.cluster_uid,
            instance_id=self.instance_id,
            agent_version="0.0.1",
        )
        credentials = grpc.ssl_channel_credentials(self.roots_pem)
        async with grpc.aio.secure_channel(
            self.place.enrol_address, credentials, options=channel_options(HUB_NAME)
        ) as channel:
            try:
                answer = await enrolment_pb2_grpc.EnrolmentStub(channel).Enrol(
                    request, timeout=patient()
                )
            except grpc.aio.AioRpcError as error:
                raise error_from_rpc(error) from None
        self.enrolled = answer
        self.chain_pem = answer.certificate_chain_pem
        self.roots_pem = answer.trust.roots_pem
        return answer

    @property
    def agent_id(self) -> str:
        assert self.enrolled is not None
        return self.enrolled.agent_id

    @property
    def site_id(self) -> str:
        assert self.enrolled is not None
        return self.enrolled.site_id

    def open_channel(
        self, *, key_pem: bytes | None = None, chain_pem: bytes | None = None
    ) -> grpc.aio.Channel:
        """Open a channel to the agent port with this (or another) identity."""
        credentials = grpc.ssl_channel_credentials(
            self.roots_pem,
            key_pem if key_pem is not None else private_key_pem(self.key),
            chain_pem if chain_pem is not None else self.chain_pem,
        )
        return grpc.aio.secure_channel(
            self.place.link_address, credentials, options=channel_options(HUB_NAME)
        )

    @property
    def stub(self) -> link_pb2_grpc.AgentLinkStub:
        if self.channel is None:
            self.channel = self.open_channel()
        return link_pb2_grpc.AgentLinkStub(self.channel)

    def hello(self, **changes: Any) -> link_pb2.Hello:
        hello = link_pb2.Hello(
            protocol_min=1,
            protocol_max=1,
            agent_version="0.0.1",
            instance_id=self.instance_id,
            boot_id=new_id(),
            cluster_uid=self.cluster_uid,
            spool_id=self.spool_id,
            spool_first_seq=1,
            spool_last_seq=self.seq,
            trust_version=1,
            documents=[
                link_pb2.DocumentRef(
                    resource_id=one.resource_id, generation=one.generation, digest=one.digest
                )
                for one in self.held.values()
            ],
            inventory=link_pb2.Inventory(
                kubernetes_version="v1.30.0", node_count=3, simulated=True
            ),
        )
        hello.MergeFrom(link_pb2.Hello(**changes))
        return hello

    async def open(self, **changes: Any) -> FakeSession:
        """Open one more stream and say Hello; raises the hub's refusal."""
        session = FakeSession(self, self.stub.Session())
        await session.start(self.hello(**changes))
        return session

    async def connect(self, **changes: Any) -> FakeSession:
        """Open the agent's stream."""
        self.session = await self.open(**changes)
        return self.session

    async def reconnect(self) -> FakeSession:
        """Drop the connection and come back, as after a restart of either side."""
        await self.close()
        return await self.connect()

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()
            self.session = None
        if self.channel is not None:
            await self.channel.close()
            self.channel = None

    @property
    def live(self) -> FakeSession:
        assert self.session is not None
        return self.session

    def on_documents(self, session: FakeSession, documents: link_pb2.DesiredDocuments) -> None:
        """Called when documents came; for agents that do something at once."""

    def happen(self, kind: str = "participant.step", **more: Any) -> event_pb2.Event:
        """Put an event into the spool."""
        self.seq += 1
        event = event_pb2.Event(seq=self.seq, kind=kind, message=f"{kind} {self.seq}", **more)
        event.occurred_at.FromDatetime(datetime.now(UTC))
        self.unacked.append(event)
        return event

    def batch(self) -> event_pb2.EventBatch:
        return event_pb2.EventBatch(spool_id=self.spool_id, events=self.unacked)

    async def tell(self, count: int = 1) -> int:
        """Let events happen, send them and wait until they are acknowledged."""
        for _ in range(count):
            self.happen()
        await self.live.send(events=self.batch())
        return await self.live.acked(self.seq)

    async def issue(
        self, resource_id: str, secret_name: str, key: Any = None
    ) -> certificate_pb2.CertificateResponse:
        request = certificate_pb2.IssueCertificateRequest(
            resource_id=resource_id,
            secret_name=secret_name,
            csr_pem=make_csr_pem(key or make_private_key()),
        )
        try:
            return await self.stub.IssueCertificate(request, timeout=patient())
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None

    async def renew(self, key: Any) -> certificate_pb2.CertificateResponse:
        """Ask for the next certificate; the caller decides when to use it."""
        request = certificate_pb2.RenewCertificateRequest(csr_pem=make_csr_pem(key))
        try:
            return await self.stub.RenewCertificate(request, timeout=patient())
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None


class FakeSession:
    """One stream: every frame of the hub is recorded."""

    def __init__(self, agent: FakeAgent, stream: Any) -> None:
        self.agent = agent
        self.stream = stream
        self.frames: list[link_pb2.HubFrame] = []
        self.welcome = link_pb2.Welcome()
        self.epoch = 0
        self.error: Exception | None = None
        self._news = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    async def start(self, hello: link_pb2.Hello) -> None:
        try:
            async with time_limit():
                await self.stream.write(link_pb2.AgentFrame(hello=hello))
                frame = await self.stream.read()
                if frame is grpc.aio.EOF:
                    code, words = await self.stream.code(), await self.stream.details()
                    raise AssertionError(f"the hub closed at Hello: {code} {words}")
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        self.frames.append(frame)
        self.welcome = frame.welcome
        self.epoch = frame.welcome.epoch
        assert self.epoch, frame
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while (frame := await self.stream.read()) is not grpc.aio.EOF:
                self._take(frame)
                async with self._news:
                    self.frames.append(frame)
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error_from_rpc(error)
        except asyncio.CancelledError:
            pass
        finally:
            async with self._news:
                self.ended.set()
                self._news.notify_all()

    def _take(self, frame: link_pb2.HubFrame) -> None:
        for document in frame.documents.documents:
            self.agent.held[document.resource_id] = document
        for resource_id in frame.documents.forget:
            self.agent.held.pop(resource_id, None)
        if frame.HasField("documents"):
            self.agent.on_documents(self, frame.documents)
        if frame.HasField("event_ack"):
            acked = frame.event_ack.acked_through
            self.agent.unacked = [e for e in self.agent.unacked if e.seq > acked]

    async def send(self, *, epoch: int | None = None, **body: Any) -> None:
        """Send one frame; the body is one of AgentFrame's by name."""
        frame = link_pb2.AgentFrame(epoch=self.epoch if epoch is None else epoch, **body)
        async with self._writing:
            await self.stream.write(frame)

    async def report(self, *statuses: status_pb2.ResourceStatus) -> None:
        await self.send(status=link_pb2.StatusReport(statuses=statuses))

    async def beat(self, sequence: int = 1, **more: Any) -> link_pb2.HubFrame:
        await self.send(heartbeat=link_pb2.Heartbeat(sequence=sequence, **more))
        return await self.frame(
            lambda f: f.HasField("heartbeat_ack") and f.heartbeat_ack.sequence == sequence
        )

    async def frame(self, is_wanted: Callable[[link_pb2.HubFrame], bool]) -> link_pb2.HubFrame:
        """Wait for a frame that is wanted; those that came before count, too."""
        checked = 0
        try:
            async with time_limit(), self._news:
                while True:
                    for found in self.frames[checked:]:
                        if is_wanted(found):
                            return found
                    checked = len(self.frames)
                    if self.ended.is_set():
                        raise AssertionError(f"the stream ended before: {self.error}")
                    await self._news.wait()
        except TimeoutError:
            names = [f.WhichOneof("body") for f in self.frames]
            raise AssertionError(f"the frame never came; these did: {names}") from None

    async def acked(self, seq: int) -> int:
        found = await self.frame(
            lambda f: f.HasField("event_ack") and f.event_ack.acked_through >= seq
        )
        return found.event_ack.acked_through

    async def document(self, resource_id: str, generation: int = 1) -> Any:
        """Wait until the agent holds a document of at least this generation."""
        await self.holds(
            lambda held: resource_id in held and held[resource_id].generation >= generation,
            f"{resource_id} at {generation}",
        )
        return self.agent.held[resource_id]

    async def holds(self, is_wanted: Callable[[dict[str, Any]], bool], what: str = "") -> None:
        try:
            async with time_limit(), self._news:
                while not is_wanted(self.agent.held):
                    if self.ended.is_set():
                        raise AssertionError(f"the stream ended before {what}: {self.error}")
                    await self._news.wait()
        except TimeoutError:
            held = {key: one.generation for key, one in self.agent.held.items()}
            raise AssertionError(f"never held {what}: {held}") from None

    async def end(self) -> Exception | None:
        """Wait until the hub ended the stream; return its error, if it had one."""
        try:
            async with time_limit():
                await self.ended.wait()
        except TimeoutError:
            raise AssertionError("the hub did not end the stream") from None
        return self.error

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self.stream.cancel()


async def connect_again(agent: FakeAgent) -> FakeSession:
    """Come back until the hub is there, as an agent does."""

    async def attempt() -> FakeSession | None:
        try:
            return await agent.reconnect()
        except (FedError, AssertionError):
            return None

    return await until(attempt, f"{agent.name} is back")
