"""ManagedProcess processes: started with a log, watched, restarted, and stopped to the last one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fedctl.errors import CliError, ExitCode, FieldError
from fedctl.text import clean

START_LIMIT_S: Final = 60.0
GRACE_S: Final = 10.0
_POLL_S: Final = 0.05
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 16 * 1024
_RESTARTS: Final = 5
_RESTART_WINDOW_S: Final = 60.0
_RESTART_PAUSE_S: Final = 1.0
_OURS: Final = ("FEDHUB_", "FEDAGENT_", "FEDCTL_", "FEDSIM_")
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "grpc_proxy"})
_NO_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"


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
        """Tell whether the process is there."""
        return self.process is not None and self.process.returncode is None


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the children's environment: settings of other hubs and proxies have no say here.

    Nor has a word against bytecode: ten processes would compile the same files at every start.
    """
    kept = {
        name: value
        for name, value in given.items()
        if not name.startswith((*_OURS, _NO_BYTECODE)) and name.lower() not in _PROXIES
    }
    return {**kept, "PYTHONUNBUFFERED": "1"}


def guarded(command: Sequence[str]) -> list[str]:
    """Return the command under the guard that ends it when this process dies."""
    guard = str(Path(__file__).with_name("die_with_parent.py"))
    mode = "exec" if sys.platform == "linux" else "watch"
    return [sys.executable, "-I", "-S", guard, str(os.getpid()), mode, *command]


class ProcessSupervisor:
    """Holds every child of this run.

    While it starts, a child that ends is an error; later it is started again, so that people may
    kill what they like and see the product go on.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._children: list[ManagedProcess] = []
        self._is_stopping = False
        self.is_settled = False
        self._hurry = asyncio.Event()

    async def start(self, child: ManagedProcess) -> None:
        """Start a child and wait until it is ready; raise CliError with its last words if not."""
        if child.log.exists():
            child.log.replace(child.log.with_suffix(".log.1"))
        await self._spawn(child)
        self._children.append(child)
        await self._until_ready(child)

    async def _spawn(self, child: ManagedProcess) -> None:
        if child.ready_file is not None:
            child.ready_file.unlink(missing_ok=True)
        with child.log.open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *guarded(child.command),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**environment(os.environ), **child.variables},
                start_new_session=True,
            )

    async def _until_ready(self, child: ManagedProcess) -> None:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while child.is_running:
                    if child.ready_file is None or child.ready_file.exists():
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise _failed(child, f"is not ready after {START_LIMIT_S:.0f} s") from error
        raise _failed(child, _how_ended(child))

    async def watch(self) -> None:
        """Restart children that end, for ever; raise CliError for one that will not stay."""
        self.is_settled = True
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(self._keep(child))

    async def _keep(self, child: ManagedProcess) -> None:
        loop = asyncio.get_running_loop()
        ends: deque[float] = deque(maxlen=_RESTARTS)
        while child.process is not None:
            await child.process.wait()
            if self._is_stopping:
                return
            if len(ends) == _RESTARTS and loop.time() - ends[0] < _RESTART_WINDOW_S:
                raise _failed(child, f"{_how_ended(child)} again and again")
            ends.append(loop.time())
            self._tell(f"{child.name} {_how_ended(child)}; starting it again (log: {child.log})")
            await asyncio.sleep(_RESTART_PAUSE_S)
            await self._spawn(child)

    async def expect_alive(self) -> None:
        """Raise CliError as soon as one child ends; for the time before everything is ready."""
        while True:
            for child in self._children:
                if not child.is_running:
                    raise _failed(child, _how_ended(child))
            await asyncio.sleep(_POLL_S)

    def hurry(self) -> None:
        """Do not wait for orderly ends any more."""
        self._hurry.set()

    async def stop(self) -> None:
        """Stop every child, the last started first; nothing is left when this returns."""
        self._is_stopping = True
        running = [child for child in reversed(self._children) if child.is_running]
        for child in running:
            _signal(child, signal.SIGTERM)
        waits = [asyncio.ensure_future(child.process.wait()) for child in running if child.process]
        if waits:
            hurried = asyncio.ensure_future(self._hurry.wait())
            everything = asyncio.ensure_future(asyncio.wait(waits))
            await asyncio.wait(
                {everything, hurried}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED
            )
            hurried.cancel()
        for child in running:
            if child.is_running:
                self._tell(f"{child.name} did not stop in time and was killed")
                _signal(child, signal.SIGKILL)
        for wait in waits:
            await wait


def _signal(child: ManagedProcess, number: signal.Signals) -> None:
    """Signal the child's group, which is its own: it was started as the leader of a session."""
    if child.process is not None and child.is_running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, number)


def _how_ended(child: ManagedProcess) -> str:
    code = child.process.returncode if child.process is not None else None
    if code is None:
        return "did not start"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _failed(child: ManagedProcess, how: str) -> CliError:
    return CliError(
        ExitCode.UNAVAILABLE,
        f"{child.name} {how}",
        faults=tuple(FieldError("", line) for line in tail(child.log)),
        hint=f"the whole log is {child.log}",
    )


def tail(log: Path) -> list[str]:
    """Return the last lines of a log, harmless for a terminal."""
    try:
        with log.open("rb") as file:
            size: Any = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [clean(line) for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
