"""What a person at the site is told who approves something."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fedagent.journal import open_journal
from fedagent.journal.approvals import Wanted
from fedagent.run import approve, list_approvals
from fedagent.settings import AgentSettings
from fedcore.clock import SystemClock

ASKED_AT = datetime(2026, 1, 1, tzinfo=UTC)


async def test_approving_twice_says_who_did_it_first_and_when(tmp_path: Path) -> None:
    settings = AgentSettings(state=tmp_path)
    async with open_journal(settings.journal_path, clock=SystemClock()) as journal:
        approval_id = await journal.approvals.ask(
            Wanted("p-1", 1, "sha"), "install", summary="making namespace x", at=ASKED_AT
        )

    assert await approve(settings, approval_id, by="ada") == "approved: making namespace x"
    again = await approve(settings, approval_id, by="bob")

    assert again.startswith("approved already by ada on 20")
    assert again.endswith("UTC: making namespace x")
    async with open_journal(settings.journal_path, clock=SystemClock()) as journal:
        (item,) = await journal.approvals.all()
    assert item.approved_by == "ada"
    assert await list_approvals(settings) == ["nothing waits for you"]
