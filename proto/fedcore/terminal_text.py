"""Text of strangers made harmless for terminals and logs.

Unsafe are the characters that draw nothing themselves: control characters, which a terminal obeys,
format characters, which hide or reorder what stands around them, line and paragraph separators,
halves of surrogate pairs, and code points that are private or unassigned. Blanks are safe, also
those of other scripts (U+3000), which ``str.isprintable`` refuses.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_BLANK: Final = "Zs"


def is_safe(text: str) -> bool:
    """Return whether a terminal shows every character of a text; line feeds are allowed."""
    one_line = text.replace("\n", "")
    return one_line.isprintable() or all(map(_is_safe, one_line))


def escape(value: object) -> str:
    """Return a value as text of one line, with unsafe characters as Python's escapes."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if _is_safe(char) else _escaped(char) for char in text)


def replace_unsafe(text: str) -> str:
    """Return a text with U+FFFD in place of every unsafe character but line feeds."""
    if text.isprintable():
        return text
    return "".join(
        char if char == "\n" or _is_safe(char) else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _is_safe(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == _BLANK


def _escaped(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:  # noqa: PLR2004 - one byte
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - two bytes
