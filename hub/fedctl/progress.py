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

from fedcore.errors import FieldError
from fedcore.terminal_text import escape
from fedcore.words import Phase
from fedctl.client import Client
from fedctl.durations import format_duration
from fedctl.errors import CliError, ExitCode
from fedctl.render import console, styled
from fedctl.timing import Timing
from fedctl.wait_status import (
    FAILED_PHASES,
    ResourceProgress,
    StatusSource,
    Verdict,
    WaitStatus,
    read_causes,
)

_BAR_WIDTH: Final = 16
_WIDE_COLUMNS: Final = 120
"""A narrower terminal has no room for bars, nor for sentences beside the names."""
_REMOVAL_DENIED: Final = "actions.remove"
"""Reason of a removal that the site's policy refuses: the rule's own name."""
_PHASE_HINTS: Final[dict[str, str]] = {
    Phase.AWAITING_APPROVAL: "a person at the site must agree: `fedagent approve` there",
    Phase.REFUSED: "the site's own policy forbids it: change the file, or ask the site",
}


class Display(Protocol):
    """Where progress goes."""

    def update(self, status: WaitStatus) -> None:
        """Show the present status."""

    def close(self, status: WaitStatus) -> None:
        """Show the last status."""


class LiveDisplay:
    """A table with bars that redraws itself; the clock goes on between answers.

    ``started`` is where the clock begins, None for now.
    """

    def __init__(
        self,
        out: Console,
        timing: Timing,
        now: Callable[[], float] = time.monotonic,
        started: float | None = None,
    ) -> None:
        self._now = now
        self._started = now() if started is None else started
        self._is_wide = out.width >= _WIDE_COLUMNS
        self._finished: dict[str, float] = {}
        self._status = WaitStatus(Verdict.OPEN, (), "asking the hub")
        self._live = Live(
            console=out,
            refresh_per_second=1 / timing.live_refresh_interval_s,
            get_renderable=self._draw,
            transient=False,
        )
        self._live.start()

    def update(self, status: WaitStatus) -> None:
        """Show the present status."""
        for resource in status.resources:
            if resource.is_done:
                self._finished.setdefault(resource.name, self._now())
            else:
                self._finished.pop(resource.name, None)
        self._status = status

    def close(self, status: WaitStatus) -> None:
        """Draw the last status and give the terminal back."""
        self.update(status)
        self._live.stop()

    def _draw(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        # Names keep to one line, or nobody could copy them.
        for title in ("", "SITE", "PHASE", "STEPS", "TIME"):
            table.add_column(title, no_wrap=True, overflow="ignore", header_style="dim")
        if self._is_wide:
            table.add_column("WHAT", overflow="fold", header_style="dim")
        for resource in self._status.resources:
            end = self._finished.get(resource.name, self._now())
            cells: list[RenderableType] = [
                escape(resource.name),
                escape(resource.site),
                styled(escape(resource.phase)),
                self._steps(resource),
                format_duration(end - self._started),
            ]
            table.add_row(*cells, *([Text(activity_of(resource))] if self._is_wide else []))
        note = Text(escape(self._status.note), style="yellow")
        below = [] if self._is_wide else self._activities()
        return Group(table, *below, *([note] if self._status.note else []))

    def _activities(self) -> list[Text]:
        """Return what each resource does, in one line each, cut where the terminal ends."""
        return [
            Text(
                f"{escape(resource.name)}: {activity_of(resource)}",
                style="dim",
                no_wrap=True,
                overflow="ellipsis",
            )
            for resource in self._status.resources
            if activity_of(resource)
        ]

    def _steps(self, resource: ResourceProgress) -> RenderableType:
        if not resource.step_count:
            return Text("")
        if not self._is_wide:
            return Text(f"{resource.steps_done}/{resource.step_count}")
        bar = ProgressBar(
            total=resource.step_count, completed=resource.steps_done, width=_BAR_WIDTH
        )
        cell = Table.grid(padding=(0, 1))
        cell.add_row(bar, f"{resource.steps_done}/{resource.step_count}")
        return cell


class LineDisplay:
    """One line whenever something changes, for logs and pipes.

    ``started`` is where the clock begins, None for now.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
        started: float | None = None,
    ) -> None:
        self._write = write
        self._now = now
        self._started = now() if started is None else started
        self._last_lines: dict[str, str] = {}

    def update(self, status: WaitStatus) -> None:
        """Write what has changed."""
        for resource in status.resources:
            self._write_changed(resource.name, _line(resource))
        self._write_changed("", escape(status.note))

    def close(self, status: WaitStatus) -> None:
        """Write what the last status changed."""
        self.update(status)

    def _write_changed(self, name: str, line: str) -> None:
        if line and self._last_lines.get(name) != line:
            elapsed = format_duration(self._now() - self._started)
            self._write(f"{elapsed:>6}  {line}")
        self._last_lines[name] = line


def _line(resource: ResourceProgress) -> str:
    steps = f" {resource.steps_done}/{resource.step_count}" if resource.step_count else ""
    activity = activity_of(resource)
    at_site = f" at {escape(resource.site)}" if resource.site else ""
    return f"{escape(resource.name)}{at_site}: {escape(resource.phase)}{steps}" + (
        f" - {activity}" if activity else ""
    )


def activity_of(resource: ResourceProgress) -> str:
    """Return what a resource does or why it does not: step, reason, sentence, next act."""
    if resource.is_done:
        return ""
    hint = _PHASE_HINTS.get(resource.phase, "")
    parts = [resource.current_step, resource.reason, resource.message, hint]
    return escape(": ".join(part for part in parts if part))


def choose_display(timing: Timing) -> Display:
    """Return the display that fits stderr, so that stdout stays for results."""
    out = console(is_error=True)
    if out.is_terminal and not out.is_dumb_terminal:
        return LiveDisplay(out, timing)
    return LineDisplay(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - a log


async def wait(
    client: Client, source: StatusSource, *, limit_s: float, display: Display, subject: str
) -> WaitStatus:
    """Poll until the goal is reached; raise CliError with the causes when it will not be.

    A hub that cannot be reached is waited for, too: only the time limit ends that.
    """
    status = WaitStatus(Verdict.OPEN, ())
    try:
        async with asyncio.timeout(limit_s):
            while status.verdict is Verdict.OPEN:
                status = await _poll(client, source, status)
                display.update(status)
                if status.verdict is Verdict.OPEN:
                    await asyncio.sleep(client.timing.poll_interval_s)
    except TimeoutError as error:
        raise await _too_late(client, status, subject, limit_s) from error
    finally:
        display.close(status)
    if status.verdict is not Verdict.REACHED:
        raise await _not_reached(client, status, subject)
    return status


async def _poll(client: Client, source: StatusSource, last_status: WaitStatus) -> WaitStatus:
    try:
        return await source(client)
    except CliError as error:
        if not error.is_retryable:
            raise
        note = f"{error.message}; trying again"
        return WaitStatus(Verdict.OPEN, last_status.resources, note)


async def _too_late(client: Client, status: WaitStatus, subject: str, limit_s: float) -> CliError:
    return CliError(
        ExitCode.TIMEOUT,
        f"{subject} is not there after {format_duration(limit_s)}",
        hint="it goes on without you: `fedctl wait` again, or `fedctl describe` what stands out",
        errors=await _causes(client, status),
    )


async def _not_reached(client: Client, status: WaitStatus, subject: str) -> CliError:
    if status.verdict is Verdict.SUPERSEDED:
        return CliError(
            ExitCode.NOT_REACHED,
            f"{subject} was superseded by a newer change",
            hint="`fedctl get operations` shows it; wait for that one",
        )
    failed = next(
        (
            resource
            for resource in status.resources
            if resource.phase in FAILED_PHASES and not resource.is_done
        ),
        None,
    )
    cause = status.note or (failed.cause() if failed is not None else "")
    return CliError(
        ExitCode.NOT_REACHED,
        f"{subject} failed" + (f": {cause}" if cause else ""),
        hint=_next_act(failed),
        errors=await _causes(client, status),
    )


def _next_act(failed: ResourceProgress | None) -> str:
    """Return what a person does about the first resource that has failed."""
    if failed is None:
        return "`fedctl describe` and `fedctl events` show more"
    if failed.reason == _REMOVAL_DENIED:
        return (
            f"allow it in the policy of site {failed.site} and restart its agent: the removal "
            "then goes on by itself. Or apply a file that has it: that takes the removal back"
        )
    if failed.phase == Phase.REFUSED:
        return (
            f"change the file, or the policy of site {failed.site} (and restart its agent): it "
            "then goes on by itself"
        )
    return (
        f"mend the cause, then apply a change or run `fedagent retry {failed.id}` at "
        f"{failed.site}; `fedctl describe` shows more"
    )


async def _causes(client: Client, status: WaitStatus) -> tuple[FieldError, ...]:
    try:
        async with asyncio.timeout(client.timing.causes_limit_s):
            return tuple(FieldError("", line) for line in await read_causes(client, status))
    except (TimeoutError, CliError):
        return ()
