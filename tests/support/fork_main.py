"""What a forked part of a federation does; imported once by the server that forks it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from fedagent.run import serve as serve_agent
from fedagent.settings import AgentSettings
from fedcore import log
from fedhub.run import serve as serve_hub
from fedhub.settings import HubSettings
from fedsim.kubefate import Settings, SimulatedKubeFATE


@dataclass(frozen=True)
class DyingPoint:
    """Where a process kills itself: `where` as module:path.of.function.

    `about` names the type of one of the arguments; `nth` counts such calls from 1. `after` the
    call: what it did is done, and whoever called it does not hear of it.
    """

    where: str
    about: str = ""
    nth: int = 1
    after: bool = False

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        name = self.about or self.where.rpartition(":")[2]
        return f"{when} {name}" + (f" {self.nth}" if self.nth > 1 else "")


def arm(point: DyingPoint) -> None:
    """Have this process die at a point."""
    module, _, path = point.where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    count = 0

    def is_it(args: tuple[Any, ...]) -> bool:
        nonlocal count
        if point.about and point.about not in {type(arg).__name__ for arg in args}:
            return False
        count += 1
        return count == point.nth

    # "After" means after a call that did its work: one that fails is tried again and counts then.
    async def dying(*args: Any, **kwargs: Any) -> Any:
        if not point.after and is_it(args):
            die()
        answer = await original(*args, **kwargs)
        if point.after and is_it(args):
            die()
        return answer

    def dying_at_once(*args: Any, **kwargs: Any) -> Any:
        if not point.after and is_it(args):
            die()
        answer = original(*args, **kwargs)
        if point.after and is_it(args):
            die()
        return answer

    is_async = inspect.iscoroutinefunction(original)
    setattr(owner, name, dying if is_async else dying_at_once)


def die() -> None:
    """End as a process does that is killed: nothing is flushed, nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_part(
    main: Callable[..., Coroutine[Any, Any, None]],
    settings: Any,
    ready: Event,
    output: Path,
    point: DyingPoint | None,
) -> None:
    """Run one part until SIGTERM, its output added to a file."""
    handle = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    log.configure(level="debug", json=True)
    if point is not None:
        arm(point)
    asyncio.run(main(settings, ready))


async def _when_written(path: Path, ready: Event) -> None:
    while not path.exists():
        await asyncio.sleep(0.01)
    ready.set()


async def hub_main(settings: HubSettings, ready: Event) -> None:
    """Run a hub."""
    path = settings.state / f"ready.{os.getpid()}"
    telling = asyncio.create_task(_when_written(path, ready))
    await serve_hub(settings, path)
    telling.cancel()


async def agent_main(settings: AgentSettings, ready: Event) -> None:
    """Run an agent. It is ready when it runs: it may be a while until it has a hub."""
    ready.set()
    await serve_agent(settings, None)


async def kubefate_main(settings: Settings, ready: Event) -> None:
    """Run a simulated KubeFATE."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with SimulatedKubeFATE(settings):
        ready.set()
        await ended.wait()
