"""Build the hub and run it until a signal: the only module that knows everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from fedca.authority import Authority
from fedca.names import ProfileName
from fedca.sealing import Sealer
from fedca.settings import AuthoritySettings
from fedca.tokens import JoinTokens
from fedcore import limits
from fedcore.clock import Clock, SystemClock
from fedcore.files import write_private
from fedcore.ids import new_id
from fedcore.signals import stop_requested
from fedcore.tasks import LoopHealth
from fedhub import loops
from fedhub.api.app import build
from fedhub.catalogue.load import load
from fedhub.fleet.agent_sessions import SessionRegistry
from fedhub.fleet.alerts import AlertThrottle
from fedhub.fleet.documents import Notifier
from fedhub.fleet.rate_limit import EventRateLimiter
from fedhub.instruments import Instruments
from fedhub.metrics import HubMetrics
from fedhub.server_identity import ServerIdentity, grpc_credentials, renew_certificates
from fedhub.services import liveness
from fedhub.services.context import Addresses, HubContext
from fedhub.services.event_feed import EventFeed
from fedhub.services.health import Health
from fedhub.services.tokens import ensure_admin_token
from fedhub.serving import GrpcListener, bind_grpc, serve_enrolment, serve_link, serve_rest
from fedhub.settings import HubSettings, bind_address
from fedhub.store import hub as hub_store
from fedhub.store.engine import open_database
from fedhub.store.ledger import SqlLedger
from fedsql.engine import Database

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RunningHub:
    """Where a running hub can be reached; ``hub`` and ``loop_health`` are for tests."""

    url: str
    enrol_address: str
    link_address: str
    ca_file: Path
    token_file: Path
    hub: HubContext
    loop_health: LoopHealth


@asynccontextmanager
async def running_hub(
    settings: HubSettings, *, clock: Clock | None = None
) -> AsyncIterator[RunningHub]:
    """Run a hub inside the context; leaving it stops everything in reverse order."""
    clock = clock if clock is not None else SystemClock()
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        loop_health = LoopHealth(clock)
        appended = asyncio.Event()
        instruments = Instruments()
        database = open_database(
            settings.effective_database_url(),
            settings.timing.database,
            appended=appended,
            instruments=instruments,
        )
        stack.push_async_callback(database.dispose)
        await database.migrate()
        ports = await _bind(settings, database, clock)
        # For a start that fails before they are served.
        stack.push_async_callback(ports.close)
        hub = await _hub_context(settings, ports, database, clock, instruments)
        await liveness.start(hub)
        stack.push_async_callback(liveness.stop, hub)
        await stack.enter_async_context(serve_link(hub, ports.link))
        await stack.enter_async_context(serve_enrolment(hub, ports.enrol))
        instruments.registry.register(HubMetrics(hub.registry, loop_health))
        host, rest_port = bind_address(settings.listen)
        rest_port, context = await stack.enter_async_context(
            serve_rest(
                build(hub, Health(database, loop_health)),
                ports.console_identity,
                host,
                rest_port,
                hub.timing,
            )
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        work = loops.work_of(
            hub,
            loop_health,
            renew_certificates=lambda: renew_certificates(
                ports.hub_identity, ports.console_identity, context, instruments
            ),
            events_appended=appended,
        )
        stack.callback(_cancel, loops.start(group, work, loop_health))
        yield await _describe(settings, hub, loop_health, rest_port)


@dataclass(frozen=True, slots=True)
class _Ports:
    """What is there before the hub is put together: its authority, identities and gRPC ports."""

    authority: Authority
    join_tokens: JoinTokens
    hub_identity: ServerIdentity
    console_identity: ServerIdentity
    link: GrpcListener
    enrol: GrpcListener

    async def close(self) -> None:
        """Free the ports; after they were served this does nothing."""
        for listener in (self.link, self.enrol):
            await listener.server.stop(None)


async def _bind(settings: HubSettings, database: Database, clock: Clock) -> _Ports:
    authority, tokens = await _authority(settings, database, clock)
    hub_identity = ServerIdentity(authority, clock, settings.state, ProfileName.HUB)
    console_identity = ServerIdentity(authority, clock, settings.state, ProfileName.CONSOLE)
    await hub_identity.renew_if_due()
    await console_identity.renew_if_due()
    link = bind_grpc(
        settings.link_listen, grpc_credentials(hub_identity, authority.agents_anchor_pem)
    )
    enrol = bind_grpc(
        settings.enrol_listen,
        grpc_credentials(hub_identity, None),
        limits.MAX_ENROL_MESSAGE_BYTES,
    )
    return _Ports(authority, tokens, hub_identity, console_identity, link, enrol)


async def _hub_context(
    settings: HubSettings,
    ports: _Ports,
    database: Database,
    clock: Clock,
    instruments: Instruments,
) -> HubContext:
    async with database.begin() as db:
        hub_id = await hub_store.get_or_create_identity(db)
    timing = settings.timing
    registry = SessionRegistry(clock, timing)
    return HubContext(
        hub_id=hub_id,
        replica_id=new_id(),
        addresses=Addresses(
            link=settings.public_address(ports.link.port),
            enrol=settings.public_address(ports.enrol.port),
        ),
        database=database,
        clock=clock,
        timing=timing,
        instruments=instruments,
        catalogue=load(settings.catalogue_dirs),
        authority=ports.authority,
        join_tokens=ports.join_tokens,
        registry=registry,
        notifier=Notifier(database, registry, clock=clock, instruments=instruments),
        alerts=AlertThrottle(clock, timing.alert_pause_s),
        event_rates=EventRateLimiter(clock),
        event_feed=EventFeed(database),
    )


def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End the loops; a TaskGroup waits for ever for loops that run for ever."""
    for task in tasks:
        task.cancel()


