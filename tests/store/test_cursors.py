from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.errors import Invalid
from fedsql.cursors import decode, encode

KINDS = [str, int, datetime]
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
moments = st.datetimes(timezones=st.just(UTC))


@given(texts, st.integers(0, 2**63 - 1), moments)
def test_a_cursor_comes_back_as_the_key_it_was_made_of(
    text: str, number: int, moment: datetime
) -> None:
    cursor = encode([text, number, moment])
    assert decode(cursor, KINDS) == [text, number, moment]
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()))
def test_whatever_comes_it_is_read_or_invalid(cursor: str) -> None:
    with suppress(Invalid):
        decode(cursor, KINDS)


def raw(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "ü",
        "a" * 3_000,
        raw({}),
        raw(7),
        raw([]),
        raw(["a", 1]),
        raw([1, 1, "2026-01-01T00:00:00+00:00"]),
        raw(["a", "1", "2026-01-01T00:00:00+00:00"]),
        raw(["a", True, "2026-01-01T00:00:00+00:00"]),
        raw(["a", -1, "2026-01-01T00:00:00+00:00"]),
        raw(["a", 2**63, "2026-01-01T00:00:00+00:00"]),
        raw(["a\x00", 1, "2026-01-01T00:00:00+00:00"]),
        raw(["\ud800", 1, "2026-01-01T00:00:00+00:00"]),
        raw(["a", 1, "2026-01-01T00:00:00"]),
        raw(["a", 1, "yesterday"]),
        raw(["a", 1, "0001-01-01T00:00:00+14:00"]),
        base64.urlsafe_b64encode(b"[" * 1_400).decode(),
    ],
)
def test_a_forged_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        decode(cursor, KINDS)
