"""The hub's parts, made once by ``fedhub.run`` and handed to each service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fedca.authority import Authority
from fedca.tokens import JoinTokens
from fedcore.clock import Clock
from fedhub.catalogue.load import Catalogue
from fedhub.fleet.agent_sessions import SessionRegistry
from fedhub.fleet.alerts import AlertThrottle
from fedhub.fleet.documents import Notifier
from fedhub.fleet.rate_limit import EventRateLimiter
from fedhub.instruments import Instruments
from fedhub.services.event_feed import EventFeed
from fedhub.services.intents import IntentCache
from fedhub.services.stream_slots import StreamSlots
from fedhub.timing import HubTiming
from fedsql.engine import Database


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where agents reach the hub, ``host:port``; known once its ports are bound."""

    link: str
    enrol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubContext:
    """What services work with."""

    hub_id: str
    replica_id: str
    addresses: Addresses
    database: Database
    clock: Clock
    timing: HubTiming
    instruments: Instruments
    catalogue: Catalogue
    authority: Authority
    join_tokens: JoinTokens
    registry: SessionRegistry
    notifier: Notifier
    alerts: AlertThrottle
    event_rates: EventRateLimiter
    event_feed: EventFeed
    intents: IntentCache = field(default_factory=IntentCache)
    stream_slots: StreamSlots = field(default_factory=StreamSlots)


def notify_sites(hub: HubContext, site_ids: Iterable[str]) -> None:
    """Let live sessions of ``site_ids`` look for changed documents; call after the commit.

    Losing this call loses nothing: the notifier's poll finds the change soon.
    """
    hub.notifier.mark_stale(frozenset(site_ids))
