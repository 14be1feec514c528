"""Private files: who may read them, and what is there after a failure."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fedcore.files import create_private, make_private, write_private


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "new" / "key", b"secret")
        make_private(tmp_path / "database")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "key").read_bytes() == b"secret"
    assert mode_of(tmp_path / "new") == 0o700
    assert mode_of(tmp_path / "new" / "key") == mode_of(tmp_path / "database") == 0o600


def test_writing_again_replaces_the_content_and_a_mode_that_is_too_wide(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    write_private(path, b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert create_private(path, b"first") is True
    assert create_private(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_making_private_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.write_bytes(b"rows")
    make_private(path)
    assert path.read_bytes() == b"rows"
