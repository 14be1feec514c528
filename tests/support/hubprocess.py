"""`fedhub serve` as a process of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.patience import patient, until
from tests.support.processes import Process, free_ports
from tests.support.restclient import Place


@dataclass(slots=True)
class HubProcess:
    """``fedhub serve`` as a process of its own, on fixed ports, to be killed and started again."""

    folder: Path
    process: Process
    ready_file: Path

    @classmethod
    def at(cls, folder: Path, database_url: str | None = None) -> HubProcess:
        rest, enrol, link = free_ports(3)
        ready = folder / "ready.json"
        argv = [
            str(Path(sys.executable).with_name("fedhub")),
            *("serve", "--state", str(folder / "hub"), "--ready-file", str(ready)),
            *("--listen", f"127.0.0.1:{rest}", "--enrol-listen", f"127.0.0.1:{enrol}"),
            *("--link-listen", f"127.0.0.1:{link}"),
            *(("--database-url", database_url) if database_url else ()),
        ]
        process = Process("fedhub", tuple(argv), folder / "hub.log", dict(os.environ))
        return cls(folder, process, ready)

    async def start(self) -> Place:
        """Start it and wait until it serves."""
        self.ready_file.unlink(missing_ok=True)
        self.process.spawn()

        def is_serving() -> bool:
            self.process.check()
            return self.ready_file.exists()

        await until(is_serving, "the hub serves")
        return Place.of_ready_file(self.ready_file)

    def kill(self) -> None:
        self.process.kill()

    async def stop(self) -> int:
        """Ask it to stop, as an orchestrator does; return its exit code."""
        child = self.process.child
        assert child is not None
        self.process.signal(signal.SIGTERM)
        return await asyncio.to_thread(child.wait, patient())
