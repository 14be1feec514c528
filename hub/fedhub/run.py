"""Build the hub and run it until a signal: the only module that knows everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

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
from fedhub.fleet.documents import Notifier
from fedhub.fleet.sessions import SessionRegistry
from fedhub.metrics import HubMetrics
from fedhub.services import presence
from fedhub.services.access import ensure_admin_token
from fedhub.services.context import HubContext
from fedhub.services.health import Health
from fedhub.serving import (
    ServerIdentity,
    keep_certificates_fresh,
    keep_trust_fresh,
    serve_enrolment,
    serve_link,
    serve_rest,
)
from fedhub.settings import HubSettings, bind_address
from fedhub.store import hub as hub_store
from fedhub.store.engine import open_database
from fedhub.store.ledger import SqlLedger
from fedsql.engine import Database

log = structlog.get_logger()
CERTIFICATES_S: Final = 60.0
TRUST_S: Final = 3600.0


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
        database = open_database(settings.effective_database_url())
        stack.push_async_callback(database.dispose)
        await database.migrate()
        authority, tokens = await _authority(settings, database, clock)
        async with database.begin() as db:
            hub_id = await hub_store.get_or_create_identity(db)
        loop_health = LoopHealth(clock)
        fleet = SessionRegistry(clock, heartbeat_interval_s=settings.heartbeat_interval_s)
        identity = ServerIdentity(authority, clock, settings.state, ProfileName.HUB)
        console = ServerIdentity(authority, clock, settings.state, ProfileName.CONSOLE)
        await identity.renew_if_due()
        await console.renew_if_due()
        link_host, link_port = bind_address(settings.link_listen)
        enrol_host, enrol_port = bind_address(settings.enrol_listen)
        hub = HubContext(
            hub_id=hub_id,
            replica_id=new_id(),
            database=database,
            clock=clock,
            catalogue=load(settings.catalogue_dirs),
            authority=authority,
            join_tokens=tokens,
            fleet=fleet,
            notifier=Notifier(database, fleet),
            link_address="",
            enrol_address="",
            lease=timedelta(seconds=limits.LEASE_INTERVALS * settings.heartbeat_interval_s),
        )
        await presence.begin(hub)
        stack.push_async_callback(presence.end, hub)
        port = await stack.enter_async_context(
            serve_link(hub, identity, f"{link_host}:{link_port}")
        )
        hub.link_address = settings.public_address(port)
        port = await stack.enter_async_context(
            serve_enrolment(hub, identity, f"{enrol_host}:{enrol_port}")
        )
        hub.enrol_address = settings.public_address(port)
        registry = CollectorRegistry()
        registry.register(HubMetrics(fleet, loop_health))
        app = build(hub, Health(database, loop_health), registry)
        host, rest_port = bind_address(settings.listen)
        rest_port, context = await stack.enter_async_context(
            serve_rest(app, console, host, rest_port)
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        work = {
            **loops.work_of(hub, loop_health),
            "certificates": loops.Work(
                lambda: keep_certificates_fresh(identity, console, context), CERTIFICATES_S
            ),
            "trust": loops.Work(lambda: keep_trust_fresh(hub), TRUST_S),
        }
        stack.callback(_cancel, loops.start(group, work, loop_health))
        yield await _describe(settings, hub, loop_health, rest_port)


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
        enrol_address=hub.enrol_address,
        link_address=hub.link_address,
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
