"""API tokens: stored hashed, each a principal; the first one is made at first start."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from pathlib import Path
from typing import Final

from fedcore.errors import Invalid, Unauthenticated
from fedcore.files import create_private
from fedcore.ids import new_id
from fedhub.domain.access import Permission, Principal
from fedhub.store import tokens
from fedsql.engine import Database

ADMIN: Final = "admin"
PREFIX: Final = "flm_api_"
HINT: Final = f"send the API token as `Authorization: Bearer {PREFIX}...`"


def hash_token(token: str) -> str:
    """SHA-256 of a token, hexadecimal: enough for a secret of 256 bits (ASVS 6.5.2)."""
    return hashlib.sha256(token.encode()).hexdigest()


async def ensure_admin_token(database: Database, path: Path) -> bool:
    """Make the administrator's token and write it to ``path`` (0600), unless it is there.

    Returns whether one was made. To replace a lost file, start again: the old token then stops to
    work. A file that the database does not know (somebody replaced it) is taken up.
    """
    kept = await asyncio.to_thread(_read_token, path)
    token = kept or PREFIX + secrets.token_urlsafe(32)
    async with database.begin() as db:
        if kept is not None and await tokens.find(db, hash_token(kept)) is not None:
            return False
        await tokens.add(
            db,
            token_id=new_id(),
            name=ADMIN,
            token_sha256=hash_token(token),
            permissions=frozenset(Permission),
        )
    if kept is None:
        await asyncio.to_thread(create_private, path, f"{token}\n".encode())
    return kept is None


def _read_token(path: Path) -> str | None:
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        return None
    if not token.startswith(PREFIX):
        raise Invalid(f"{path} holds no API token: delete it, and a new one is made")
    return token


async def authenticate(database: Database, authorization: str) -> Principal:
    """Turn an ``Authorization: Bearer`` header into a principal, or raise Unauthenticated."""
    scheme, _, token = authorization.partition(" ")
    # A header may carry any byte; a token is ASCII, and only that can be hashed.
    if not token.isascii() or scheme.lower() != "bearer" or not token.startswith(PREFIX):
        raise Unauthenticated(HINT)
    async with database.read() as db:
        principal = await tokens.find(db, hash_token(token.strip()))
    if principal is None:
        raise Unauthenticated("this API token is unknown or revoked")
    return principal
