from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedcore import limits
from fedcore.terminal_text import is_safe
from fedhub.fleet.ingest import clean, clean_text
from fedproto.agent.v1 import status_pb2


@given(st.text())
def test_cleaned_text_holds_no_control_characters_and_stays_in_bounds(text):
    cleaned = clean_text(text)
    assert is_safe(cleaned)
    assert len(cleaned) <= limits.MAX_TEXT_CHARS + 1
    assert clean_text(cleaned)[: limits.MAX_TEXT_CHARS] == cleaned[: limits.MAX_TEXT_CHARS]


def test_cleaning_reaches_every_text_of_a_status():
    bell = "a\x1b[31m\x07b"
    status = status_pb2.ResourceStatus(message=bell, leftovers=[bell])
    status.steps.add(name=bell, message=bell)
    status.findings.add(code=bell, hint=bell)
    status.job.job_id = bell
    clean(status)
    assert "\x1b" not in str(status.SerializeToString())
    assert b"\x1b" not in status.SerializeToString()
    assert b"\x07" not in status.SerializeToString()
