"""Small federations for the planner's tests, and a reader of the tables that it writes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from fedcore.words import ParticipantKind, Phase
from fedhub.catalogue.load import load
from fedhub.domain.federation import EXCHANGE_KEY, EXCHANGE_PARTY_ID
from fedhub.domain.models import (
    Federation,
    Participant,
    PlannedDocument,
    StoredDocument,
)
from fedhub.planner.intent import parse_intent
from fedhub.planner.plan import Member, Plan, PlanInput, Report
from fedhub.planner.routes import Address
from fedproto.agent.v1 import document_pb2 as pb

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DOMAIN = "credit-risk.example.com"
RELEASE = load().get("1.8.0", "spark-pulsar")
EXCHANGE_ID = "00-exchange"


def party_resource(party_id: int) -> str:
    return f"10-party-{party_id:06d}"


def intent_payload(
    parties: Iterable[Mapping[str, object]], exchange: Mapping[str, object] | None
) -> dict[str, object]:
    payload: dict[str, object] = {
        "kind": "Federation",
        "name": "credit-risk",
        "domain": DOMAIN,
        "parties": [{"site": f"site-{each['id']}", **each} for each in parties],
    }
    if exchange is not None:
        payload["exchange"] = {"site": "hq", **exchange}
    return payload


def report(
    participant_id: str,
    addresses: Mapping[str, tuple[str, int]] | None = None,
    resolutions: Mapping[str, str] | None = None,
    phase: Phase = Phase.READY,
    generation: int = 1,
) -> Report:
    return Report(
        participant_id=participant_id,
        addresses={role: Address(ip, ip, port) for role, (ip, port) in (addresses or {}).items()},
        resolutions=resolutions or {},
        phase=phase,
        observed_generation=generation,
        digest="",
    )


def exchange_report(ip: str = "10.0.0.1", **more: object) -> Report:
    addresses = {"ats": (ip, 30007), "nginx": (ip, 30003)}
    return report(EXCHANGE_ID, addresses, **more)  # type: ignore[arg-type]


def party_report(party_id: int, ip: str, port: int = 30109, **more: object) -> Report:
    addresses = {"pulsar": (ip, port), "nginx": (ip, 30103)}
    return report(party_resource(party_id), addresses, **more)  # type: ignore[arg-type]


def world(
    parties: Iterable[Mapping[str, object]] = (),
    *,
    exchange: Mapping[str, object] | None = (),  # type: ignore[assignment]
    reports: Iterable[Report] = (),
    charts: frozenset[str] = frozenset(),
) -> PlanInput:
    """A federation; ``exchange=None`` makes it one without."""
    intent = parse_intent(
        intent_payload(parties, None if exchange is None else dict(exchange or {}))
    )
    told = {each.participant_id: each for each in reports}
    federation = Federation(
        "fed-1",
        "credit-risk",
        DOMAIN,
        intent.release,
        {},
        revision=1,
        created_at=NOW,
        updated_at=NOW,
    )
    members = []
    if intent.exchange is not None:
        members.append(
            Member(
                Participant(
                    EXCHANGE_ID,
                    "fed-1",
                    "site-id-hq",
                    EXCHANGE_KEY,
                    ParticipantKind.EXCHANGE,
                    EXCHANGE_PARTY_ID,
                    "credit-risk/exchange",
                    intent.exchange.namespace,
                    NOW,
                ),
                intent.exchange,
                intent.exchange.site,
                told.get(EXCHANGE_ID),
                RELEASE,
            )
        )
    for party in intent.parties:
        resource = party_resource(party.id)
        participant = Participant(
            resource,
            "fed-1",
            f"site-id-{party.id}",
            str(party.id),
            ParticipantKind.CLUSTER,
            party.id,
            f"credit-risk/{party.id}",
            party.effective_namespace,
            NOW,
        )
        members.append(Member(participant, party, party.site, told.get(resource), RELEASE))
    return PlanInput(federation, intent, tuple(members), charts)


def leaving(given: PlanInput, *participant_ids: str) -> PlanInput:
    """The same federation after these participants left its intent."""
    members = tuple(
        dataclasses.replace(
            each, intent=None, participant=dataclasses.replace(each.participant, removing=True)
        )
        if each.participant.id in participant_ids
        else each
        for each in given.members
    )
    kept = tuple(
        each for each in given.intent.parties if party_resource(each.id) not in participant_ids
    )
    exchange = None if EXCHANGE_ID in participant_ids else given.intent.exchange
    intent = given.intent.model_copy(update={"parties": kept, "exchange": exchange})
    return dataclasses.replace(given, members=members, intent=intent)


def told(given: PlanInput, *reports: Report) -> PlanInput:
    """The same federation after these reports."""
    by_id = {each.participant_id: each for each in reports}
    members = tuple(
        dataclasses.replace(each, report=by_id.get(each.participant.id, each.report))
        for each in given.members
    )
    return dataclasses.replace(given, members=members)


def stored(
    documents: Iterable[PlannedDocument], before: Mapping[str, StoredDocument] | None = None
) -> dict[str, StoredDocument]:
    """Store planned documents as the hub does: a new digest is a new generation."""
    kept = dict(before or {})
    for each in documents:
        old = kept.get(each.resource_id)
        if old is not None and old.digest == each.digest:
            continue
        kept[each.resource_id] = StoredDocument(
            each.resource_id,
            each.site_id,
            each.kind,
            1 if old is None else old.generation + 1,
            each.digest,
            each.absent,
            each.spec.SerializeToString(deterministic=True),
            NOW,
        )
    return kept


def with_current(given: PlanInput, current: Mapping[str, StoredDocument]) -> PlanInput:
    return dataclasses.replace(given, current=current)


def spec_of(plan: Plan, resource_id: str) -> pb.ParticipantSpec:
    for each in plan.documents:
        if each.resource_id == resource_id:
            assert isinstance(each.spec, pb.ParticipantSpec)
            return each.spec
    raise AssertionError(f"no document of {resource_id}")


def digests(plan: Plan) -> dict[str, str]:
    return {each.resource_id: each.digest for each in plan.documents}


def table(spec: pb.ParticipantSpec, kind: int) -> dict[str, tuple[str, int]]:
    for each in spec.tables:
        if each.kind == kind:
            rows = {entry.key: (entry.host, entry.port) for entry in each.entries}
            assert len(rows) == len(each.entries), "a key stands twice"
            return rows
    raise AssertionError(f"no table {kind}")


def cluster_yaml(spec: pb.ParticipantSpec) -> dict[str, object]:
    loaded = json.loads(spec.cluster_json)
    assert isinstance(loaded, dict)
    return loaded
