"""The life of a program of the simulated site: its ready file, and its end by a signal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


async def wait_for_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


@contextmanager
def ready(path: Path | None, facts: dict[str, str | None]) -> Iterator[None]:
    """Write the ready file whole or not at all, and remove it at the end."""
    if path is None:
        yield
        return
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps({**facts, "pid": os.getpid()}))
    part.replace(path)
    yield
    path.unlink(missing_ok=True)
