"""A whole hub for the tests, and scripted agents that talk to it over real mTLS."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
import grpc.aio
from tests.support.processes import Process, free_ports

from fedca.csr import make_csr_pem
from fedca.keys import make_private_key, private_key_pem
from fedca.settings import DEFAULT_TRUST_DOMAIN
from fedhub.run import RunningHub, running_hub
from fedhub.services.hub import Hub
from fedhub.settings import HubSettings
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
from fedproto.errors import FedError
from fedproto.ids import Clock, new_id
from fedproto.transport import channel_options, error_from_rpc

PATIENCE_S: Final = 10.0
"""Every wait of a test ends after this, with an error that says what did not come."""
HUB_NAME: Final = f"hub.{DEFAULT_TRUST_DOMAIN}"


class ManualClock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        # Near the present: certificates are also checked by TLS, which has its own clock.
        self._now = datetime.now(UTC)
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub is, in this process or in another."""

    url: str
    enrol_address: str
    link_address: str
    ca_pem: bytes
    token: str

    @classmethod
    def of_ready_file(cls, path: Path) -> Place:
        told = json.loads(path.read_text())
        return cls(
            url=told["url"],
            enrol_address=told["enrol"],
            link_address=told["link"],
            ca_pem=Path(told["ca_file"]).read_bytes(),
            token=Path(told["token_file"]).read_text().strip(),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


class Rest:
    """REST as a person's tool speaks it."""

    def __init__(self, place: Place, session: aiohttp.ClientSession) -> None:
        self.place = place
        self.session = session

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.place.token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        async with self.session.request(
            method, self.place.url + path, data=data, headers=sent
        ) as response:
            text = await response.read()
            kind = response.headers.get("Content-Type", "")
            parsed = json.loads(text) if text and "json" in kind else text
            return Answer(response.status, parsed, dict(response.headers))

    async def good(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.call(method, path, **more)
        assert answer.status < 400, (method, path, answer.status, answer.body)
        return answer.body

    async def get(self, path: str) -> Any:
        return await self.good("GET", path)

    async def invite(self, name: str, **more: Any) -> Any:
        return await self.good("POST", "/api/v1/sites", body={"name": name, **more})

    async def apply(self, intent: Mapping[str, Any], query: str = "") -> Any:
        path = f"/api/v1/federations/{intent['name']}{query}"
        return await self.good("PUT", path, body=intent)

    async def events(self, query: str = "") -> list[Any]:
        found: list[Any] = []
        after = 0
        while True:
            page = await self.get(f"/api/v1/events?limit=1000&after={after}{query}")
            if not page["items"]:
                return found
            found += page["items"]
            after = page["last_id"]

    async def kinds(self, query: str = "") -> list[str]:
        return [event["kind"] for event in await self.events(query)]

    async def until(self, path: str, is_wanted: Callable[[Any], bool], what: str = "") -> Any:
        """Read ``path`` until it shows what is wanted."""
        seen = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    seen = await self.get(path)
                    if is_wanted(seen):
                        return seen
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{path} never showed {what}: {seen}") from None

    async def operation_ends(self, operation_id: str) -> Any:
        found = await self.until(
            f"/api/v1/operations/{operation_id}",
            lambda one: one["operation"]["state"] not in {"Running", "Stalled"},
            "an end",
        )
        return found["operation"]


@asynccontextmanager
async def rest_of(place: Place) -> AsyncIterator[Rest]:
    context = ssl.create_default_context(cadata=place.ca_pem.decode())
    connector = aiohttp.TCPConnector(ssl=context)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Rest(place, session)


@dataclass(slots=True)
class HubUnderTest:
    """A hub in this process, its REST client, and the agents that the test made."""

    running: RunningHub
    rest: Rest
    place: Place
    agents: list[FakeAgent] = field(default_factory=list)
    sites: list[GoodSite] = field(default_factory=list)
    _numbers: int = 0

    @property
    def hub(self) -> Hub:
        return self.running.hub

    async def join(self, name: str, **more: Any) -> FakeAgent:
        """Invite a site and enrol an agent for it; it is not connected yet."""
        invitation = await self.rest.invite(name)
        agent = FakeAgent(self.place, name, **more)
        self.agents.append(agent)
        await agent.enrol(invitation["token"])
        return agent

    async def connect(self, name: str, **more: Any) -> FakeAgent:
        """Invite, enrol and connect."""
        agent = await self.join(name, **more)
        await agent.connect()
        return agent

    async def good_site(self, name: str) -> GoodSite:
        """Make a site that does what it is told."""
        self._numbers += 1
        number = self._numbers
        site = GoodSite(await self.connect(name), number)
        self.sites.append(site)
        return site

    async def close(self) -> None:
        """End what the test started."""
        for site in self.sites:
            await site.stop()
        for agent in self.agents:
            await agent.close()


def hub_settings(folder: Path, database_url: str | None = None, **more: Any) -> HubSettings:
    ports = dict.fromkeys(("listen", "enrol_listen", "link_listen"), "127.0.0.1:0")
    return HubSettings(state=folder / "hub", database_url=database_url or "", **{**ports, **more})


def make_hub_template(folder: Path) -> Path:
    """Make the state of a hub that has started once: copying it is faster than making it."""

    async def make() -> None:
        async with running_hub(hub_settings(folder)):
            pass

    asyncio.run(make())
    return folder / "hub"


@asynccontextmanager
async def running_test_hub(
    tmp_path: Path,
    *,
    template: Path | None = None,
    database_url: str | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[HubUnderTest]:
    """Run a hub on loopback; agents that the test made through it are closed first."""
    if template is not None and not (tmp_path / "hub").exists():
        shutil.copytree(template, tmp_path / "hub")
    chosen = hub_settings(tmp_path, database_url, **settings)
    async with running_hub(chosen, clock=clock) as running:
        place = Place(
            url=running.url,
            enrol_address=running.enrol_address,
            link_address=running.link_address,
            ca_pem=running.ca_file.read_bytes(),
            token=running.token_file.read_text().strip(),
        )
        async with rest_of(place) as rest:
            under_test = HubUnderTest(running, rest, place)
            try:
                yield under_test
            finally:
                await under_test.close()


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
                    request, timeout=PATIENCE_S
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
            return await self.stub.IssueCertificate(request, timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None

    async def renew(self, key: Any) -> certificate_pb2.CertificateResponse:
        """Ask for the next certificate; the caller decides when to use it."""
        request = certificate_pb2.RenewCertificateRequest(csr_pem=make_csr_pem(key))
        try:
            return await self.stub.RenewCertificate(request, timeout=PATIENCE_S)
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
            async with asyncio.timeout(PATIENCE_S):
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

    async def frame(
        self, is_wanted: Callable[[link_pb2.HubFrame], bool], limit_s: float = PATIENCE_S
    ) -> link_pb2.HubFrame:
        """Wait for a frame that is wanted; those that came before count, too."""
        checked = 0
        try:
            async with asyncio.timeout(limit_s), self._news:
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
            async with asyncio.timeout(PATIENCE_S), self._news:
                while not is_wanted(self.agent.held):
                    if self.ended.is_set():
                        raise AssertionError(f"the stream ended before {what}: {self.error}")
                    await self._news.wait()
        except TimeoutError:
            held = {key: one.generation for key, one in self.agent.held.items()}
            raise AssertionError(f"never held {what}: {held}") from None

    async def end(self, limit_s: float = PATIENCE_S) -> Exception | None:
        """Wait until the hub ended the stream; return its error, if it had one."""
        try:
            async with asyncio.timeout(limit_s):
                await self.ended.wait()
        except TimeoutError:
            raise AssertionError("the hub did not end the stream") from None
        return self.error

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self.stream.cancel()


class GoodSite:
    """A site where everything works at once: each document is Ready (or Gone) as soon as it comes.

    ``hold``: resource ids that stay Deploying until they are released.
    """

    ROLE_PORTS: Final = {"pulsar": 9, "nginx": 3, "ats": 7}

    def __init__(self, agent: FakeAgent, number: int) -> None:
        self.agent = agent
        self.ip = f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
        self.hold: set[str] = set()
        self.statuses: dict[str, status_pb2.ResourceStatus] = {}
        self.answered: dict[str, tuple[int, bool]] = {}
        self._slots: dict[str, int] = {}
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            session = self.agent.session
            if session is None or session.ended.is_set():
                self.answered.clear()
                await asyncio.sleep(0.02)
                continue
            await self.answer(session)
            async with session._news:
                if not session.ended.is_set() and not self._due():
                    await session._news.wait()

    def _due(self) -> list[document_pb2.DesiredDocument]:
        return [
            one
            for one in self.agent.held.values()
            if self.answered.get(one.resource_id) != (one.generation, one.resource_id in self.hold)
        ]

    async def answer(self, session: FakeSession) -> None:
        for document in self._due():
            status = self.status_of(document)
            self.statuses[document.resource_id] = status
            self.answered[document.resource_id] = (
                document.generation,
                document.resource_id in self.hold,
            )
            try:
                await session.report(status)
            except (grpc.aio.UsageError, asyncio.InvalidStateError, grpc.aio.AioRpcError):
                self.answered.clear()
                return

    def status_of(
        self, document: document_pb2.DesiredDocument, **changes: Any
    ) -> status_pb2.ResourceStatus:
        phase = status_pb2.PHASE_GONE if document.absent else status_pb2.PHASE_READY
        if document.resource_id in self.hold:
            phase = status_pb2.PHASE_DEPLOYING
        status = status_pb2.ResourceStatus(
            resource_id=document.resource_id,
            observed_generation=document.generation,
            digest=document.digest,
            phase=phase,
        )
        status.since.FromDatetime(datetime.now(UTC))
        if not document.absent:
            slot = self._slots.setdefault(document.resource_id, len(self._slots))
            for wish in document.participant.addresses:
                status.addresses.add(
                    role=wish.role,
                    host=self.ip,
                    ip=self.ip,
                    port=30_000 + 10 * slot + self.ROLE_PORTS[wish.role],
                )
            for name in document.participant.resolve_names:
                status.resolutions.add(name=name, ip=f"192.0.2.{len(name)}")
            for table in document.participant.tables:
                status.tables.add(
                    kind=table.kind,
                    config_map=table.config_map,
                    matches=True,
                    entry_count=len(table.entries),
                )
        status.MergeFrom(status_pb2.ResourceStatus(**changes))
        return status

    async def move(self, ip: str) -> None:
        """Get another address, and say so."""
        self.ip = ip
        self.answered.clear()
        await self.answer(self.agent.live)

    async def release(self, resource_id: str) -> None:
        self.hold.discard(resource_id)
        await self.answer(self.agent.live)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def spec(self, resource_id: str) -> document_pb2.ParticipantSpec:
        return self.agent.held[resource_id].participant


def party(party_id: int, site: str, **more: Any) -> dict[str, Any]:
    return {"id": party_id, "site": site, "expose": "NodePort", **more}


def federation(
    parties: list[dict[str, Any]],
    *,
    name: str = "credit-risk",
    exchange: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write an intent; ``exchange`` is at site hq unless given, None is not possible here."""
    return {
        "kind": "Federation",
        "name": name,
        "domain": f"{name}.example.com",
        "release": "1.8.0",
        "engine": "spark-pulsar",
        "exchange": dict(exchange or {"site": "hq", "expose": "NodePort"}),
        "parties": parties,
        **more,
    }


@dataclass(slots=True)
class HubProcess:
    """``fedhub serve`` as a process of its own, on fixed ports, to be killed and started again."""

    folder: Path
    process: Process
    ready_file: Path

    @classmethod
    def at(cls, folder: Path, database_url: str | None = None) -> HubProcess:
        rest, enrol, link = free_ports(3)
        ready = folder / "ready.json"
        argv = [
            str(Path(sys.executable).with_name("fedhub")),
            *("serve", "--state", str(folder / "hub"), "--ready-file", str(ready)),
            *("--listen", f"127.0.0.1:{rest}", "--enrol-listen", f"127.0.0.1:{enrol}"),
            *("--link-listen", f"127.0.0.1:{link}"),
            *(("--database-url", database_url) if database_url else ()),
        ]
        process = Process("fedhub", tuple(argv), folder / "hub.log", dict(os.environ))
        return cls(folder, process, ready)

    async def start(self) -> Place:
        """Start it and wait until it serves."""
        self.ready_file.unlink(missing_ok=True)
        self.process.spawn()
        async with asyncio.timeout(30):
            while not self.ready_file.exists():
                self.process.check()
                await asyncio.sleep(0.05)
        return Place.of_ready_file(self.ready_file)

    def kill(self) -> None:
        self.process.kill()

    async def stop(self) -> int:
        """Ask it to stop, as an orchestrator does; return its exit code."""
        child = self.process.child
        assert child is not None
        self.process.signal(signal.SIGTERM)
        return await asyncio.to_thread(child.wait, 20)


async def connect_again(agent: FakeAgent) -> FakeSession:
    """Come back until the hub is there, as an agent does."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await agent.reconnect()
            except (FedError, AssertionError):
                await asyncio.sleep(0.05)
