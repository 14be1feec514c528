"""Parts of a federation as processes of their own, for what only SIGKILL can show.

They are forked from a server that has imported everything, so that a new life takes a tenth of a
second. The server and all its children end with the test run.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Awaitable, Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from tests.support.fork_main import DyingPoint, agent_main, hub_main, kubefate_main, run_part
from tests.support.patience import patient, until

from fedagent.settings import AgentSettings
from fedhub.settings import HubSettings
from fedsim.kubefate import Settings


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.fork_main"])
    return context


class Fork:
    """One part that can be started, stopped and killed again and again; its log is kept.

    `point` is where the next life kills itself.
    """

    def __init__(self, name: str, main: Any, settings: Any, output: Path) -> None:
        self.name = name
        self.output = output
        self.point: DyingPoint | None = None
        self.kills = 0
        self._armed: DyingPoint | None = None
        self._main = main
        self._settings = settings
        self._child: ForkServerProcess | None = None

    @classmethod
    def hub(cls, settings: HubSettings, output: Path) -> Fork:
        """A hub."""
        return cls("hub", hub_main, settings, output)

    @classmethod
    def agent(cls, settings: AgentSettings, output: Path) -> Fork:
        """An agent that has joined."""
        return cls("agent", agent_main, settings, output)

    @classmethod
    def kubefate(cls, settings: Settings, output: Path) -> Fork:
        """A simulated KubeFATE."""
        return cls("kubefate", kubefate_main, settings, output)

    async def start(self) -> None:
        """Start a life and wait until it serves, or has died at its point."""
        context = _server()
        ready = context.Event()
        arguments = (self._main, self._settings, ready, self.output, self.point)
        self._armed, self.point = self.point, None
        child = context.Process(target=run_part, args=arguments, daemon=True)
        await asyncio.to_thread(child.start)
        self._child = child
        await until(lambda: ready.is_set() or not child.is_alive(), f"{self.name} serves")
        if not ready.is_set() and child.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"{self.name} did not start:\n{self.output.read_text()[-3000:]}")

    @property
    def is_up(self) -> bool:
        """Say whether the present life goes on."""
        return self._child is not None and self._child.is_alive()

    async def kill(self) -> None:
        """SIGKILL it, wherever it stands."""
        if self._child is not None:
            self._child.kill()
            await self._reap()

    async def wait_dead(self, describe: Callable[[], Awaitable[str]]) -> None:
        """Wait until the life has ended at its point. `describe` says how everything stands."""
        expected = f"{self.name} dies {self._armed}"
        await until(lambda: not self.is_up, expected, describe=describe)
        await self._reap()

    async def stop(self) -> None:
        """SIGTERM it, and see that it ends well. Harmless when it does not run."""
        if self._child is None:
            return
        self._child.terminate()
        code = await self._reap()
        if code not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.output.read_text()[-3000:]}")

    async def _reap(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        await asyncio.to_thread(child.join, patient())
        code = child.exitcode
        if code is None:
            child.kill()
            await asyncio.to_thread(child.join, patient())
            raise RuntimeError(f"{self.name} did not end")
        self.kills += code == -signal.SIGKILL
        child.close()
        return code
