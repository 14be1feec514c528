"""Passwords and tokens, as the service's user module and gin-jwt make them.

The signing key is made at each process start and kept nowhere: a restart ends every token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import string
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fedsim.kubefate.records import User
from fedsim.kubefate.state import State

TOKEN_LIFETIME: Final = timedelta(minutes=30)
_ALPHABET: Final = string.ascii_lowercase + string.digits
_SALT_CHARS: Final = 128
_HASH_BYTES: Final = 256


class TokenError(Exception):
    """A token that is refused: the HTTP code, and gin-jwt's text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def make_user(username: str, password: str, email: str, rounds: int) -> User:
    """Make a user with a new salt and a hashed password."""
    salt = _random_text(_SALT_CHARS)
    return User(
        uuid=str(uuid.uuid4()),
        username=username,
        password=hash_password(password, salt, rounds),
        salt=salt,
        email=email,
    )


def hash_password(password: str, salt: str, rounds: int) -> str:
    """Hash as the service does: PBKDF2 with SHA-256, 256 bytes, as hex."""
    raw = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), rounds, _HASH_BYTES)
    return raw.hex()


def is_valid_login(state: State, username: str, password: str, rounds: int) -> bool:
    """Check a password; an unknown user is refused like a wrong password."""
    user = state.users.find(lambda row: row.username == username)
    if user is None:
        return False
    return hmac.compare_digest(user.password, hash_password(password, user.salt, rounds))


class Tokens:
    """Sign and check the tokens of one process life."""

    def __init__(self) -> None:
        self._key = _random_text(32).encode()

    def issue(self, username: str, now: datetime) -> tuple[str, datetime]:
        """Return a token and the time at which it ends."""
        expires = now + TOKEN_LIFETIME
        claims = {"exp": int(expires.timestamp()), "id": username, "orig_iat": int(now.timestamp())}
        parts = [_encode({"alg": "HS256", "typ": "JWT"}), _encode(claims)]
        signed = ".".join(parts)
        return f"{signed}.{self._sign(signed)}", expires

    def check(self, token: str, now: datetime) -> str:
        """Return the user name that a token bears; raise TokenError."""
        signed, dot, signature = token.rpartition(".")
        if not dot or signed.count(".") != 1:
            raise TokenError(401, "token contains an invalid number of segments")
        claims = _decode(signed.partition(".")[2])
        if not hmac.compare_digest(signature.encode(), self._sign(signed).encode()):
            raise TokenError(401, "signature is invalid")
        expires = claims.get("exp")
        if not isinstance(expires, int | float):
            raise TokenError(400, "missing exp field")
        late = now.timestamp() - expires
        if late > 0:
            raise TokenError(401, f"token is expired by {int(late)}s")
        username = str(claims.get("id") or "")
        if not username:
            raise TokenError(403, "you don't have permission to access this resource")
        return username

    def _sign(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def find_token(headers: Mapping[str, str], query: Mapping[str, str], cookie: str) -> str:
    """Look for a token in header, query and cookie; raise TokenError with the last one's text."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and token:
        return token
    found = query.get("token") or cookie
    if not found:
        raise TokenError(401, "cookie token is empty")
    return found


def _encode(part: dict[str, Any]) -> str:
    text = json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, Any]:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        claims = json.loads(raw)
    except (binascii.Error, ValueError) as error:
        raise TokenError(401, f"illegal base64 data: {error}") from error
    if not isinstance(claims, dict):
        raise TokenError(401, "token claims are malformed")
    return claims


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
