"""The command: options in, exit code out, nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from fedctl.cli import prepare_output
from fedctl.errors import CliError, ExitCode
from fedctl.quickstart import options as command_line
from fedctl.quickstart import run
from fedctl.quickstart.options import Options
from fedctl.quickstart.processes import ProcessSupervisor
from fedctl.quickstart.state_dir import StateDir, locked
from fedctl.render import say, show_error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the quickstart."""
    prepare_output()
    options = command_line.read(arguments)
    try:
        with locked(options.state) as state_dir:
            code = asyncio.run(_run(options, state_dir))
    except CliError as failure:
        show_error(failure)
        code = failure.code
    sys.exit(code)


async def _run(options: Options, state_dir: StateDir) -> int:
    supervisor = ProcessSupervisor(say)
    work = asyncio.ensure_future(run.run(options, state_dir, supervisor))
    interruption = Interruption(work, supervisor)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interruption.strike)
    try:
        return await work
    except asyncio.CancelledError:
        # After a signal. To stop what runs is how a person ends a run that is ready.
        return ExitCode.OK if supervisor.is_settled else ExitCode.INTERRUPTED
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    finally:
        with contextlib.suppress(BrokenPipeError):
            say("Stopping everything")
        await supervisor.stop()


class Interruption:
    """What signals do: the first ends the run in order, the second at once."""

    def __init__(self, work: asyncio.Future[int], supervisor: ProcessSupervisor) -> None:
        self._work = work
        self._crew = supervisor
        self._is_struck = False

    def strike(self) -> None:
        """Take one signal."""
        if self._is_struck:
            self._crew.hurry()
        self._is_struck = True
        self._work.cancel()
