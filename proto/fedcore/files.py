"""Files that nobody but their owner may read, complete or not there at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PRIVATE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


def make_private(path: Path) -> None:
    """Create an empty file for its owner alone, and its folders, unless it is there already.

    For files that a library opens by name, as SQLite does: what the library then writes beside
    the file takes the file's mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE))


def write_private(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, readable by its owner alone, in place of what is there.

    The content is on disk when the call returns. A reader sees the old content or the new one,
    never a part, also when the process ends in between. Missing folders are made, 0700.
    """
    with _draft_of(path, content) as draft:
        draft.replace(path)


def create_private(path: Path, content: bytes) -> bool:
    """Put ``content`` at ``path`` unless a file is there; return whether it was written.

    The same promises as ``write_private``. When several processes try at once, one succeeds.
    """
    with _draft_of(path, content) as draft:
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
    return True


@contextmanager
def _draft_of(path: Path, content: bytes) -> Iterator[Path]:
    """Write ``content`` to a file beside ``path``, which is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to disk: without it a power cut can undo a rename."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