async def _authority(
    settings: HubSettings, database: Database, clock: Clock
) -> tuple[Authority, JoinTokens]:
    ledger = SqlLedger(database)
    dns_names, addresses = settings.hub_names()
    authority = await Authority.open(
        ledger=ledger,
        sealer=Sealer.from_key_file(settings.state / "ca.key"),
        clock=clock,
        settings=AuthoritySettings(
            trust_domain=settings.trust_domain,
            hub_dns_names=dns_names,
            hub_ip_addresses=addresses,
        ),
    )
    return authority, JoinTokens(ledger, clock)


async def _describe(
    settings: HubSettings, hub: HubContext, loop_health: LoopHealth, rest_port: int
) -> RunningHub:
    token_file = settings.state / "admin.token"
    if await ensure_admin_token(hub.database, token_file):
        log.info("token.written", file=str(token_file))
    ca_file = settings.state / "ca.pem"
    ca_file.write_bytes(hub.authority.trust_bundle().roots_pem)
    return RunningHub(
        url=f"https://{settings.public_address(rest_port)}",
        enrol_address=hub.addresses.enrol,
        link_address=hub.addresses.link,
        ca_file=ca_file,
        token_file=token_file,
        hub=hub,
        loop_health=loop_health,
    )


async def serve(settings: HubSettings, ready_file: Path | None) -> None:
    """Run until SIGTERM or SIGINT; ``ready_file`` is written when requests are served."""
    stop = stop_requested()
    async with running_hub(settings) as running:
        log.info(
            "hub.ready",
            url=running.url,
            enrol=running.enrol_address,
            link=running.link_address,
            fingerprint=running.hub.authority.root_fingerprint(),
        )
        if ready_file is not None:
            await asyncio.to_thread(write_private, ready_file, _ready(running))
        await stop.wait()
        log.info("hub.stopping")


def _ready(running: RunningHub) -> bytes:
    """Return what the ready file says: where the hub is."""
    places = {
        "url": running.url,
        "enrol": running.enrol_address,
        "link": running.link_address,
        "ca_file": str(running.ca_file),
        "token_file": str(running.token_file),
    }
    return json.dumps(places).encode()
