"""The filter by phase is the filter of the full list: SQL and Python decide by the same rules."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

from tests.contract.store.rows import (
    NOW,
    a_document,
    a_federation,
    a_participant,
    a_site,
    a_status,
)

from fedcore.words import Phase
from fedhub.domain.access import EVERYTHING
from fedhub.domain.phases import SiteState
from fedhub.services.resources import participant_status
from fedhub.store import documents, federations, participants, sites, statuses
from fedhub.store.participants import ParticipantRow
from fedsql.engine import Database

STATES = (SiteState.ONLINE, SiteState.OFFLINE)
WAITING = (None, "", "ExchangeHasNoAddress")
REPORTS = (None, *Phase)
SEED = 20_261_130
BATCH = 100
"""Rows of one transaction: its limit must not be reached on a loaded machine."""


async def populate(database: Database) -> int:
    """Store a participant for each combination of what the rules ask."""
    cases = list(itertools.product(STATES, WAITING, (False, True), (0, 1, 2), REPORTS))
    random.Random(SEED).shuffle(cases)
    async with database.begin() as db:
        await federations.add(db, a_federation())
        for state in STATES:
            await sites.add(db, a_site(state.lower(), state=state))
    numbered = list(enumerate(cases, 1))
    for start in range(0, len(numbered), BATCH):
        await add(database, numbered[start : start + BATCH])
    return len(cases)


async def add(database: Database, cases: list[tuple[int, tuple[Any, ...]]]) -> None:
    async with database.begin() as db:
        for number, (state, waiting, removing, generation, phase) in cases:
            row = a_participant(
                number,
                site_id=f"site-{state.lower()}",
                removing=removing,
                waiting_reason=waiting,
                waiting_message=waiting,
            )
            await participants.add(db, row)
            for stored in range(1, generation + 1):
                document = a_document(row.id, site_id=row.site_id, digest=f"d{stored}")
                await documents.put(db, document, NOW)
            if phase is not None:
                await statuses.put(db, a_status(row.id, site_id=row.site_id, phase=phase))


async def pages(database: Database, *, limit: int, phase: Phase | None) -> list[ParticipantRow]:
    rows: list[ParticipantRow] = []
    cursor = None
    async with database.read() as db:
        while True:
            page = await participants.list_page(
                db, EVERYTHING, phase=phase, cursor=cursor, limit=limit
            )
            assert len(page.items) == limit or page.next_cursor is None, "pages are full"
            rows += page.items
            cursor = page.next_cursor
            if cursor is None:
                return rows


async def test_a_filter_by_phase_finds_what_the_full_list_shows(database: Database) -> None:
    count = await populate(database)
    full = await pages(database, limit=1_000, phase=None)
    assert len(full) == count
    shown = {row.id: participant_status(row).phase for row in full}
    found = {phase: await pages(database, limit=37, phase=phase) for phase in Phase}
    for phase, rows in found.items():
        assert [row.id for row in rows] == [row.id for row in full if shown[row.id] is phase]
    assert sum(len(rows) for rows in found.values()) == count
    assert {Phase.UNKNOWN, Phase.DRAFT, Phase.WAITING, Phase.RECONFIGURING} <= {
        phase for phase, rows in found.items() if rows
    }


async def test_a_row_that_changes_moves_between_filters(database: Database) -> None:
    async with database.begin() as db:
        await federations.add(db, a_federation())
        await sites.add(db, a_site("alpha", state=SiteState.ONLINE))
        await participants.add(db, a_participant())
        await documents.put(db, a_document(), NOW)
        await statuses.put(db, a_status())
    (row,) = await pages(database, limit=5, phase=Phase.READY)
    async with database.begin() as db:
        await sites.set_state(db, "site-alpha", SiteState.OFFLINE, NOW)
    assert await pages(database, limit=5, phase=Phase.READY) == []
    (lost,) = await pages(database, limit=5, phase=Phase.UNKNOWN)
    assert lost == replace(row, site_state=SiteState.OFFLINE)
