"""Statuses and events in: checked, guarded by the epoch, stored once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore import limits
from fedcore.errors import Denied, Invalid
from fedcore.terminal_text import replace_unsafe
from fedcore.words import Phase, Severity
from fedhub.domain.models import Event, StoredDocument, StoredStatus
from fedhub.fleet.agent_sessions import LiveAgentSession
from fedhub.store import agent_sessions, documents, events, participants, statuses
from fedproto.agent.v1 import event_pb2, status_pb2
from fedproto.words import from_wire

MAX_SEQUENCE: Final = 2**62
_EARLIEST_S: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_LATEST_S: Final = datetime(2200, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A stored status and the one that it replaced."""

    before: StoredStatus | None
    after: StoredStatus


async def store_statuses(
    db: AsyncSession,
    session: LiveAgentSession,
    reported: Sequence[status_pb2.ResourceStatus],
    *,
    at: datetime,
) -> list[StatusChange]:
    """Store statuses in the caller's transaction; of several for one resource, the last.

    A resource whose document is gone is skipped: its agent has not yet got the word to forget it.
    What says the same as before (agents repeat all at Hello) is noted as heard again, no more.
    Raises FENCED, DENIED (a resource of another site) or INVALID (also for too many); the
    caller's transaction then stores nothing.
    """
    if len(reported) > limits.MAX_STATUSES_PER_REPORT:
        raise Invalid(f"a report holds at most {limits.MAX_STATUSES_PER_REPORT} statuses")
    await agent_sessions.check_epoch(db, session.agent_id, session.epoch)
    latest = {status.resource_id: status for status in reported}
    stored = await documents.of_resources(db, list(latest))
    await _refuse_foreign(db, session, latest, stored)
    before = await statuses.of_resources(db, list(stored))
    changes = []
    repeated: list[str] = []
    for status in latest.values():
        document = stored.get(status.resource_id)
        if document is None:
            continue
        if status.observed_generation > document.generation:
            raise Invalid("a status speaks of a generation that was never sent")
        after = _stored(session.site_id, status, at)
        old = before.get(status.resource_id)
        if old is not None and old.status == after.status:
            repeated.append(status.resource_id)
            continue
        await statuses.put(db, after)
        changes.append(StatusChange(old, after))
    await statuses.touch(db, repeated, at)
    return changes


async def _refuse_foreign(
    db: AsyncSession,
    session: LiveAgentSession,
    resource_ids: Collection[str],
    stored: Mapping[str, StoredDocument],
) -> None:
    """Raise Denied for a resource that is another site's, with or without a document."""
    owners = {document.resource_id: document.site_id for document in stored.values()}
    undocumented = [resource_id for resource_id in resource_ids if resource_id not in owners]
    if undocumented:
        owners |= await participants.sites_of_resources(db, undocumented)
    if any(site_id != session.site_id for site_id in owners.values()):
        raise Denied("a status speaks of a resource of another site")


def _stored(site_id: str, status: status_pb2.ResourceStatus, at: datetime) -> StoredStatus:
    if status.ByteSize() > limits.MAX_STATUS_BYTES:
        raise Invalid(f"a status is larger than {limits.MAX_STATUS_BYTES} bytes")
    phase = from_wire(Phase, status.phase)
    if phase is None:
        raise Invalid(f"a status has the unknown phase {status.phase}")
    # A later hub would read what this one does not know, unchecked.
    status.DiscardUnknownFields()
    clean(status)
    return StoredStatus(
        resource_id=status.resource_id,
        site_id=site_id,
        observed_generation=status.observed_generation,
        digest=status.digest,
        phase=phase,
        reason=status.reason[:100],
        message=status.message,
        since=_time(status.since, at),
        reported_at=at,
        status=status,
    )


async def store_events(
    db: AsyncSession, session: LiveAgentSession, batch: event_pb2.EventBatch, *, at: datetime
) -> int:
    """Store a batch once, in the caller's transaction, and return the sequence reached.

    Raises FENCED, or INVALID for a batch that is too large, not in order or leaves a gap. An event
    that is too large is cut, with a mark.
    """
    await agent_sessions.check_epoch(db, session.agent_id, session.epoch)
    if not batch.spool_id or batch.spool_id != session.spool_id:
        raise Invalid("the batch is of another spool than Hello's")
    if len(batch.events) > limits.MAX_BATCH_EVENTS:
        raise Invalid(f"a batch holds at most {limits.MAX_BATCH_EVENTS} events")
    if batch.ByteSize() > limits.MAX_BATCH_WIRE_BYTES:
        raise Invalid(f"a batch holds at most {limits.MAX_BATCH_BYTES} bytes of events")
    reached = await events.acked_through(db, session.agent_id, batch.spool_id)
    sequences = [event.seq for event in batch.events]
    if not sequences:
        return reached
    if sequences != list(range(sequences[0], sequences[0] + len(sequences))) or not sequences[0]:
        raise Invalid("the events of a batch must be consecutive, from 1")
    if sequences[0] > reached + 1:
        raise Invalid(f"events {reached + 1} to {sequences[0] - 1} are missing")
    if sequences[-1] > MAX_SEQUENCE:
        raise Invalid("the sequence of an event is too large")
    federations = await _federations(db, session, batch)
    fresh = [
        _event(session, batch.spool_id, event, federations.get(event.resource_id[:64]), at)
        for event in batch.events
        if event.seq > reached
    ]
    await events.append_from_agent(db, session.agent_id, batch.spool_id, fresh)
    return max(reached, sequences[-1])


