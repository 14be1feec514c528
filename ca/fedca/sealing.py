"""Secrets at rest: AES-256-GCM under a random data key, itself wrapped by one master key.

A sealed blob is bound to its purpose and to its record: in another row it does not open. The
wrapped data key stands before the secret, so that a change of master key re-wraps 48 bytes and
leaves the rest. Layout: version (1), nonce (12), wrapped data key (48), nonce (12), ciphertext.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from fedcore.errors import Denied, FedError, Internal, Invalid
from fedcore.files import create_private

_VERSION: Final = b"\x01"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_WRAPPED_BYTES: Final = _KEY_BYTES + 16
_HEAD_BYTES: Final = 1 + _NONCE_BYTES + _WRAPPED_BYTES + _NONCE_BYTES
_MAX_FILE_BYTES: Final = 4096
_CHECK_TEXT: Final = b"fedca master key"

ARGON2_MEMORY_KIB: Final = 256 * 1024
"""With three passes 0.8 s on a server core: dear enough for a guesser (security notes §3.8)."""
ARGON2_PASSES: Final = 3
ARGON2_LANES: Final = 4
_MAX_ARGON2_MEMORY_KIB: Final = 4 * 1024 * 1024
_MAX_ARGON2_PASSES: Final = 64
_MIN_SALT_BYTES: Final = 8
MIN_PASSPHRASE_CHARS: Final = 12


class Sealer:
    """Seals and opens secrets under one master key, which it never shows."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise Invalid(f"the master key must be {_KEY_BYTES} bytes long")
        self._master = AESGCM(master_key)

    @classmethod
    def from_key_file(cls, path: Path) -> Self:
        """Read the master key from a file that its owner alone may read; make it if it is absent.

        Two processes that make it at once end with one file. Raises ``Invalid`` if others may read
        the file or if it holds no key.
        """
        if not path.exists():
            create_private(path, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
        text = _read_private(path)
        try:
            return cls(bytes.fromhex(text.decode("ascii").strip()))
        except (ValueError, Invalid):
            raise Invalid("the key file holds no master key", path=str(path)) from None

    @classmethod
    def from_passphrase(
        cls, passphrase: str, path: Path, *, memory_kib: int = ARGON2_MEMORY_KIB
    ) -> Self:
        """Derive the master key by Argon2id; ``path`` keeps the salt, the costs and a check value.

        Blocks for about a second: call it at start or by ``to_thread``. Raises ``Denied`` with a
        constant message if the passphrase is not the one that made the file.
        """
        if not path.exists():
            if len(passphrase) < MIN_PASSPHRASE_CHARS:
                raise Invalid(f"the passphrase needs {MIN_PASSPHRASE_CHARS} characters or more")
            create_private(path, _new_parameters(passphrase, memory_kib))
        salt, costs, check = _parse_parameters(_read_private(path), path)
        sealer = cls(_derive(passphrase, salt, costs))
        try:
            sealer.unseal(check, purpose="master-key-check", record_id="1")
        except FedError:
            raise Denied("the passphrase does not open the certificate authority") from None
        return sealer

    def seal(self, secret: bytes, *, purpose: str, record_id: str) -> bytes:
        """Encrypt ``secret`` for one record; twice the same secret gives different bytes."""
        bound = _bound_to(_VERSION, purpose, record_id)
        data_key = AESGCM.generate_key(bit_length=_KEY_BYTES * 8)
        outer, inner = os.urandom(_NONCE_BYTES), os.urandom(_NONCE_BYTES)
        wrapped = self._master.encrypt(outer, data_key, b"data-key\x00" + bound)
        return _VERSION + outer + wrapped + inner + AESGCM(data_key).encrypt(inner, secret, bound)

    def unseal(self, sealed: bytes, *, purpose: str, record_id: str) -> bytes:
        """Decrypt a blob that was sealed for this purpose and record.

        Raises ``Internal`` for any other, without saying what differs.
        """
        bound = _bound_to(sealed[:1], purpose, record_id)
        cut = 1 + _NONCE_BYTES
        outer, wrapped = sealed[1:cut], sealed[cut : cut + _WRAPPED_BYTES]
        inner = sealed[cut + _WRAPPED_BYTES : _HEAD_BYTES]
        try:
            data_key = self._master.decrypt(outer, wrapped, b"data-key\x00" + bound)
            return AESGCM(data_key).decrypt(inner, sealed[_HEAD_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise Internal(
                "a sealed secret does not open: wrong master key, or the record was altered",
                purpose=purpose,
                record_id=record_id,
            ) from None


def _bound_to(version: bytes, purpose: str, record_id: str) -> bytes:
    # A length before the purpose: no two pairs share one text.
    head = purpose.encode()
    return version + len(head).to_bytes(2, "big") + head + record_id.encode()


def _read_private(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise Invalid(
                f"others may use this key file (mode {mode:04o}): make it 0600", path=str(path)
            )
        return file.read(_MAX_FILE_BYTES)


def _derive(passphrase: str, salt: bytes, costs: tuple[int, int, int]) -> bytes:
    memory_kib, passes, lanes = costs
    function = Argon2id(
        salt=salt, length=_KEY_BYTES, iterations=passes, lanes=lanes, memory_cost=memory_kib
    )
    return function.derive(passphrase.encode())


def _new_parameters(passphrase: str, memory_kib: int) -> bytes:
    salt = os.urandom(16)
    sealer = Sealer(_derive(passphrase, salt, (memory_kib, ARGON2_PASSES, ARGON2_LANES)))
    check = sealer.seal(_CHECK_TEXT, purpose="master-key-check", record_id="1")
    content = {
        "kdf": "argon2id",
        "salt": salt.hex(),
        "memory_kib": memory_kib,
        "passes": ARGON2_PASSES,
        "lanes": ARGON2_LANES,
        "check": check.hex(),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _parse_parameters(text: bytes, path: Path) -> tuple[bytes, tuple[int, int, int], bytes]:
    try:
        content = json.loads(text)
        salt, check = bytes.fromhex(content["salt"]), bytes.fromhex(content["check"])
        costs = (int(content["memory_kib"]), int(content["passes"]), int(content["lanes"]))
    except (ValueError, KeyError, TypeError):
        raise Invalid("the key file holds no passphrase parameters", path=str(path)) from None
    memory_kib, passes, lanes = costs
    # An altered file must not make the start take all memory.
    is_sane = (
        8 * lanes <= memory_kib <= _MAX_ARGON2_MEMORY_KIB
        and 1 <= passes <= _MAX_ARGON2_PASSES
        and 1 <= lanes <= _MAX_ARGON2_PASSES
        and len(salt) >= _MIN_SALT_BYTES
    )
    if not is_sane:
        raise Invalid("the key file asks for impossible costs", path=str(path))
    return salt, costs, check
