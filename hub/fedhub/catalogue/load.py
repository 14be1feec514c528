"""Read the release catalogue: one YAML file a release, checked against the schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from fedcore.errors import FieldError, Invalid, NotFound
from fedcore.yaml_reader import YamlError, read_document
from fedhub.domain.release import Release

MAX_RELEASE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All known releases, sorted by version and engine."""

    releases: tuple[Release, ...]

    def find(self, version: str, engine: str) -> Release | None:
        """Return the release, or None."""
        for release in self.releases:
            if release.version == version and release.engine == engine:
                return release
        return None

    def get(self, version: str, engine: str) -> Release:
        """Return the release; NotFound names the known ones."""
        release = self.find(version, engine)
        if release is None:
            raise NotFound(
                f"FATE {version} on {engine} is not in the catalogue; "
                f"known: {', '.join(self.names()) or 'none'}",
                release=version,
                engine=engine,
            )
        return release

    def names(self) -> tuple[str, ...]:
        """Return what people see: ``1.8.0 (spark-pulsar)`` and so on."""
        return tuple(f"{release.version} ({release.engine})" for release in self.releases)


def load(extra_dirs: Sequence[Path] = ()) -> Catalogue:
    """Read the built-in releases and those in ``extra_dirs``, where a later one replaces.

    Raises Invalid with the file's name and the field when a file is wrong. Blocks on files: call it
    once, at start.
    """
    releases: dict[tuple[str, str], Release] = {}
    for path in _files((Path(__file__).parent, *extra_dirs)):
        release = read_release(path)
        releases[release.version, release.engine] = release
    return Catalogue(tuple(releases[key] for key in sorted(releases, key=_age)))


def read_release(path: Path) -> Release:
    """Read one release file."""
    try:
        text = path.read_bytes()
        if len(text) > MAX_RELEASE_BYTES:
            raise Invalid(f"release file {path.name} is over {MAX_RELEASE_BYTES} bytes")
        return Release.model_validate(read_document(text))
    except OSError as error:
        raise Invalid(f"release file {path.name} cannot be read: {error.strerror}") from error
    except YamlError as error:
        where = error.where(path.name)
        raise Invalid(f"release file {where} cannot be read: {error.message}") from error
    except ValidationError as error:
        errors = tuple(
            FieldError(".".join(str(part) for part in detail["loc"]), detail["msg"])
            for detail in error.errors(include_url=False)
        )
        first = errors[0]
        raise Invalid(
            f"release file {path.name}: {first.path}: {first.message}", errors=errors
        ) from error


def _files(directories: Iterable[Path]) -> Iterable[Path]:
    for directory in directories:
        yield from sorted(directory.glob("*.yaml"))


def _age(key: tuple[str, str]) -> tuple[tuple[tuple[int, str], ...], str]:
    version, engine = key
    parts = tuple((int(part), "") if part.isdigit() else (-1, part) for part in version.split("."))
    return parts, engine
