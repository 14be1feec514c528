"""Reads YAML 1.2 as the data of JSON, with the position of every value.

Every YAML file that people or charts hand to us goes through this one reader: federations, a site's
policy and credentials, releases, Chart.yaml. (Route tables in ConfigMaps do not: their keys are
numbers, and ``fedagent`` reads them as KubeFATE's programs do.)

It refuses what a person who reads the file could take for something else, and what makes little
text large: anchors and aliases, merge keys, tags, keys that are not text, keys that are written
twice, numbers that JSON does not have, control characters. ``no``, ``on`` and dates are text, as
YAML 1.2's core schema has it.

The events come from libyaml, PyYAML's parser in C. ``ruamel.yaml`` knows YAML 1.2 by itself, but
gives positions in pure Python alone: a federation of 1,000 parties (190 KB) took it 3.1 s of CPU,
and this reader 0.15 s on the same machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
"""Levels of nesting. The reader calls itself once a level; Python's stack ends near 1,000."""
MAX_DOCUMENTS: Final = 100
_MAX_DIGITS: Final = 400
"""JSON's largest double has 309; Python refuses to read more than 4,300."""

_MAX_QUOTED_CHARS: Final = 60

_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNPRINTABLE: Final = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"
)
"""All but YAML 1.2's ``c-printable``, and U+0085: libyaml takes that for a line break, as YAML 1.1
does, and would fold it into a space."""

ValuePath = tuple[str, ...]
"""The keys that lead to a value; an item of a list has its index as text."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in a file; lines and columns are counted from 1."""

    line: int
    column: int


_START: Final = Position(1, 1)


class YamlError(ValueError):
    """The text is not YAML that this reader takes. ``position`` is None for the text as a whole."""

    def __init__(self, message: str, position: Position | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position

    def in_file(self, name: str) -> str:
        """Return the message after its position, as compilers write it: ``FILE:3:7: message``."""
        return f"{self.where(name)}: {self.message}"

    def where(self, name: str) -> str:
        """Return the position in a file: ``FILE:3:7``, or ``FILE`` for the text as a whole."""
        if self.position is None:
            return name
        return f"{name}:{self.position.line}:{self.position.column}"


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document: its data, and where each value stands (the document itself under ``()``)."""

    data: Any
    positions: Mapping[ValuePath, Position]

    def position_of(self, dotted_path: str) -> Position:
        """Return the position of a value such as ``parties.1.id``, or of the nearest one above."""
        path: ValuePath = tuple(part for part in dotted_path.split(".") if part)
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, _START)


def read_documents(content: bytes, *, max_bytes: int = MAX_BYTES) -> tuple[YamlDocument, ...]:
    """Read every document that is not empty; raise YamlError with the first one's position."""
    text = _decode(content, max_bytes)
    try:
        return tuple(_EventReader(text).documents())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from error
    except yaml.YAMLError as error:
        raise YamlError(f"this is not YAML: {error}") from error


def read_document(content: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a text of one document and return its data, None when it is empty.

    Raises YamlError as ``read_documents`` does, and at the second document.
    """
    documents = read_documents(content, max_bytes=max_bytes)
    if len(documents) > 1:
        raise YamlError("only one document is taken here", documents[1].position_of(""))
    return documents[0].data if documents else None


def _decode(content: bytes, max_bytes: int) -> str:
    if len(content) > max_bytes:
        raise YamlError(f"it is larger than {max_bytes} bytes; split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(f"it is not UTF-8 text (byte {error.start})") from error
    if (unprintable := _UNPRINTABLE.search(text)) is not None:
        start = unprintable.start()
        line_start = text.rfind("\n", 0, start)
        position = Position(text.count("\n", 0, start) + 1, start - line_start)
        raise YamlError(f"remove the character {unprintable.group()!r}", position)
    return text


def _syntax_error(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    message = error.problem or "this is not YAML"
    if error.context:
        message = f"{message} ({error.context})"
    return YamlError(message, _position(mark) if mark is not None else None)


class _EventReader:
    """Builds values from the parser's events, so that limits hold before anything is built."""

    def __init__(self, text: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=loader))
        self._positions: dict[ValuePath, Position] = {}

    def documents(self) -> Iterator[YamlDocument]:
        """Yield the documents of the text."""
        count = 0
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            first = next(self._events)
            if isinstance(first, yaml.ScalarEvent) and first.implicit[0] and not first.value:
                continue  # nothing between two separators, or comments alone
            count += 1
            if count > MAX_DOCUMENTS:
                raise _refusal(first, f"the file holds more than {MAX_DOCUMENTS} documents")
            self._positions = {}
            yield YamlDocument(self._value(first, ()), self._positions)

    def _value(self, event: Any, path: ValuePath) -> Any:
        self._positions[path] = _position(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refusal(event, "anchors (&) and aliases (*) are not taken: write the value out")
        if len(path) > MAX_DEPTH:
            raise _refusal(event, f"this is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            raise _refusal(event, f"the tag {_quote(event.tag)} is not taken: leave it out")
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(path)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case _:
                return _scalar(event)

    def _mapping(self, path: ValuePath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event)
            if key in mapping:
                line = self._positions[(*path, key)].line
                raise _refusal(
                    event, f"the key {_quote(key)} is written twice, first at line {line}"
                )
            mapping[key] = self._value(next(self._events), (*path, key))
        return mapping

    @staticmethod
    def _key(event: Any) -> str:
        key = _scalar(event) if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str):
            raise _refusal(event, "a key must be text; quote it")
        if event.anchor is not None or event.tag is not None:
            raise _refusal(event, "a key takes no anchor and no tag: leave it out")
        if key == "<<" and event.implicit[0]:
            raise _refusal(event, "merge keys (<<) are not taken: write the keys out")
        return key

    def _sequence(self, path: ValuePath) -> list[Any]:
        sequence: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            sequence.append(self._value(event, (*path, str(len(sequence)))))
        return sequence


def _scalar(event: Any) -> Any:
    """Resolve a scalar as YAML 1.2's core schema does; quoted text stays text."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return _integer(event, text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    if _SPECIAL.fullmatch(text) or _FLOAT.fullmatch(text):
        raise _refusal(event, f"{_quote(text)} is no number of JSON's; quote it if it is text")
    return text


def _integer(event: Any, text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _refusal(event, f"a number has at most {_MAX_DIGITS} digits; quote it if it is text")
    for prefix, radix in (("0o", 8), ("0x", 16)):
        if text.startswith(prefix):
            return int(text[2:], radix)
    return int(text)


def _quote(text: str) -> str:
    """Quote what the file says, in short: it ends up in an error message."""
    return repr(text if len(text) <= _MAX_QUOTED_CHARS else text[:_MAX_QUOTED_CHARS] + "…")


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _refusal(event: Any, message: str) -> YamlError:
    return YamlError(message, _position(event.start_mark))
