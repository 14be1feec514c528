"""What every service needs: built once by ``fedhub.run``, handed to each call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from fedca.authority import Authority
from fedca.tokens import JoinTokens
from fedhub.catalogue.load import Catalogue
from fedhub.domain.access import Principal
from fedhub.domain.records import Event
from fedhub.fleet.documents import Notifier
from fedhub.fleet.sessions import Fleet
from fedhub.services.followers import Followers
from fedhub.services.intents import IntentCache
from fedhub.store import events
from fedhub.store.engine import Database
from fedproto.ids import Clock


@dataclass(slots=True)
class Hub:
    """The hub's parts, for services. The two addresses are known once their ports are bound."""

    hub_id: str
    replica_id: str
    database: Database
    clock: Clock
    catalogue: Catalogue
    authority: Authority
    join_tokens: JoinTokens
    fleet: Fleet
    notifier: Notifier
    link_address: str
    enrol_address: str
    lease: timedelta = field(default=timedelta(seconds=45))
    intents: IntentCache = field(default_factory=IntentCache)
    followers: Followers = field(default_factory=Followers)


async def record(  # noqa: PLR0913 - an event has this many sides
    hub: Hub,
    db: AsyncSession,
    kind: str,
    message: str,
    *,
    severity: str = "info",
    actor: Principal | None = None,
    site_id: str | None = None,
    federation_id: str | None = None,
    resource_id: str | None = None,
    operation_id: str | None = None,
    facts: dict[str, str] | None = None,
) -> Event:
    """Append an event of the hub's own in the caller's transaction."""
    now = hub.clock.now()
    return await events.append(
        db,
        Event(
            id=0,
            occurred_at=now,
            recorded_at=now,
            kind=kind,
            severity=severity,
            message=message,
            actor=actor.name if actor is not None else None,
            site_id=site_id,
            federation_id=federation_id,
            resource_id=resource_id,
            operation_id=operation_id,
            facts=facts or {},
        ),
    )


def tell_sites(hub: Hub, site_ids: Iterable[str]) -> None:
    """Tell live sessions of ``site_ids`` that documents changed; call after the commit.

    Losing this call loses nothing: the notifier's poll finds the change within two seconds.
    """
    hub.notifier.changed(frozenset(site_ids))
