"""One life cycle of an agent's session: opened, kept alive, closed; its site's state follows.

=================  ===========================  =====================================  ==========
what happens       in SQL (one transaction)     in memory                              the site
=================  ===========================  =====================================  ==========
Hello, admitted    epoch + 1, connected         registered; an older stream is fenced  Online
Hello, refused     nothing but an alert         nothing                                as it was
any frame          by the next flush: last seen heard                                  as it was
a heartbeat        findings, where they change  heartbeat                              as it was
an inventory       the site's columns           nothing                                as it was
the stream ends    not connected, if the epoch  unregistered, commands fail            Disconnected
                   is still the newest
=================  ===========================  =====================================  ==========

The epoch decides between two sessions of one agent, wherever they live: every write of a session
carries it, and the older one's writes are refused. So a close that comes late, or from another
replica, cannot undo a newer session. Who may open a session is ``fleet.admission``'s table; what
becomes of sessions that nobody closes is in ``services.liveness``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore import limits
from fedcore.errors import Denied, Unavailable
from fedcore.ids import new_id
from fedcore.version import product_version
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedhub.fleet.admission import PeerIdentity, Verdict, check_hello, decide_admission
from fedhub.fleet.agent_sessions import LiveAgentSession
from fedhub.fleet.document_cursor import DocumentCursor
from fedhub.fleet.frame_stream import FrameStream
from fedhub.fleet.ingest import clean_text
from fedhub.fleet.liveness import Liveness, Loop
from fedhub.fleet.rate_limit import frame_rate
from fedhub.services.agent_identity import is_superseded, report_duplicate, report_superseded
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import agent_sessions, events, sites
from fedproto.agent.v1 import link_pb2

MAX_STALLED_LOOPS: Final = 20
MAX_LOOP_NAME: Final = 150
LOOP_STALLED: Final = "LoopStalled"
"""Code of the finding that names a loop."""
HEARTBEATS: Final = "link.heartbeats"
_MESSAGES: Final[Mapping[str, str]] = {
    HEARTBEATS: "no heartbeat of the agent comes, though its connection stands",
    Loop.READ: "the hub has been at one message of the agent for too long",
    Loop.DOCUMENTS: "the hub has been sending documents to the agent for too long",
}
_HINTS: Final[Mapping[str, str]] = dict.fromkeys(
    Loop, "read the hub's log; the connection is made anew by itself"
)


async def open_session(
    hub: HubContext, hello: link_pb2.Hello, identity: PeerIdentity
) -> tuple[LiveAgentSession, link_pb2.Welcome]:
    """Admit an agent: a new epoch, the site online, and what to go on from.

    Raises Denied for a copy of an identity (and records it), Unavailable where an older instance
    still lives, PRECONDITION_FAILED for a protocol that this hub does not speak.
    """
    protocol = check_hello(hello)
    timing = hub.timing
    async with hub.database.begin() as db:
        site = await sites.find(db, identity.site_id)
        if site is None:
            raise Denied("this site was deleted; ask for a new invitation")
        verdict = decide_admission(
            hello,
            identity,
            site,
            hub.registry.current_session(identity.agent_id),
            alive_limit_s=timing.heartbeat_interval_s + timing.admission_probe_s,
            is_superseded=await is_superseded(hub, db, site, identity.serial),
        )
        admitted = None
        if verdict is Verdict.ADMIT:
            admitted = await _admit(hub, db, hello, identity, site=site, protocol=protocol)
    if admitted is None:
        # An alert is stored by itself: of a refused Hello nothing else is.
        await _refuse(hub, verdict, site, identity, hello)
    # After the commit: a session that is not in SQL must not be served.
    hub.registry.register(admitted[0])
    return admitted


async def _refuse(
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
    await report_duplicate(hub, site, hello)
    raise Denied(
        f"site {site.name} runs in another cluster: this looks like a copy of its identity. "
        "Its administrator must revoke it and join again"
    )


async def _admit(
    hub: HubContext,
    db: AsyncSession,
    hello: link_pb2.Hello,
    identity: PeerIdentity,
    *,
    site: Site,
    protocol: int,
) -> tuple[LiveAgentSession, link_pb2.Welcome]:
    session_id = new_id()
    epoch = await agent_sessions.open(
        db,
        agent_id=identity.agent_id,
        site_id=site.id,
        replica_id=hub.replica_id,
        session_id=session_id,
        instance_id=hello.instance_id,
        cluster_uid=hello.cluster_uid,
        at=hub.clock.now(),
    )
    await _set_online(hub, db, hello, identity, site)
    session = LiveAgentSession(
        agent_id=identity.agent_id,
        site_id=site.id,
        site_name=site.name,
        epoch=epoch,
        session_id=session_id,
        instance_id=hello.instance_id,
        serial=identity.serial,
        spool_id=hello.spool_id,
        stream=FrameStream(
            epoch=epoch, site_name=site.name, full_limit_s=hub.timing.slow_reader_limit_s
        ),
        documents=DocumentCursor(hello.documents),
        liveness=Liveness(hub.clock),
        frame_rate=frame_rate(hub.clock),
        stalled_loops=loops_named_in(site),
    )
    resume = await events.acked_through(db, identity.agent_id, hello.spool_id)
    return session, _welcome(hub, session, protocol, resume)


def _welcome(
    hub: HubContext, session: LiveAgentSession, protocol: int, resume: int
) -> link_pb2.Welcome:
    welcome = link_pb2.Welcome(
        epoch=session.epoch,
        session_id=session.session_id,
        hub_id=hub.hub_id,
        hub_version=product_version(),
        protocol=protocol,
        resume_after_seq=resume,
        heartbeat_interval_ms=_heartbeat_interval_ms(hub),
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


def _heartbeat_interval_ms(hub: HubContext) -> int:
    return round(hub.timing.heartbeat_interval_s * 1000)


async def _set_online(
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


async def note_inventory(
    hub: HubContext, session: LiveAgentSession, inventory: link_pb2.Inventory
) -> None:
    """Keep what an agent says of its site."""
    async with hub.database.begin() as db:
        await agent_sessions.check_epoch(db, session.agent_id, session.epoch)
        await sites.update(db, session.site_id, **_inventory_columns(inventory))


async def heartbeat(
    hub: HubContext, session: LiveAgentSession, beat: link_pb2.Heartbeat
) -> link_pb2.HeartbeatAck:
    """Take a heartbeat: loops that stand still become findings of the site, others go."""
    session.liveness.note_heartbeat()
    names = sorted({clean_text(loop.name)[:MAX_LOOP_NAME] for loop in beat.loops if loop.stalled})
    stalled = frozenset(names[:MAX_STALLED_LOOPS]) | late_loops(hub, session)
    await note_stalled_loops(hub, session, stalled)
    answer = link_pb2.HeartbeatAck(
        sequence=beat.sequence, next_interval_ms=_heartbeat_interval_ms(hub)
    )
    answer.sent_at.FromDatetime(hub.clock.now())
    return answer


def late_loops(hub: HubContext, session: LiveAgentSession) -> frozenset[str]:
    """Return the loops of a session that stand still as the hub itself sees it."""
    busy_s = session.liveness.busy_s
    late = {str(loop) for loop, at_work_s in busy_s.items() if at_work_s > hub.timing.work_limit_s}
    # While the hub is at one message, a heartbeat may be waiting behind it: no fault of the agent.
    is_reading = Loop.READ not in busy_s
    if is_reading and session.liveness.without_heartbeat_s > hub.timing.late_heartbeat_s:
        late.add(HEARTBEATS)
    return frozenset(late)


def loops_named_in(site: Site) -> frozenset[str]:
    """Return the loops that a site's findings name.

    They hold across a new session, until its first heartbeat says otherwise: an agent that hangs
    again in each session stays named.
    """
    return frozenset(
        finding["object"].removeprefix("loop/")
        for finding in site.findings
        if finding.get("code") == LOOP_STALLED
    )


async def note_stalled_loops(
    hub: HubContext, session: LiveAgentSession, stalled: frozenset[str]
) -> None:
    """Make the findings of a session's site name these loops and no others."""
    if stalled == session.stalled_loops:
        return
    async with hub.database.begin() as db:
        await agent_sessions.check_epoch(db, session.agent_id, session.epoch)
        findings = tuple(_finding(name) for name in sorted(stalled))
        await sites.update(db, session.site_id, findings=findings)
        await record(
            hub,
            db,
            "site.loop_stalled" if stalled else "site.loop_recovered",
            f"loops of the agent of {session.site_name} that stand still: "
            + (", ".join(sorted(stalled)) or "none"),
            severity="error" if stalled else "info",
            site_id=session.site_id,
        )
    session.stalled_loops = stalled