async def _federations(
    db: AsyncSession, session: LiveAgentSession, batch: event_pb2.EventBatch
) -> dict[str, str | None]:
    """Map the resources that the events name to their federations; refuse another site's."""
    named = {event.resource_id[:64] for event in batch.events if event.resource_id}
    federations: dict[str, str | None] = {}
    for resource_id in sorted(named):
        row = await participants.find(db, resource_id)
        owner = row.site_id if row is not None else await _owner(db, resource_id)
        if owner is not None and owner != session.site_id:
            raise Denied("an event speaks of a resource of another site")
        federations[resource_id] = (
            row.federation_id
            if row is not None
            # Its last words may come when it is forgotten: earlier events say whose it was.
            else await events.federation_of(db, resource_id, session.site_id)
        )
    return federations


async def _owner(db: AsyncSession, resource_id: str) -> str | None:
    """Return the site of an endpoint, or of a document that outlives its resource."""
    owner = await participants.site_of_resource(db, resource_id)
    if owner is not None:
        return owner
    document = await documents.get(db, resource_id)
    return document.site_id if document is not None else None


def _event(
    session: LiveAgentSession,
    spool_id: str,
    event: event_pb2.Event,
    federation_id: str | None,
    at: datetime,
) -> Event:
    clean(event)
    facts = dict(event.facts)
    if event.generation:
        facts["generation"] = str(event.generation)
    message = _clip(event.message, limits.MAX_EVENT_MESSAGE_CHARS)
    return Event(
        id=0,
        occurred_at=_time(event.occurred_at, at),
        recorded_at=at,
        kind=event.kind[:100] or "site.event",
        severity=from_wire(Severity, event.severity) or Severity.INFO,
        message=message,
        site_id=session.site_id,
        federation_id=federation_id,
        resource_id=event.resource_id[:64] or None,
        facts=_cut_facts(facts, limits.MAX_EVENT_BYTES - len(message.encode())),
        spool_id=spool_id,
        seq=event.seq,
    )


def _cut_facts(facts: Mapping[str, str], room_bytes: int) -> dict[str, str]:
    """Clean facts and keep the first that fit; what is cut is marked, as the agent does itself."""
    kept: dict[str, str] = {}
    for key, value in sorted(facts.items()):
        name, text = clean_text(key), clean_text(value)
        room_bytes -= len(name.encode()) + len(text.encode())
        if len(kept) == limits.MAX_EVENT_FACTS or room_bytes < 0:
            return kept | {"cut": "facts exceeded the limit"}
        kept[name] = text
    return kept


def _time(stated: Timestamp, at: datetime) -> datetime:
    """Take a site's time, unless it is unset or nonsense; the hub's own is recorded beside it."""
    return stated.ToDatetime(UTC) if _is_sane(stated) else at


def _is_sane(stated: Timestamp) -> bool:
    """Return whether a time is one that sites can mean, and that ``ToDatetime`` can take."""
    return _EARLIEST_S < stated.seconds < _LATEST_S and 0 <= stated.nanos < 10**9


def clean_text(text: str) -> str:
    """Make a site's text harmless for terminals and logs, and clip it to MAX_TEXT_CHARS."""
    # Clipped first: to look at each character of a message's worth of text takes too long.
    return replace_unsafe(_clip(text, limits.MAX_TEXT_CHARS))


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean(message: Message) -> None:
    """Apply ``clean_text`` to every text field of a message, at every depth; maps are left.

    A time that is nonsense, and a word that this hub does not know (its agent may be newer), are
    taken out: no later reader of the stored message can take them.
    """
    for descriptor, value in message.ListFields():
        if descriptor.type == FieldDescriptor.TYPE_ENUM:
            words = descriptor.enum_type
            if words is None or value not in words.values_by_number:
                message.ClearField(descriptor.name)
        elif descriptor.type == FieldDescriptor.TYPE_STRING:
            if descriptor.is_repeated:
                value[:] = [clean_text(text) for text in value]
            else:
                setattr(message, descriptor.name, clean_text(value))
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            nested = descriptor.message_type
            if nested is not None and nested.GetOptions().map_entry:
                continue
            if isinstance(value, Timestamp) and not _is_sane(value):
                message.ClearField(descriptor.name)
                continue
            for part in value if descriptor.is_repeated else (value,):
                clean(part)
