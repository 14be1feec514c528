"""Tokens as gin-jwt makes them.

The signing key is made at each process start and kept nowhere: a restart ends every token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

TOKEN_LIFETIME: Final = timedelta(minutes=30)


class TokenError(Exception):
    """A token that is refused: the HTTP code, and gin-jwt's text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Tokens:
    """Signs and checks the tokens of one process life."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, username: str, now: datetime) -> tuple[str, datetime]:
        """Return a token and the time at which it ends."""
        expires = now + TOKEN_LIFETIME
        claims = {"exp": int(expires.timestamp()), "id": username, "orig_iat": int(now.timestamp())}
        signed = ".".join((_encode({"alg": "HS256", "typ": "JWT"}), _encode(claims)))
        return f"{signed}.{self._sign(signed)}", expires

    def check(self, token: str, now: datetime) -> str:
        """Return the user name that a token bears; raise TokenError."""
        signed, dot, signature = token.rpartition(".")
        if not dot or signed.count(".") != 1:
            raise TokenError(401, "token contains an invalid number of segments")
        claims = _decode(signed.partition(".")[2])
        if not hmac.compare_digest(signature.encode(), self._sign(signed).encode()):
            raise TokenError(401, "signature is invalid")
        late = now.timestamp() - claims["exp"]
        if late > 0:
            raise TokenError(401, f"token is expired by {int(late)}s")
        return str(claims["id"])

    def _sign(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def find_token(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return the token of the header or the query; raise TokenError with gin-jwt's last text."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and token:
        return token
    if token := query.get("token", ""):
        return token
    raise TokenError(401, "cookie token is empty")


def _encode(part: dict[str, Any]) -> str:
    text = json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, Any]:
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError) as error:
        raise TokenError(401, f"illegal base64 data: {error}") from error
    if not isinstance(claims, dict):
        raise TokenError(401, "token claims are malformed")
    return claims
