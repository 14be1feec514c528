"""The command: options in, exit code out, nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from fedctl.cli import prepare_output
from fedctl.failure import ExitCode, Failure
from fedctl.render import say, show_failure

from . import options as command_line
from . import story
from .children import Crew
from .options import Options
from .place import Place, held


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the quickstart."""
    prepare_output()
    options = command_line.read(arguments)
    try:
        with held(options.state) as place:
            code = asyncio.run(_run(options, place))
    except Failure as failure:
        show_failure(failure)
        code = failure.code
    sys.exit(code)


async def _run(options: Options, place: Place) -> int:
    crew = Crew(say)
    work = asyncio.ensure_future(story.run(options, place, crew))
    interruption = Interruption(work, crew)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interruption.strike)
    try:
        return await work
    except asyncio.CancelledError:
        # After a signal. To stop what runs is how a person ends a run that is ready.
        return ExitCode.OK if crew.is_settled else ExitCode.INTERRUPTED
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    finally:
        with contextlib.suppress(BrokenPipeError):
            say("Stopping everything")
        await crew.stop()


class Interruption:
    """What signals do: the first ends the run in order, the second at once."""

    def __init__(self, work: asyncio.Future[int], crew: Crew) -> None:
        self._work = work
        self._crew = crew
        self._is_struck = False

    def strike(self) -> None:
        """Take one signal."""
        if self._is_struck:
            self._crew.hurry()
        self._is_struck = True
        self._work.cancel()
