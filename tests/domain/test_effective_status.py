"""What people are shown of a resource whose document and report are not of one generation."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from fedcore.words import Phase
from fedhub.domain.effective_status import StatusInputs, effective_status
from fedhub.domain.phases import SiteState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KNOWN = StatusInputs(
    site="alpha",
    site_state=SiteState.ONLINE,
    created_at=NOW,
    removing=False,
    waiting_reason=None,
    waiting_message=None,
    generation=3,
    phase=Phase.READY,
    reason="Ready",
    message="",
    since=NOW,
    observed_generation=2,
    reported_at=NOW,
)


@pytest.mark.parametrize("phase", [Phase.READY, Phase.FAILED, Phase.REFUSED])
def test_an_end_of_an_older_generation_is_none_of_the_newer(phase: Phase) -> None:
    shown = effective_status(dataclasses.replace(KNOWN, phase=phase))
    assert (shown.phase, shown.reason) == (Phase.RECONFIGURING, "NewGeneration")


@pytest.mark.parametrize("phase", [Phase.REMOVING, Phase.GONE])
def test_a_removal_of_an_older_generation_is_one_that_was_taken_back(phase: Phase) -> None:
    shown = effective_status(dataclasses.replace(KNOWN, phase=phase))
    assert (shown.phase, shown.reason) == (Phase.RECONFIGURING, "TakenBack")


@pytest.mark.parametrize("phase", [Phase.REMOVING, Phase.READY, Phase.REFUSED])
def test_what_is_being_removed_is_shown_so_whatever_was_reported(phase: Phase) -> None:
    shown = effective_status(dataclasses.replace(KNOWN, phase=phase, removing=True))
    assert shown.phase is Phase.REMOVING


def test_a_report_of_the_present_generation_is_shown_as_it_is() -> None:
    known = dataclasses.replace(KNOWN, phase=Phase.REFUSED, observed_generation=3)
    assert effective_status(known).phase is Phase.REFUSED
