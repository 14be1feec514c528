"""Force removal: forget what is at a site that never comes back, and name it for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Conflict
from fedhub.domain.access import Permission, Principal, authorize, of_participant
from fedhub.domain.models import Participant, Site
from fedhub.domain.phases import SiteState
from fedhub.planner.documents import stored_spec
from fedhub.services import operations as operation_service
from fedhub.services.certificates import revoke_of_gone
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.events import record
from fedhub.services.intents import Unplannable
from fedhub.services.membership import drop_if_empty
from fedhub.services.participants import forget, unknown
from fedhub.services.planning import load_plan_input, replan
from fedhub.store import documents, federations, participants, sites, statuses
from fedproto.agent.v1 import document_pb2

LOST: Final = frozenset({SiteState.OFFLINE, SiteState.REVOKED})


@dataclass(frozen=True, slots=True)
class Leftovers:
    """A participant that was given up, and what of it may be at its site still."""

    participant: str
    site: str
    namespace: str
    leftovers: tuple[str, ...]


async def force_remove(hub: HubContext, principal: Principal, name: str) -> tuple[Leftovers, ...]:
    """Forget a participant that is being removed at a site that is Offline or Revoked.

    Nothing is done at the site. Should it come back, its agent is told to forget the participant
    and touches it no more. Returns more than one where two with the name are going. NotFound for a
    name that nobody has, Conflict where it can still be removed.
    """
    async with hub.database.begin() as db:
        lost = await _lost(db, principal, name)
        leftovers = [
            await _remove(hub, db, principal, participant, site) for participant, site in lost
        ]
        site_ids = await _follow(hub, db, lost[0][0].federation_id)
    notify_sites(hub, site_ids | {site.id for _, site in lost})
    for _, site in lost:
        await revoke_of_gone(hub, site.id)
    return tuple(leftovers)


async def _lost(
    db: AsyncSession, principal: Principal, name: str
) -> list[tuple[Participant, Site]]:
    """Return those called ``name`` that may be given up; raise where there are none."""
    named = await participants.called(db, name)
    if not named:
        raise unknown(name)
    for participant in named:
        authorize(principal, Permission.MANAGE_FEDERATIONS, of_participant(participant))
    await federations.lock(db, named[0].federation_id)
    # Read again: they may have changed while the lock was awaited.
    removing = [row for row in await participants.called(db, name) if row.removing]
    if not removing:
        raise Conflict(
            f"{name} is not being removed: take it out of its federation's file and apply it first"
        )
    placed = [(row, await sites.get(db, row.site_id)) for row in removing]
    lost = [(row, site) for row, site in placed if site.state in LOST]
    if not lost:
        site = placed[0][1]
        raise Conflict(
            f"site {site.name} is {site.state.value}: {name} can be removed properly. Only at a "
            f"site that is Offline or Revoked is it given up; `fedctl site revoke {site.name}` if "
            "it never comes back"
        )
    return lost


async def _remove(
    hub: HubContext, db: AsyncSession, principal: Principal, row: Participant, site: Site
) -> Leftovers:
    leftovers = Leftovers(row.name, site.name, row.namespace, await _remnants(db, row))
    await forget(hub, db, row)
    await record(
        hub,
        db,
        "participant.force_removed",
        f"{principal.name} gave {row.name} up at site {site.name} ({site.state.value}); "
        f"there may be left: {', '.join(leftovers.leftovers)}",
        severity="warning",
        actor=principal,
        site_id=site.id,
        federation_id=row.federation_id,
        resource_id=row.id,
        facts={"site": site.name, "namespace": row.namespace},
    )
    return leftovers


async def _remnants(db: AsyncSession, row: Participant) -> tuple[str, ...]:
    """List what was made for a participant, and what its site said is left over."""
    left = [f"Namespace/{row.namespace}"]
    document = await documents.get(db, row.id)
    spec = None if document is None else stored_spec(document)
    if isinstance(spec, document_pb2.ParticipantSpec):
        left.append(f"HelmRelease/{spec.release_name}")
        left += [f"Secret/{wish.secret_name}" for wish in spec.certificates]
    status = await statuses.get(db, row.id)
    if status is not None:
        left += status.status.leftovers
    return tuple(dict.fromkeys(left))


async def _follow(hub: HubContext, db: AsyncSession, federation_id: str) -> frozenset[str]:
    """Continue what waited for it: the exchange's removal, or the end of the federation."""
    if await drop_if_empty(hub, db, federation_id):
        return frozenset()
    try:
        plan_input = await load_plan_input(hub, db, await federations.get(db, federation_id))
    except Unplannable:
        # Its documents stay as they are until a corrected file is applied.
        return frozenset()
    replanned = await replan(hub, db, plan_input)
    await operation_service.follow_changes(db, federation_id, replanned.changed)
    return replanned.site_ids()
