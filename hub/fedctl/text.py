"""Text of strangers made harmless, and times as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fedctl.errors import CliError, ExitCode

_DANGEROUS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, and those that hide or reorder text on a terminal."""
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_MAX_DURATION: Final = 12
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def clean(value: object) -> str:
    """Return text for a terminal: control characters appear as escapes, on one line."""
    return _DANGEROUS.sub(_escape, str(value))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def is_clean(text: str) -> bool:
    """Tell whether a text of several lines can go to a terminal as it is."""
    return _DANGEROUS.search(text.replace("\n", "")) is None


def moment_of(value: Any) -> datetime | None:
    """Read an RFC 3339 time of the hub; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def ago(value: Any, now: datetime) -> str:
    """Return how long ago a time was, as kubectl writes ages; empty when there is none."""
    moment = moment_of(value)
    if moment is None:
        return ""
    return span((now - moment).total_seconds())


def until(value: Any, now: datetime) -> str:
    """Return how long until a time; ``expired`` when it is over."""
    moment = moment_of(value)
    if moment is None:
        return ""
    left = (moment - now).total_seconds()
    return span(left) if left > 0 else "expired"


def span(seconds: float) -> str:
    """Return a duration in at most two units: 42s, 3m20s, 5h, 12d."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if whole < _DAY:
        hours, rest = divmod(whole, _HOUR)
        return f"{hours}h{rest // _MINUTE}m" if rest >= _MINUTE else f"{hours}h"
    return f"{whole // _DAY}d"


def seconds_of(text: str, option: str) -> int:
    """Read a duration such as 90, 90s, 15m, 1h30m or 30d; raise CliError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()) or len(text) > _MAX_DURATION:
        raise CliError(
            ExitCode.USAGE, f"{option} {text!r} is no duration", hint="write 90s, 15m, 1h30m or 30d"
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return int(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds())
