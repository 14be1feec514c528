"""What a wait shows: a live table on a terminal, and a line per change in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fedctl.progress import LineDisplay, LiveDisplay
from fedctl.timing import Timing
from fedctl.wait_status import ResourceProgress, Verdict, WaitStatus


class StoppedClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def deploying(**more) -> ResourceProgress:
    values = {
        "name": "credit-risk/9999",
        "site": "alpha",
        "phase": "Deploying",
        "reason": "JobRunning",
        "message": "2 of 9 components",
        "steps_done": 3,
        "step_count": 8,
        "current_step": "install",
    }
    return ResourceProgress(**{**values, **more})


def opened(*resources: ResourceProgress, note: str = "") -> WaitStatus:
    return WaitStatus(Verdict.OPEN, resources, note)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def test_a_line_is_written_when_something_changes_and_only_then(clock):
    lines: list[str] = []
    display = LineDisplay(lines.append, clock)
    display.update(opened(deploying()))
    clock.now_s = 5.0
    display.update(opened(deploying()))
    clock.now_s = 65.0
    display.update(opened(deploying(phase="Ready", is_done=True, steps_done=8)))
    display.close(opened(deploying(phase="Ready", is_done=True, steps_done=8)))
    assert lines == [
        "    0s  credit-risk/9999 at alpha: Deploying 3/8 - install: JobRunning: 2 of 9 components",
        "  1m5s  credit-risk/9999 at alpha: Ready 8/8",
    ]


def test_a_note_is_a_line_of_its_own_and_holds_no_control_characters(clock):
    lines: list[str] = []
    display = LineDisplay(lines.append, clock)
    display.update(opened(deploying(message="\x1b[31mred"), note="the hub is away\x07"))
    assert "\\x1b[31mred" in lines[0]
    assert lines[1] == "    0s  the hub is away\\x07"


def test_the_live_table_ends_with_the_last_status_and_stops_the_clock_of_what_is_done(clock):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    display = LiveDisplay(console, Timing(live_refresh_interval_s=60.0), clock)
    display.update(opened(deploying()))
    clock.now_s = 10.0
    ready = deploying(phase="Ready", is_done=True, steps_done=8)
    display.update(opened(ready, deploying(name="credit-risk/exchange", site="hq")))
    clock.now_s = 30.0
    display.close(opened(ready, deploying(name="credit-risk/exchange", site="hq"), note="stalled"))
    table = screen.getvalue()
    (party,) = [line for line in table.splitlines() if "credit-risk/9999" in line][-1:]
    (exchange,) = [line for line in table.splitlines() if "credit-risk/exchange" in line][-1:]
    assert "Ready" in party
    assert "8/8" in party
    assert " 10s " in party
    assert " 30s " in exchange
    assert "install: JobRunning: 2 of 9 components" in exchange
    assert "stalled" in table


def test_a_narrow_live_table_cuts_what_is_said_and_never_a_name(clock):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    display = LiveDisplay(console, Timing(live_refresh_interval_s=60.0), clock, started=-7.0)
    message = "the exchange has no address yet: its site has reported none " * 2
    display.close(opened(deploying(name="credit-risk/exchange", message=message)))
    assert "credit-risk/exchange  alpha  Deploying  3/8    7s" in screen.getvalue()
    (line,) = [line for line in screen.getvalue().splitlines() if "install: " in line][-1:]
    assert line.startswith("credit-risk/exchange: install: JobRunning: the exchange has no")
    assert len(line.rstrip()) <= 80
    assert line.rstrip().endswith("…")
