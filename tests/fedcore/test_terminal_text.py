from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.terminal_text import escape, is_safe, replace_unsafe

UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ("\x1b[31m\x07", "\\x1b[31m\\x07"),
        ("a\nb", "a\\x0ab"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u061c\u2066", "\\u061c\\u2066"),
        ("\U000e0041", "\\U000e0041"),
        ("证书已过期\u3000ok", "证书已过期\u3000ok"),
        (404, "404"),
        (None, "None"),
    ],
)
def test_unsafe_characters_are_written_as_escapes(text, escaped):
    assert escape(text) == escaped


@given(st.text())
def test_nothing_unsafe_is_left(text):
    for made_safe in (escape(text), replace_unsafe(text)):
        assert is_safe(made_safe)
        categories = {unicodedata.category(char) for char in made_safe if char != "\n"}
        assert not categories & UNSAFE_CATEGORIES
    assert "\n" not in escape(text)
    assert len(replace_unsafe(text)) == len(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"])))
def test_text_that_is_safe_stays_itself(text):
    assert is_safe(text)
    assert escape(text) == replace_unsafe(text) == text
