"""The wait grows with each failure of one kind of action, and of that kind alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fedagent.domain.action_backoff import HUB_UNAVAILABLE, ActionBackoff
from fedagent.domain.decision import EnsureNamespace, UploadChart

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = UploadChart()


def fail(backoff: ActionBackoff, reason: str = "ChartInvalid") -> float:
    failure = backoff.note_failure(UPLOAD, reason=reason, message="no", now=NOW)
    return (failure.retry_at - NOW).total_seconds()


def test_the_last_wait_repeats_and_a_success_begins_anew() -> None:
    backoff = ActionBackoff((1.0, 5.0))
    assert [fail(backoff) for _ in range(4)] == [1.0, 5.0, 5.0, 5.0]
    backoff.note_success(UPLOAD)
    assert backoff.last_failure(UPLOAD) is None
    assert fail(backoff) == 1.0


def test_another_kind_of_action_does_not_wait() -> None:
    backoff = ActionBackoff((10.0,))
    fail(backoff)
    assert not backoff.is_due(UPLOAD, NOW)
    assert backoff.is_due(UPLOAD, NOW + timedelta(seconds=10))
    assert backoff.is_due(EnsureNamespace(), NOW)


def test_only_what_failed_for_lack_of_the_hub_is_tried_when_it_is_back() -> None:
    backoff = ActionBackoff((10.0,))
    fail(backoff)
    assert not backoff.forget_hub_failures()
    fail(backoff, HUB_UNAVAILABLE)
    assert backoff.forget_hub_failures()
    assert backoff.is_due(UPLOAD, NOW)
