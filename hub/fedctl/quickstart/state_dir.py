"""The state folder: what lies where in it, and which process may use it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedcore.files import write_private
from fedctl.errors import CliError, ExitCode

_LOCK: Final = "lock"
_PORTS: Final = "ports.json"
_FOLDERS: Final = ("log", "run", "sites", "hub")


@dataclass(frozen=True, slots=True)
class StateDir:
    """The paths of a state folder."""

    root: Path

    @property
    def ports(self) -> Path:
        """The file that keeps the chosen ports."""
        return self.root / _PORTS

    @property
    def config(self) -> Path:
        """The ready configuration of fedctl."""
        return self.root / "fedctl.toml"

    @property
    def hub(self) -> Path:
        """The hub's own folder."""
        return self.root / "hub"

    def log(self, name: str) -> Path:
        """Return the log of one process."""
        return self.root / "log" / f"{name}.log"

    def ready_file(self, name: str) -> Path:
        """Return the file that says one process is ready."""
        return self.root / "run" / f"{name}.json"

    def site(self, name: str) -> Path:
        """Return the folder of one site: its cluster, its KubeFATE, its agent."""
        return self.root / "sites" / name

    def write_config(self, url: str) -> None:
        """Write the configuration of fedctl; paths in it are relative to itself."""
        text = f'hub = {json.dumps(url)}\ntoken_file = "hub/admin.token"\nca_file = "hub/ca.pem"\n'
        write_private(self.config, text.encode())


@contextmanager
def locked(root: Path) -> Iterator[StateDir]:
    """Make the folder or take the one that is there, for one quickstart at a time."""
    state_dir = StateDir(root)
    if root.exists() and not state_dir.ports.exists() and _holds_something_else(root):
        raise CliError(
            ExitCode.USAGE,
            f"{root} holds something else",
            hint="name a new or an empty folder with --state",
        )
    for folder in (root, *(root / name for name in _FOLDERS)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CliError(
                ExitCode.CONFLICT,
                f"a quickstart runs in {root} already (process {lock.read(20).strip() or '?'})",
                hint="stop it with Ctrl-C, or take another --state",
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield state_dir


def _holds_something_else(root: Path) -> bool:
    if not root.is_dir():
        return True
    # A start that ended before its ports were kept leaves its lock, empty folders, and a draft.
    return any(
        entry.name not in {_LOCK, *_FOLDERS} and not entry.name.startswith(f".{_PORTS}.")
        for entry in root.iterdir()
    )
