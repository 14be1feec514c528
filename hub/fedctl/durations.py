"""Times and durations as people read and write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fedctl.errors import CliError, ExitCode

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_MAX_DURATION_CHARS: Final = 12
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


def parse_time(value: Any) -> datetime | None:
    """Read an RFC 3339 time of the hub; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def format_age(value: Any, now: datetime) -> str:
    """Return how long ago a time was, as kubectl writes ages; empty when there is none."""
    moment = parse_time(value)
    if moment is None:
        return ""
    return format_duration((now - moment).total_seconds())


def format_remaining(value: Any, now: datetime) -> str:
    """Return how long it is until a time; ``expired`` when it is over."""
    moment = parse_time(value)
    if moment is None:
        return ""
    remaining_s = (moment - now).total_seconds()
    return format_duration(remaining_s) if remaining_s > 0 else "expired"


def format_duration(seconds: float) -> str:
    """Return a duration in at most two units: 42s, 3m20s, 5h, 12d."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        minutes, rest = divmod(whole, _MINUTE_S)
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if whole < _DAY_S:
        hours, rest = divmod(whole, _HOUR_S)
        return f"{hours}h{rest // _MINUTE_S}m" if rest >= _MINUTE_S else f"{hours}h"
    return f"{whole // _DAY_S}d"


def parse_duration(text: str, option: str) -> int:
    """Read a duration such as 90, 90s, 15m, 1h30m or 30d; raise CliError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()) or len(text) > _MAX_DURATION_CHARS:
        raise CliError(
            ExitCode.USAGE, f"{option} {text!r} is no duration", hint="write 90s, 15m, 1h30m or 30d"
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return int(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds())
