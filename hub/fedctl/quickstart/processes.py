"""Processes of the quickstart: started with a log, watched, restarted, and all stopped at the end.

While everything starts, a process that ends is an error (``fail_on_exit``). Later it is started
again (``keep_running``), so that people may kill what they like and watch the product go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedcore.errors import FieldError
from fedcore.terminal_text import escape
from fedctl.errors import CliError, ExitCode
from fedctl.timing import Timing

_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 16 * 1024
_MIN_FREE_BYTES: Final = 1024 * 1024
"""On a disk with less room an SQLite database cannot be written: its journal needs some, too."""
_OUR_VARIABLES: Final = ("FEDHUB_", "FEDAGENT_", "FEDCTL_", "FEDSIM_")
_PROXY_VARIABLES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "grpc_proxy"})
_NO_BYTECODE_VARIABLE: Final = "PYTHONDONTWRITEBYTECODE"


@dataclass(slots=True)
class ManagedProcess:
    """One process: how it is started, where its output goes, which file says it is ready."""

    name: str
    command: Sequence[str]
    log: Path
    ready_file: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to its environment: what no command line may show."""
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self.process is not None and self.process.returncode is None

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process and its children: it was started as the leader of a group."""
        if self.process is not None and self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def describe_end(self) -> str:
        """Return how the process ended, as the rest of a sentence."""
        code = self.process.returncode if self.process is not None else None
        if code is None:
            return "did not start"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def error(self, problem: str) -> CliError:
        """Return an error about the process, with the last lines of its log.

        On a full disk those lines are a traceback of SQLite's, or they could not be written.
        """
        if shutil.disk_usage(self.log.parent).free < _MIN_FREE_BYTES:
            return CliError(
                ExitCode.UNAVAILABLE,
                f"{self.name} {problem}: the disk that holds {self.log.parent} is full",
                hint="make room there and start again",
            )
        return CliError(
            ExitCode.UNAVAILABLE,
            f"{self.name} {problem}",
            errors=tuple(FieldError("", line) for line in read_tail(self.log)),
            hint=f"the whole log is {self.log}",
        )


def process_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the processes, without settings of other hubs and proxies.

    A word against bytecode is left out, too: ten processes would compile the same files at every
    start.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith((*_OUR_VARIABLES, _NO_BYTECODE_VARIABLE))
        and name.lower() not in _PROXY_VARIABLES
    }
    return {**kept, "PYTHONUNBUFFERED": "1"}


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """Return the command under the program that ends it when this process dies."""
    program = str(Path(__file__).with_name("die_with_parent.py"))
    mode = "exec" if sys.platform == "linux" else "watch"
    return [sys.executable, "-I", "-S", program, str(os.getpid()), mode, *command]


class ProcessSupervisor:
    """Owns every process of this run. ``report`` gets a sentence for people."""

    def __init__(self, report: Callable[[str], None], timing: Timing) -> None:
        self._report = report
        self._timing = timing
        self._processes: list[ManagedProcess] = []
        self._is_stopping = False
        self._kill_now = asyncio.Event()
        self.is_settled = False
        """Whether everything has started, so that an end is no error any more."""

    async def start(self, process: ManagedProcess) -> None:
        """Start a process and wait until it is ready; a CliError holds its last lines if not."""
        if process.log.exists():
            process.log.replace(process.log.with_suffix(".log.1"))
        await self._spawn(process)
        self._processes.append(process)
        await self._wait_until_ready(process)

    async def _spawn(self, process: ManagedProcess) -> None:
        if process.ready_file is not None:
            process.ready_file.unlink(missing_ok=True)
        with process.log.open("ab") as log:
            process.process = await asyncio.create_subprocess_exec(
                *dying_with_parent(process.command),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**process_environment(os.environ), **process.variables},
                start_new_session=True,
            )

    async def _wait_until_ready(self, process: ManagedProcess) -> None:
        limit_s = self._timing.process_start_limit_s
        try:
            async with asyncio.timeout(limit_s):
                while process.is_running:
                    if process.ready_file is None or process.ready_file.exists():
                        return
                    await asyncio.sleep(self._timing.process_poll_interval_s)
        except TimeoutError as error:
            raise process.error(f"is not ready after {limit_s:.0f} s") from error
        raise process.error(process.describe_end())

    async def fail_on_exit(self) -> None:
        """Raise CliError as soon as one process ends; for the time before everything is ready."""
        while True:
            for process in self._processes:
                if not process.is_running:
                    raise process.error(process.describe_end())
            await asyncio.sleep(self._timing.process_poll_interval_s)

    async def keep_running(self) -> None:
        """Restart processes that end, for ever; raise CliError for one that does not stay up."""
        self.is_settled = True
        async with asyncio.TaskGroup() as group:
            for process in self._processes:
                group.create_task(self._restart_when_ended(process))

    async def _restart_when_ended(self, process: ManagedProcess) -> None:
        timing = self._timing
        loop = asyncio.get_running_loop()
        ends: deque[float] = deque(maxlen=timing.process_restart_count)
        while process.process is not None:
            await process.process.wait()
            if self._is_stopping:
                return
            end = process.describe_end()
            if (
                len(ends) == timing.process_restart_count
                and loop.time() - ends[0] < timing.process_restart_window_s
            ):
                raise process.error(f"{end} again and again")
            ends.append(loop.time())
            self._report(f"{process.name} {end}; starting it again (log: {process.log})")
            await asyncio.sleep(timing.process_restart_pause_s)
            await self._spawn(process)

    def kill_now(self) -> None:
        """End the patience of ``stop``: what still runs is killed."""
        self._kill_now.set()

    async def stop(self) -> None:
        """Stop every process, the last started first; nothing is left when this returns."""
        self._is_stopping = True
        running = [process for process in reversed(self._processes) if process.is_running]
        for process in running:
            process.send_signal(signal.SIGTERM)
        ends = [
            asyncio.ensure_future(process.process.wait()) for process in running if process.process
        ]
        if ends:
            all_ended = asyncio.ensure_future(asyncio.wait(ends))
            hurried = asyncio.ensure_future(self._kill_now.wait())
            await asyncio.wait(
                {all_ended, hurried},
                timeout=self._timing.process_stop_limit_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            hurried.cancel()
        for process in running:
            if process.is_running:
                self._report(f"{process.name} did not stop in time and was killed")
                process.send_signal(signal.SIGKILL)
        for end in ends:
            await end


def read_tail(log: Path) -> list[str]:
    """Return the last lines of a log, made harmless for a terminal."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [escape(line) for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
