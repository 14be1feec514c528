"""Start programs that cannot outlive the test run, however it ends."""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
import random
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.patience import patient


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
        self.child.wait(timeout=patient())
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
    """Choose ports on loopback that nobody listens on, and that no other test run will choose.

    They lie below the range that the kernel hands out to clients, so that no outgoing connection
    can take one while a server is down for a moment.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = next(_own_ports())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


@functools.cache
def _own_ports() -> Iterator[int]:
    """Return this process's hundred ports, round and round.

    A file lock keeps them from other test runs on the machine. To look whether a port is free is
    not enough: gRPC's servers share one without a word.
    """
    hundreds = list(range(100, 300))
    random.shuffle(hundreds)
    for hundred in hundreds:
        path = Path(tempfile.gettempdir(), f"fed-test-ports-{hundred}")
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # held until the process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return itertools.cycle(range(hundred * 100, hundred * 100 + 100))
    raise RuntimeError("every hundred of ports is taken by another test run")
