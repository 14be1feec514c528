"""The clock of the service, which tests replace, and times as Go writes them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Protocol

ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""Go's zero time: what the service writes where a time was never set."""


class Clock(Protocol):
    """What the service knows of time."""

    def now(self) -> datetime:
        """Return the time, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        await asyncio.sleep(seconds)


def go_time(moment: datetime) -> str:
    """Write a time as Go's JSON does, with the milliseconds that the database keeps."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    millis = moment.microsecond // 1000
    fraction = f".{millis:03d}".rstrip("0") if millis else ""
    return f"{text}{fraction}Z"
