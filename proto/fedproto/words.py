"""Words to numbers of the wire and back: one table of enums, nothing written out twice.

A wire name is the enum's name in capitals, then the word's own: ``PHASE_READY``. Both sides follow
the Protocol Buffers style guide, so the pairs are derived; a test holds that none is missing.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, TypeVar

from fedcore import words
from fedproto.agent.v1 import document_pb2, status_pb2

W = TypeVar("W", bound=StrEnum)

HUB_ONLY: Final = frozenset({words.Phase.DRAFT, words.Phase.UNKNOWN})
"""Phases that the hub shows of its own knowledge; no agent may send them."""

WIRE_ENUMS: Final[dict[type[StrEnum], Any]] = {
    words.Phase: status_pb2.Phase,
    words.Severity: status_pb2.Severity,
    words.StepState: status_pb2.StepState,
    words.ProbeState: status_pb2.ProbeState,
    words.EndpointMode: document_pb2.EndpointMode,
    words.ParticipantKind: document_pb2.ParticipantKind,
    words.RepairPolicy: document_pb2.RepairPolicy,
    words.TableKind: document_pb2.TableKind,
    words.ProxyKind: document_pb2.ProxyKind,
    words.WorkloadKind: document_pb2.WorkloadKind,
    words.KeyAlgorithm: document_pb2.KeyAlgorithm,
    words.KeyFormat: document_pb2.KeyFormat,
}


def _prefix(words_of: type[StrEnum]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words_of.__name__).upper() + "_"


# Keyed by type and name: members of two StrEnums with one text are equal and hash alike.
_TO_WIRE: Final[dict[tuple[type[StrEnum], str], int]] = {
    (words_of, word.name): wire_enum.Value(_prefix(words_of) + word.name)
    for words_of, wire_enum in WIRE_ENUMS.items()
    for word in words_of
    if words_of is not words.Phase or word not in HUB_ONLY
}
_FROM_WIRE: Final[dict[tuple[type[StrEnum], int], StrEnum]] = {
    (words_of, number): words_of[name] for (words_of, name), number in _TO_WIRE.items()
}


def to_wire(word: StrEnum) -> Any:
    """Return the wire's number of a word. KeyError for a phase that is the hub's own.

    Typed ``Any``: the stubs give each enum a type of its own, which no signature can name here.
    """
    return _TO_WIRE[type(word), word.name]


def from_wire(words_of: type[W], number: int) -> W | None:
    """Return the word of a number; None for UNSPECIFIED and for one that this version lacks.

    A peer may be newer, so the caller decides what an unknown word means to it.
    """
    word = _FROM_WIRE.get((words_of, number))
    return word if isinstance(word, words_of) else None