def _finding(loop: str) -> dict[str, str]:
    own_loop = f"the agent's loop {loop} has stopped while the agent is alive"
    return {
        "code": LOOP_STALLED,
        "severity": "error",
        "message": _MESSAGES.get(loop, own_loop),
        "hint": _HINTS.get(loop, "read the agent's log; restart the agent if it does not recover"),
        "object": f"loop/{loop}",
    }


async def close_session(hub: HubContext, session: LiveAgentSession) -> None:
    """Note that a stream ended: the site is Disconnected, unless a newer session took over."""
    if not hub.registry.unregister(session) or hub.registry.is_draining:
        # While the hub stops, ``liveness.stop`` gives up all sessions at once.
        return
    silence = timedelta(seconds=session.liveness.silent_s)
    async with hub.database.begin() as db:
        # The lease runs from when the agent was last heard, not from when its stream broke.
        heard_at = hub.clock.now() - silence
        if await agent_sessions.close(db, session.agent_id, session.epoch, heard_at):
            await note_disconnected(hub, db, session.site_id)


async def note_disconnected(hub: HubContext, db: AsyncSession, site_id: str) -> None:
    """Show a site as Disconnected, with its event, unless it is so already or worse."""
    if not await sites.set_state(db, site_id, SiteState.DISCONNECTED, hub.clock.now()):
        return
    site = await sites.get(db, site_id)
    await record(
        hub,
        db,
        "site.disconnected",
        f"site {site.name} lost its connection",
        severity="warning",
        site_id=site_id,
    )
