"""Files that people write: the documents of a file, and where each of their values stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fedcore.errors import FieldError
from fedcore.yaml_reader import YamlDocument, YamlError, read_documents
from fedctl.errors import CliError, ExitCode


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file: a mapping, with the positions of its values."""

    source: str
    data: dict[str, Any]
    document: YamlDocument

    def where(self, dotted_path: str) -> str:
        """Return ``file:line:column`` of the path, or of the nearest value above it."""
        position = self.document.position_of(dotted_path)
        return f"{self.source}:{position.line}:{position.column}"


def parse(content: bytes, source: str) -> tuple[Manifest, ...]:
    """Read every document of a file.

    Raises CliError with line and column of the first error; ``source`` is the name of the file.
    """
    try:
        manifests = tuple(_manifests(read_documents(content), source))
    except YamlError as error:
        raise _unreadable(error, source) from error
    if not manifests:
        raise CliError(ExitCode.INVALID, f"{source} is empty", hint="docs/federation-file.md")
    return manifests


def _manifests(documents: tuple[YamlDocument, ...], source: str) -> Iterator[Manifest]:
    for document in documents:
        if not isinstance(document.data, dict):
            raise YamlError(
                "a document is a mapping: `kind: Federation`, `name: ...`", document.position_of("")
            )
        yield Manifest(source, document.data, document)


def _unreadable(error: YamlError, source: str) -> CliError:
    if error.position is None:
        return CliError(ExitCode.INVALID, f"{source} cannot be read: {error.message}")
    return CliError(
        ExitCode.INVALID,
        f"{source} cannot be read",
        errors=(FieldError(error.where(source), error.message),),
    )
