"""The state folder: what lies where in it, and which process may use it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from fedcore.files import write_private
from fedctl.errors import CliError, ExitCode

_LOCK: Final = "lock"
_PORTS: Final = "ports.json"
_FOLDERS: Final = ("log", "run", "sites", "hub")
_STORAGE_ERRNOS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOLCK, errno.EFBIG}
)
"""Of errors that name no file, as those of a write to an open one."""


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

    @property
    def hub_root_certificate(self) -> Path:
        """The hub's root certificate: it is there once a hub has started."""
        return self.hub / "ca.pem"

    @property
    def example(self) -> Path:
        """The file of the federation that the first start deployed."""
        return self.root / "example.yaml"

    @property
    def example_note(self) -> Path:
        """What the first start did about the example."""
        return self.root / "example.json"

    def log(self, name: str) -> Path:
        """Return the log of one process."""
        return self.root / "log" / f"{name}.log"

    def ready_file(self, name: str) -> Path:
        """Return the file that says one process is ready."""
        return self.root / "run" / f"{name}.json"

    def site(self, name: str) -> Path:
        """Return the folder of one site: its cluster, its KubeFATE, its agent."""
        return self.root / "sites" / name

    def identity(self, name: str) -> Path:
        """Return the file in which a site's agent keeps its identity once it has joined."""
        return self.site(name) / "agent" / "identity.json"

    def has_identity(self, name: str) -> bool:
        """Return whether a site's agent has joined a hub."""
        return self.identity(name).exists()

    def write_config(self, url: str) -> None:
        """Write the configuration of fedctl; paths in it are relative to itself."""
        text = f'hub = {json.dumps(url)}\ntoken_file = "hub/admin.token"\nca_file = "hub/ca.pem"\n'
        write_private(self.config, text.encode())


@contextmanager
def locked(root: Path) -> Iterator[StateDir]:
    """Make the folder or take the one that is there, for one quickstart at a time."""
    state_dir = StateDir(root)
    with storage_errors(root):
        _check_ours(state_dir)
        for folder in (root, *(root / name for name in _FOLDERS)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (root / _LOCK).open("a+")
    with lock:
        with storage_errors(root):
            _take(lock, root)
        yield state_dir


def _check_ours(state_dir: StateDir) -> None:
    root = state_dir.root
    if not os.path.lexists(root) or state_dir.ports.exists():
        return
    if not root.is_dir():
        raise _unusable(root, "is no folder")
    # A start that ended before its ports were kept leaves its lock, empty folders, and a draft.
    entries = [entry.name for entry in root.iterdir() if not entry.name.startswith(f".{_PORTS}.")]
    if set(entries) - {_LOCK, *_FOLDERS}:
        raise _unusable(root, "holds something else")


def _take(lock: TextIO, root: Path) -> None:
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


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Turn what the system says about files of the folder (full, no right, ...) into one line."""
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if error.filename else root
        if not error.filename and error.errno not in _STORAGE_ERRNOS:
            raise
        is_inside = path == root or path.is_relative_to(root) or root.is_relative_to(path)
        if not is_inside:
            raise
        raise _unusable(root, f"cannot be used: {error.strerror}", path) from error


def _unusable(root: Path, why: str, path: Path | None = None) -> CliError:
    place = f" ({path})" if path not in {None, root} else ""
    return CliError(
        ExitCode.USAGE,
        f"the state folder {root} {why}{place}",
        hint="name a new or an empty folder, with room and yours to write, with --state DIR",
    )
