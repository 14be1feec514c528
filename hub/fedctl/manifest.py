"""Files that people write: YAML 1.2 as plain data, with the position of every value.

Nothing that surprises is taken: no aliases, no duplicate keys, no tags, no ``yes`` that turns into
true, no date. What is left is JSON's data; the hub checks what it means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from fedctl.errors import CliError, ExitCode, FieldError

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
MAX_DOCUMENTS: Final = 100
_MAX_DIGITS: Final = 400
_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNPRINTABLE: Final = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"
)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in a file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file, and where each of its values stands."""

    source: str
    data: dict[str, Any]
    positions: Mapping[Path, Position]

    def where(self, dotted: str) -> str:
        """Return ``file:line:column`` of a fault's path, or of the nearest value above it."""
        path: Path = tuple(part for part in dotted.split(".") if part)
        while path not in self.positions and path:
            path = path[:-1]
        position = self.positions.get(path, Position(1, 1))
        return f"{self.source}:{position.line}:{position.column}"


def parse(content: bytes, source: str) -> tuple[Manifest, ...]:
    """Read every document of a file; raise CliError with line and column of the first fault."""
    if len(content) > MAX_BYTES:
        raise CliError(ExitCode.INVALID, f"{source} is larger than {MAX_BYTES} bytes; split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(
            ExitCode.INVALID, f"{source} is no UTF-8 text (byte {error.start})"
        ) from error
    if (bad := _UNPRINTABLE.search(text)) is not None:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        fault = FieldError(f"{source}:{line}:{column}", f"remove the character {bad.group()!r}")
        raise CliError(ExitCode.INVALID, f"{source} cannot be read", faults=(fault,))
    try:
        found = tuple(_documents(text, source))
    except yaml.MarkedYAMLError as error:
        raise _marked(error, source) from error
    except yaml.YAMLError as error:
        raise CliError(ExitCode.INVALID, f"{source} is no YAML: {error}") from error
    if not found:
        raise CliError(ExitCode.INVALID, f"{source} is empty", hint="docs/federation-file.md")
    return found


def _documents(text: str, source: str) -> Iterator[Manifest]:
    reader = _Reader(text, source)
    for event in reader.events:
        if isinstance(event, yaml.DocumentStartEvent):
            manifest = reader.document()
            if manifest is not None:
                yield manifest


class _Reader:
    """Builds values from the parser's events: no node is made, nothing recurses unbounded."""

    def __init__(self, text: str, source: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=loader))
        self._source = source
        self._count = 0
        self._places: dict[Path, Position] = {}

    def document(self) -> Manifest | None:
        """Read the document that has just begun; None when it is empty."""
        self._places = {}
        event = next(self.events)
        if isinstance(event, yaml.ScalarEvent) and _is_nothing(event):
            return None
        self._count += 1
        if self._count > MAX_DOCUMENTS:
            raise _refused(event, f"the file holds more than {MAX_DOCUMENTS} documents")
        data = self._value(event, ())
        if not isinstance(data, dict):
            raise _refused(event, "a document is a mapping: `kind: Federation`, `name: ...`")
        return Manifest(self._source, data, self._places)

    def _value(self, event: Any, path: Path) -> Any:
        self._check(event, path)
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(path)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case _:
                return _scalar(event)

    def _check(self, event: Any, path: Path) -> None:
        mark = event.start_mark
        self._places[path] = Position(mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, "aliases (*name) are not taken: write the value out")
        if len(path) > MAX_DEPTH:
            raise _refused(event, f"this is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            raise _refused(event, f"the tag {event.tag} is not taken: leave it out")

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = _scalar(event) if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(key, str):
                raise _refused(event, "a key must be text; quote it")
            if key == "<<" and event.implicit[0]:
                raise _refused(event, "merge keys (<<) are not taken: write the keys out")
            if key in found:
                line = self._places[(*path, key)].line
                raise _refused(event, f"the key {key!r} is written twice, first at line {line}")
            found[key] = self._value(next(self.events), (*path, key))
        return found

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            found.append(self._value(event, (*path, str(len(found)))))
        return found


def _is_nothing(event: Any) -> bool:
    return bool(event.implicit[0]) and not event.value


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
        raise _refused(event, f"{text} is no number that JSON has; quote it if it is text")
    return text


def _integer(event: Any, text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _refused(event, f"a number has at most {_MAX_DIGITS} digits; quote it if it is text")
    for prefix, radix in (("0o", 8), ("0x", 16)):
        if text.startswith(prefix):
            return int(text[2:], radix)
    return int(text)


def _refused(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, event.start_mark)


def _marked(error: yaml.MarkedYAMLError, source: str) -> CliError:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark is not None else source
    message = error.problem or "this is no YAML"
    if error.context:
        message = f"{message} ({error.context})"
    return CliError(
        ExitCode.INVALID, f"{source} cannot be read", faults=(FieldError(where, message),)
    )
