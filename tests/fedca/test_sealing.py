"""Secrets at rest."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedca.sealing import Sealer
from fedcore.errors import Denied, Internal, Invalid

SEALER = Sealer(bytes(32))
CHEAP_KIB = 1024


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_what_was_sealed_opens_for_its_record(secret: bytes, purpose: str, record: str) -> None:
    sealed = SEALER.seal(secret, purpose=purpose, record_id=record)
    assert SEALER.unseal(sealed, purpose=purpose, record_id=record) == secret


@given(st.integers(min_value=0, max_value=400), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_anywhere_does_not_open(position: int, flip: int) -> None:
    sealed = bytearray(SEALER.seal(b"secret" * 10, purpose="p", record_id="r"))
    sealed[position % len(sealed)] ^= flip
    with pytest.raises(Internal):
        SEALER.unseal(bytes(sealed), purpose="p", record_id="r")


@given(st.integers(min_value=0, max_value=88))
def test_a_cut_blob_does_not_open(length: int) -> None:
    sealed = SEALER.seal(b"", purpose="p", record_id="r")
    assert len(sealed) == 89
    with pytest.raises(Internal):
        SEALER.unseal(sealed[:length], purpose="p", record_id="r")


@pytest.mark.parametrize(("purpose", "record"), [("p", "r2"), ("p2", "r"), ("pr", ""), ("", "pr")])
def test_a_blob_of_another_row_does_not_open(purpose: str, record: str) -> None:
    sealed = SEALER.seal(b"secret", purpose="p", record_id="r")
    with pytest.raises(Internal, match="does not open"):
        SEALER.unseal(sealed, purpose=purpose, record_id=record)


def test_sealing_twice_gives_different_bytes() -> None:
    first, second = (SEALER.seal(b"x", purpose="p", record_id="r") for _ in range(2))
    assert first != second


def test_another_master_key_does_not_open() -> None:
    sealed = SEALER.seal(b"x", purpose="p", record_id="r")
    with pytest.raises(Internal):
        Sealer(os.urandom(32)).unseal(sealed, purpose="p", record_id="r")


def test_a_master_key_of_another_size_is_refused() -> None:
    with pytest.raises(Invalid):
        Sealer(bytes(16))


def test_a_key_file_is_made_private_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    sealed = Sealer.from_key_file(path).seal(b"x", purpose="p", record_id="r")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Sealer.from_key_file(path).unseal(sealed, purpose="p", record_id="r") == b"x"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_make_the_key_file_at_once_share_one(tmp_path: Path) -> None:
    path, sealers = tmp_path / "master.key", []
    threads = [
        threading.Thread(target=lambda: sealers.append(Sealer.from_key_file(path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    sealed = sealers[0].seal(b"x", purpose="p", record_id="r")
    assert len(sealers) == 8
    assert all(s.unseal(sealed, purpose="p", record_id="r") == b"x" for s in sealers)
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    Sealer.from_key_file(path)
    path.chmod(0o640)
    with pytest.raises(Invalid, match=r"0640.*0600"):
        Sealer.from_key_file(path)


@pytest.mark.parametrize("content", [b"", b"zz", b"00" * 16, "ключ".encode(), bytes(32)])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(Invalid, match="holds no master key"):
        Sealer.from_key_file(path)


def test_a_passphrase_opens_what_it_sealed_and_another_is_denied(tmp_path: Path) -> None:
    path, phrase = tmp_path / "master.json", "correct horse battery"
    made = Sealer.from_passphrase(phrase, path, memory_kib=CHEAP_KIB)
    sealed = made.seal(b"x", purpose="p", record_id="r")
    assert Sealer.from_passphrase(phrase, path).unseal(sealed, purpose="p", record_id="r") == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    assert phrase.encode() not in path.read_bytes()
    with pytest.raises(Denied, match="does not open"):
        Sealer.from_passphrase("correct horse batterz", path)


def test_a_short_passphrase_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "master.json"
    with pytest.raises(Invalid, match="12 characters"):
        Sealer.from_passphrase("short", path, memory_kib=CHEAP_KIB)
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"memory_kib": 2**40},
        {"passes": 0},
        {"lanes": 10**9},
        {"salt": "00"},
        {"salt": None},
        {"check": "xyz"},
        {"memory_kib": "much"},
    ],
)
def test_altered_passphrase_parameters_are_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path, phrase = tmp_path / "master.json", "correct horse battery"
    Sealer.from_passphrase(phrase, path, memory_kib=CHEAP_KIB)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Invalid):
        Sealer.from_passphrase(phrase, path)
