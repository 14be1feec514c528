"""Waiting with progress: a live table on a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedctl.client import Client
from fedctl.errors import CliError, ExitCode, FieldError
from fedctl.render import console, styled
from fedctl.text import clean, span
from fedctl.wait_status import FAILED, Row, StatusSource, Verdict, WaitStatus, causes

POLL_S: Final = 0.5
_BAR_WIDTH: Final = 16
_CAUSES_LIMIT_S: Final = 2.0
"""How long a wait that has ended may still ask for causes: its own limit is over."""
_DENIED_REMOVAL: Final = "actions.remove"
_HINTS: Final = {
    "AwaitingApproval": "a person at the site must agree: `fedagent approve` there",
    "Refused": "the site's own policy forbids it: change the file, or ask the site",
}


class Display(Protocol):
    """Where progress goes."""

    def update(self, status: WaitStatus) -> None:
        """Show how things stand now."""

    def close(self, status: WaitStatus) -> None:
        """Show the end."""


class LiveDisplay:
    """A table with bars that redraws itself; the clock goes on between answers."""

    def __init__(self, out: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._ended: dict[str, float] = {}
        self._standing = WaitStatus(Verdict.OPEN, (), "asking the hub")
        self._live = Live(
            console=out, refresh_per_second=4, get_renderable=self._draw, transient=False
        )
        self._live.start()

    def update(self, status: WaitStatus) -> None:
        """Show how things stand now."""
        for row in status.rows:
            if row.is_done:
                self._ended.setdefault(row.name, self._now())
            else:
                self._ended.pop(row.name, None)
        self._standing = status

    def close(self, status: WaitStatus) -> None:
        """Draw the last state and give the terminal back."""
        self.update(status)
        self._live.stop()

    def _draw(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        for title in ("", "SITE", "PHASE", "STEPS", "TIME", "WHAT"):
            table.add_column(title, overflow="fold", header_style="dim")
        for row in self._standing.rows:
            table.add_row(
                clean(row.name),
                clean(row.site),
                styled(clean(row.phase)),
                self._steps(row),
                span(self._ended.get(row.name, self._now()) - self._began),
                Text(what_of(row)),
            )
        note = Text(clean(self._standing.note), style="yellow")
        return Group(table, note) if self._standing.note else table

    @staticmethod
    def _steps(row: Row) -> RenderableType:
        if not row.steps:
            return Text("")
        bar = ProgressBar(total=row.steps, completed=row.steps_done, width=_BAR_WIDTH)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(bar, f"{row.steps_done}/{row.steps}")
        return grid


class LineDisplay:
    """One line whenever something changes, for logs and pipes."""

    def __init__(
        self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._now = now
        self._began = now()
        self._seen: dict[str, str] = {}

    def update(self, status: WaitStatus) -> None:
        """Write what is new."""
        for row in status.rows:
            self._tell(row.name, _line(row))
        self._tell("", clean(status.note))

    def close(self, status: WaitStatus) -> None:
        """Write what the last answer brought."""
        self.update(status)

    def _tell(self, name: str, line: str) -> None:
        if line and self._seen.get(name) != line:
            self._write(f"{span(self._now() - self._began):>6}  {line}")
        self._seen[name] = line


def _line(row: Row) -> str:
    steps = f" {row.steps_done}/{row.steps}" if row.steps else ""
    what = what_of(row)
    place = f" at {clean(row.site)}" if row.site else ""
    return f"{clean(row.name)}{place}: {clean(row.phase)}{steps}" + (f" - {what}" if what else "")


def what_of(row: Row) -> str:
    """Say what a row is doing or why it is not: step, reason code, sentence, next act."""
    if row.is_done:
        return ""
    parts = [row.step, row.reason, row.message, _HINTS.get(row.phase, "")]
    return clean(": ".join(part for part in parts if part))


def display() -> Display:
    """Choose the display that fits stderr, so that stdout stays for results."""
    out = console(is_error=True)
    if out.is_terminal and not out.is_dumb_terminal:
        return LiveDisplay(out)
    return LineDisplay(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - a log


async def wait(
    client: Client, source: StatusSource, *, limit_s: float, shown: Display, subject: str
) -> WaitStatus:
    """Poll until the goal is reached; raise CliError with the causes when it will not be.

    A hub that cannot be reached is waited for, too: only the time limit ends that.
    """
    status = WaitStatus(Verdict.OPEN, ())
    try:
        async with asyncio.timeout(limit_s):
            while status.verdict is Verdict.OPEN:
                status = await _look(client, source, status)
                shown.update(status)
                if status.verdict is Verdict.OPEN:
                    await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise await _too_late(client, status, subject, limit_s) from error
    finally:
        shown.close(status)
    if status.verdict is not Verdict.REACHED:
        raise await _not_reached(client, status, subject)
    return status


async def _look(client: Client, source: StatusSource, before: WaitStatus) -> WaitStatus:
    try:
        return await source(client)
    except CliError as failure:
        if not failure.is_retryable:
            raise
        return WaitStatus(Verdict.OPEN, before.rows, f"{failure.message}; trying again")


async def _too_late(client: Client, status: WaitStatus, subject: str, limit_s: float) -> CliError:
    return CliError(
        ExitCode.TIMEOUT,
        f"{subject} is not there after {span(limit_s)}",
        hint="it goes on without you: `fedctl wait` again, or `fedctl describe` what stands out",
        faults=await _faults(client, status),
    )


async def _not_reached(client: Client, status: WaitStatus, subject: str) -> CliError:
    if status.verdict is Verdict.SUPERSEDED:
        return CliError(
            ExitCode.NOT_REACHED,
            f"{subject} was superseded by a newer change",
            hint="`fedctl get operations` shows it; wait for that one",
        )
    culprit = next((row for row in status.rows if row.phase in FAILED and not row.is_done), None)
    cause = status.note or (culprit.cause() if culprit is not None else "")
    return CliError(
        ExitCode.NOT_REACHED,
        f"{subject} failed" + (f": {cause}" if cause else ""),
        hint=_next_act(culprit),
        faults=await _faults(client, status),
    )


def _next_act(culprit: Row | None) -> str:
    """Say what mends the first participant that needs a person."""
    if culprit is None:
        return "`fedctl describe` and `fedctl events` tell more"
    if culprit.reason == _DENIED_REMOVAL:
        return (
            f"allow it in the policy of site {culprit.site} and restart its agent: the removal "
            "then goes on by itself. Or apply a file that has it: that takes the removal back"
        )
    if culprit.phase == "Refused":
        return (
            f"change the file, or the policy of site {culprit.site} (and restart its agent): it "
            "then goes on by itself"
        )
    return (
        f"mend the cause, then apply a change or run `fedagent retry {culprit.id}` at "
        f"{culprit.site}; `fedctl describe` tells more"
    )


async def _faults(client: Client, status: WaitStatus) -> tuple[FieldError, ...]:
    try:
        async with asyncio.timeout(_CAUSES_LIMIT_S):
            return tuple(FieldError("", line) for line in await causes(client, status))
    except (TimeoutError, CliError):
        return ()
