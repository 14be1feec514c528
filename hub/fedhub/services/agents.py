"""Sessions of agents: opened and kept alive; sites follow. Rules: ``fleet.admission``."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore import limits
from fedcore.errors import Denied, ErrorCode, FedError, Unavailable
from fedcore.ids import new_id
from fedcore.version import product_version
from fedhub.domain.access import Permission, Principal
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedhub.fleet.admission import PeerIdentity, Verdict, check_hello, decide_admission
from fedhub.fleet.ingest import clean, clean_text
from fedhub.fleet.sessions import LiveSession
from fedhub.services import standstill
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import certificates, events, sessions, sites
from fedproto.agent.v1 import command_pb2, link_pb2

SUPERSEDED_GRACE: Final = timedelta(hours=1)
MAX_STALLED_LOOPS: Final = 20
_OF_A_SITE: Final = (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.TIMEOUT)
MAX_LOOP_NAME: Final = 150


async def open_session(
    hub: HubContext, hello: link_pb2.Hello, identity: PeerIdentity
) -> tuple[LiveSession, link_pb2.Welcome]:
    """Admit an agent: a new epoch, the site online, and what to go on from.

    Raises Denied for a copy of an identity (and records it), Unavailable where an older instance
    still lives, PRECONDITION_FAILED for a protocol that this hub does not speak.
    """
    protocol = check_hello(hello)
    async with hub.database.begin() as db:
        site = await sites.find(db, identity.site_id)
        if site is None:
            raise Denied("this site was deleted; ask for a new invitation")
        verdict = decide_admission(
            hello,
            identity,
            site,
            hub.fleet.current_session(identity.agent_id),
            is_superseded=await is_superseded(hub, db, site, identity.serial),
        )
        admitted = None
        if verdict is Verdict.ADMIT:
            admitted = await _admit(hub, db, hello, identity, site=site, protocol=protocol)
    if admitted is None:
        await _turn_away(hub, verdict, site, identity, hello)
    hub.fleet.register(admitted[0])
    return admitted


async def is_superseded(hub: HubContext, db: AsyncSession, site: Site, serial: str) -> bool:
    """Tell whether a certificate is older than one that the site's agent has used for an hour.

    A newer certificate that was issued but never used (its answer got lost) supersedes nothing.
    """
    if site.certificate_serial in {None, serial}:
        return False
    newest = await certificates.find(db, site.certificate_serial or "")
    mine = await certificates.find(db, serial)
    if newest is None or mine is None or newest.issued_at <= mine.issued_at:
        return False
    return hub.clock.now() - newest.issued_at > SUPERSEDED_GRACE


async def _turn_away(
    hub: HubContext, verdict: Verdict, site: Site, identity: PeerIdentity, hello: link_pb2.Hello
) -> NoReturn:
    if verdict is Verdict.WAIT:
        raise Unavailable(f"an older instance of the agent of site {site.name} is still connected")
    if verdict is Verdict.SUPERSEDED:
        await report_superseded(hub, site, identity.serial)
        raise Denied(
            f"site {site.name} uses a newer certificate: this key is an old copy. "
            "Its administrator must revoke it and join again"
        )
    await _report_duplicate(hub, site, hello)
    raise Denied(
        f"site {site.name} runs in another cluster: this looks like a copy of its identity. "
        "Its administrator must revoke it and join again"
    )


async def report_superseded(hub: HubContext, site: Site, serial: str) -> None:
    """Raise an alarm: an old key of an agent was used after its newer one."""
    if not hub.fleet.is_news("superseded", site.id, serial):
        return
    async with hub.database.begin() as db:
        await record(
            hub,
            db,
            "site.superseded_key",
            f"an old certificate of site {site.name} was used: its key may have been copied",
            severity="error",
            site_id=site.id,
            facts={"serial": serial, "newest_serial": site.certificate_serial or ""},
        )


async def _admit(
    hub: HubContext,
    db: AsyncSession,
    hello: link_pb2.Hello,
    identity: PeerIdentity,
    *,
    site: Site,
    protocol: int,
) -> tuple[LiveSession, link_pb2.Welcome]:
    now = hub.clock.now()
    session_id = new_id()
    epoch = await sessions.open(
        db,
        agent_id=identity.agent_id,
        site_id=site.id,
        replica_id=hub.replica_id,
        session_id=session_id,
        instance_id=hello.instance_id,
        cluster_uid=hello.cluster_uid,
        at=now,
    )
    await _site_online(hub, db, hello, identity, site)
    session = LiveSession(
        agent_id=identity.agent_id,
        site_id=site.id,
        site_name=site.name,
        epoch=epoch,
        session_id=session_id,
        instance_id=hello.instance_id,
        serial=identity.serial,
        heard_at=hub.clock.monotonic(),
        beat_at=hub.clock.monotonic(),
        sent={ref.resource_id: ref.generation for ref in hello.documents},
        reported_digests={ref.resource_id: ref.digest for ref in hello.documents},
        spool_id=hello.spool_id,
        stalled_loops=standstill.named_in(site),
    )
    resume = await events.acked_through(db, identity.agent_id, hello.spool_id)
    return session, _welcome(hub, session, protocol, resume)


def _welcome(hub: HubContext, session: LiveSession, protocol: int, resume: int) -> link_pb2.Welcome:
    welcome = link_pb2.Welcome(
        epoch=session.epoch,
        session_id=session.session_id,
        hub_id=hub.hub_id,
        hub_version=product_version(),
        protocol=protocol,
        resume_after_seq=resume,
        heartbeat_interval_ms=int(hub.fleet.heartbeat_interval_s * 1000),
        limits=link_pb2.SessionLimits(
            max_batch_events=limits.MAX_BATCH_EVENTS,
            max_batch_bytes=limits.MAX_BATCH_BYTES,
            max_unacked_batches=limits.MAX_UNACKED_BATCHES,
        ),
        site_id=session.site_id,
        site_name=session.site_name,
    )
    welcome.sent_at.FromDatetime(hub.clock.now())
    return welcome


async def _site_online(
    hub: HubContext, db: AsyncSession, hello: link_pb2.Hello, identity: PeerIdentity, site: Site
) -> None:
    now = hub.clock.now()
    await sites.update(
        db,
        site.id,
        cluster_uid=hello.cluster_uid,
        instance_id=hello.instance_id,
        agent_version=clean_text(hello.agent_version)[:100],
        certificate_serial=identity.serial,
        last_seen_at=now,
        **_inventory_columns(hello.inventory),
    )
    # Not by what was read above: another process may be closing the session before this one.
    if await sites.set_state(db, site.id, SiteState.ONLINE, now):
        await record(hub, db, "site.online", f"site {site.name} is online", site_id=site.id)


def _inventory_columns(inventory: link_pb2.Inventory) -> dict[str, object]:
    return {
        "kubernetes_version": clean_text(inventory.kubernetes_version)[:100] or None,
        "node_count": inventory.node_count,
        "simulated": inventory.simulated,
        "inventory": {
            "default_storage_class": clean_text(inventory.default_storage_class)[:253],
            "ingress_classes": [clean_text(name)[:253] for name in inventory.ingress_classes[:50]],
            "agent_platform": clean_text(inventory.agent_platform)[:100],
        },
    }


async def _report_duplicate(hub: HubContext, site: Site, hello: link_pb2.Hello) -> None:
    if not hub.fleet.is_news("duplicate", site.id, hello.cluster_uid, hello.instance_id):
        return
    async with hub.database.begin() as db:
        await record(
            hub,
            db,
            "site.duplicate_identity",
            f"a second agent with the identity of site {site.name} was refused",
            severity="error",
            site_id=site.id,
            facts={
                "cluster_uid": hello.cluster_uid,
                "instance_id": hello.instance_id,
                "expected_cluster_uid": site.cluster_uid or "",
            },
        )


async def heartbeat(
    hub: HubContext, session: LiveSession, beat: link_pb2.Heartbeat
) -> link_pb2.HeartbeatAck:
    """Take a heartbeat: stalled loops become findings of the site."""
    session.beat_at = hub.clock.monotonic()
    names = sorted({clean_text(loop.name)[:MAX_LOOP_NAME] for loop in beat.loops if loop.stalled})
    stalled = frozenset(names[:MAX_STALLED_LOOPS]) | standstill.seen_late(hub, session)
    await standstill.note(hub, session, stalled)
    answer = link_pb2.HeartbeatAck(
        sequence=beat.sequence, next_interval_ms=int(hub.fleet.heartbeat_interval_s * 1000)
    )
    answer.sent_at.FromDatetime(hub.clock.now())
    return answer


async def note_inventory(
    hub: HubContext, session: LiveSession, inventory: link_pb2.Inventory
) -> None:
    """Keep what an agent says of its site."""
    async with hub.database.begin() as db:
        await sessions.check_epoch(db, session.agent_id, session.epoch)
        await sites.update(db, session.site_id, **_inventory_columns(inventory))


async def probe_routes(
    hub: HubContext, principal: Principal, *, site_id: str, resource_id: str, limit_s: float = 30.0
) -> command_pb2.RoutesProbed:
    """Ask an exchange's agent to try every route now."""
    principal.require(Permission.MANAGE_FEDERATIONS)
    command = command_pb2.Command(
        command_id=new_id(),
        probe_routes=command_pb2.ProbeRoutes(resource_id=resource_id),
    )
    command.deadline_at.FromDatetime(hub.clock.now() + timedelta(seconds=limit_s))
    result = await hub.fleet.command(site_id, command)
    clean(result)
    if not result.succeeded:
        raise FedError(result.message or "the site could not try the routes", code=_code(result))
    return result.routes_probed


def _code(result: command_pb2.CommandResult) -> ErrorCode:
    """Take an agent's code, unless it would speak of the caller or of the hub itself."""
    return next((code for code in _OF_A_SITE if code == result.error_code), ErrorCode.UNAVAILABLE)
