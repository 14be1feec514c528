"""What every service needs: built once by ``fedhub.run``, handed to each call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from fedca.authority import Authority
from fedca.tokens import JoinTokens
from fedcore.clock import Clock
from fedhub.catalogue.load import Catalogue
from fedhub.fleet.documents import Notifier
from fedhub.fleet.sessions import SessionRegistry
from fedhub.services.intents import IntentCache
from fedhub.services.stream_slots import StreamSlots
from fedsql.engine import Database


@dataclass(slots=True)
class HubContext:
    """The hub's parts, for services. The two addresses are known once their ports are bound."""

    hub_id: str
    replica_id: str
    database: Database
    clock: Clock
    catalogue: Catalogue
    authority: Authority
    join_tokens: JoinTokens
    fleet: SessionRegistry
    notifier: Notifier
    link_address: str
    enrol_address: str
    lease: timedelta = field(default=timedelta(seconds=45))
    intents: IntentCache = field(default_factory=IntentCache)
    stream_slots: StreamSlots = field(default_factory=StreamSlots)


def notify_sites(hub: HubContext, site_ids: Iterable[str]) -> None:
    """Tell live sessions of ``site_ids`` that documents changed; call after the commit.

    Losing this call loses nothing: the notifier's poll finds the change within two seconds.
    """
    hub.notifier.changed(frozenset(site_ids))
