"""The command: options in, exit code out, and nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from fedcore.exceptions import first_leaf
from fedctl.errors import CliError, ExitCode
from fedctl.quickstart.options import Options, parse_options
from fedctl.quickstart.processes import ProcessSupervisor
from fedctl.quickstart.run import run
from fedctl.quickstart.state_dir import StateDir, locked, storage_errors
from fedctl.render import prepare_streams, print_error, print_line
from fedctl.timing import Timing


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the quickstart."""
    prepare_streams()
    options = parse_options(arguments)
    try:
        with locked(options.state) as state_dir, storage_errors(options.state):
            code = asyncio.run(_run(options, state_dir, Timing()))
    except CliError as error:
        print_error(error)
        code = error.code
    sys.exit(code)


async def _run(options: Options, state_dir: StateDir, timing: Timing) -> int:
    supervisor = ProcessSupervisor(print_line, timing)
    work = asyncio.ensure_future(run(options, state_dir, supervisor, timing))
    interruption = Interruption(work, supervisor)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interruption.on_signal)
    try:
        return await work
    except asyncio.CancelledError:
        # After a signal. Ctrl-C is how a person ends a run that has come to its end.
        return ExitCode.OK if supervisor.is_settled else ExitCode.INTERRUPTED
    except ExceptionGroup as errors:
        raise first_leaf(errors) from errors
    finally:
        with contextlib.suppress(BrokenPipeError):
            print_line("Stopping everything")
        await supervisor.stop()


class Interruption:
    """What signals do: the first one ends the run in order, the second one at once."""

    def __init__(self, work: asyncio.Future[ExitCode], supervisor: ProcessSupervisor) -> None:
        self._work = work
        self._supervisor = supervisor
        self._is_repeated = False

    def on_signal(self) -> None:
        """Take one signal."""
        if self._is_repeated:
            self._supervisor.kill_now()
        self._is_repeated = True
        self._work.cancel()
