"""What can go wrong with a call to KubeFATE, by what the caller can do about it.

The service answers 500 to nearly everything, so its sentences are all there is to go by. They are
those of KubeFATE ``pkg/api`` and ``pkg/job``, versions 1.4.4 and 1.4.5.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

_MAX_TEXT: Final = 500


class KubeFateError(Exception):
    """Base of every failure. ``message`` is the service's sentence; ``status`` 0: no answer."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Unauthorized(KubeFateError):
    """The user name or password is wrong, or a token was refused twice."""


class RecordNotFound(KubeFateError):
    """The service has no such cluster, job or chart (any more)."""


class AlreadyExists(KubeFateError):
    """The service has a cluster record of this name and namespace."""


class Unchanged(KubeFateError):
    """The service holds this very configuration already and does nothing."""


class AnotherOperation(KubeFateError):
    """Helm is at work on this release: wait and try again."""


class Refused(KubeFateError):
    """The service will not do this; its sentence says why."""


class Unavailable(KubeFateError):
    """No answer, an empty one, or an ingress's error page: the same call may succeed later."""


class TooLarge(KubeFateError):
    """The answer exceeds the limit."""


class WrongAnswer(KubeFateError):
    """Something answers, but not as KubeFATE does."""


_SENTENCES: Final[tuple[tuple[str, type[KubeFateError]], ...]] = (
    ("record not found", RecordNotFound),
    ("already existed", AlreadyExists),
    ("cluster is not existed", RecordNotFound),
    ("configuration file did not change", Unchanged),
    ("another operation (install/upgrade/rollback) is in progress", AnotherOperation),
)


def error_of(status: int, content_type: str, body: bytes) -> KubeFateError:
    """Make the error for an answer of 300 or more."""
    if status == HTTPStatus.UNAUTHORIZED:
        return Unauthorized(_sentence(body) or "KubeFATE refused the token", status=status)
    if not body:
        return Unavailable(f"KubeFATE answered {status} and nothing else", status=status)
    if "json" not in content_type:
        # An ingress's page, or `404 page not found` of another service on that port.
        shown = body[:80].decode("utf-8", "replace").strip()
        return Unavailable(f"no KubeFATE answers there: {status} {shown!r}", status=status)
    sentence = _sentence(body)
    return kind_of(sentence)(sentence or f"KubeFATE answered {status}", status=status)


def kind_of(sentence: str) -> type[KubeFateError]:
    """Return the error class for one of the service's sentences; Refused for an unknown one."""
    lower = sentence.lower()
    return next((kind for part, kind in _SENTENCES if part in lower), Refused)


def _sentence(body: bytes) -> str:
    try:
        parsed: Any = json.loads(body)
    except ValueError:
        return body[:_MAX_TEXT].decode("utf-8", "replace")
    if not isinstance(parsed, dict):
        return ""
    return str(parsed.get("error") or parsed.get("message") or "")[:_MAX_TEXT]
