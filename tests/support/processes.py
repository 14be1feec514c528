"""Start programs that cannot outlive the test run, however it ends."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class ProcessEndedError(RuntimeError):
    """A program ended by itself. The text holds the end of its log."""


@dataclass(slots=True)
class Process:
    """One program with its arguments, so that it can be started again as it was.

    The kernel kills it when the *thread* that started it ends (`setpriv` of util-linux): start it
    from the main thread.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str]
    child: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it in a process group of its own, with its output added to its log."""
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(  # noqa: S603 - programs that the tests built
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv],  # noqa: S607 - util-linux
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the whole group and reap it. Harmless when it is gone."""
        if self.child is None:
            return
        self.signal(signal.SIGKILL)
        self.child.wait(timeout=10)
        self.child = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the group: STOP and CONT make a server that hangs."""
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, number)

    def check(self) -> None:
        """Raise ProcessEndedError when it has ended by itself."""
        if self.child is not None and self.child.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise ProcessEndedError(f"{self.name} ended with {self.child.returncode}:\n{tail}")


def free_ports(count: int) -> list[int]:
    """Choose ports on loopback that nobody listens on.

    They lie below the range that the kernel hands out to clients, so that no outgoing connection
    can take one while a server is down for a moment.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(10_000, 29_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports
