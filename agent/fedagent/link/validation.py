"""What the hub says, checked before anything of it is kept: a hub can be wrong, or hostile.

What is refused here ends the session by ``Invalid``; the agent dials again, with its waits, and
what runs at the site goes on. Nothing of a refused frame is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedcore import limits
from fedcore.errors import FieldError, Invalid
from fedproto.agent.v1 import document_pb2, link_pb2

_MAX_NUMBER: Final = 2**63 - 1
"""SQLite's integers."""
_MAX_IDENTIFIER: Final = 64
_MAX_DIGEST: Final = 128
_MIN_HEARTBEAT_MS: Final = 50
_MAX_HEARTBEAT_MS: Final = limits.HEARTBEAT_MAX_INTERVAL_S * 1000
_MAX_RETRY_MS: Final = 600_000
"""A hub that goes away may ask for ten minutes of patience, no more."""


def checked(frame: link_pb2.HubFrame) -> link_pb2.HubFrame:
    """Return a frame that can be kept; times that would make the agent sleep long are cut short.

    Raises Invalid with the field that is wrong.
    """
    field_error = next(_frame_errors(frame), None)
    if field_error is not None:
        raise Invalid(
            f"the hub sent a {field_error.path} that {field_error.message}", errors=(field_error,)
        )
    _cut_times(frame)
    return frame


def _frame_errors(frame: link_pb2.HubFrame) -> Iterator[FieldError]:
    yield from _number("epoch", frame.epoch)
    match frame.WhichOneof("body"):
        case "welcome":
            yield from _number("welcome.epoch", frame.welcome.epoch)
            yield from _number("welcome.resume_after_seq", frame.welcome.resume_after_seq)
        case "event_ack":
            yield from _number("event_ack.acked_through", frame.event_ack.acked_through)
        case "command":
            yield from _identifier("command.command_id", frame.command.command_id)
        case "documents":
            for document in frame.documents.documents:
                yield from _document_errors(document)
            for resource_id in frame.documents.forget:
                yield from _identifier("documents.forget", resource_id)
        case _:
            return


def _document_errors(document: document_pb2.DesiredDocument) -> Iterator[FieldError]:
    yield from _identifier("documents.resource_id", document.resource_id)
    yield from _number("documents.generation", document.generation)
    if len(document.digest) > _MAX_DIGEST:
        yield FieldError("documents.digest", f"is longer than {_MAX_DIGEST} characters")


def _number(path: str, value: int) -> Iterator[FieldError]:
    if value > _MAX_NUMBER:
        yield FieldError(path, f"is larger than {_MAX_NUMBER}")


def _identifier(path: str, text: str) -> Iterator[FieldError]:
    if not 1 <= len(text) <= _MAX_IDENTIFIER or not text.isascii() or not text.isprintable():
        yield FieldError(path, f"is not 1 to {_MAX_IDENTIFIER} printable ASCII characters")


def _cut_times(frame: link_pb2.HubFrame) -> None:
    match frame.WhichOneof("body"):
        case "welcome":
            asked = frame.welcome.heartbeat_interval_ms
            frame.welcome.heartbeat_interval_ms = _heartbeat_ms(asked)
        case "heartbeat_ack":
            asked = frame.heartbeat_ack.next_interval_ms
            frame.heartbeat_ack.next_interval_ms = _heartbeat_ms(asked)
        case "go_away":
            asked = frame.go_away.retry_after_ms
            frame.go_away.retry_after_ms = min(asked, _MAX_RETRY_MS)
            frame.go_away.message = frame.go_away.message[: limits.MAX_TEXT_CHARS]
        case "fenced":
            frame.fenced.reason = frame.fenced.reason[: limits.MAX_TEXT_CHARS]
        case _:
            return


def _heartbeat_ms(asked: int) -> int:
    """Keep an interval within bounds; 0 leaves it as it is."""
    return min(max(asked, _MIN_HEARTBEAT_MS), _MAX_HEARTBEAT_MS) if asked else 0
