"""Read a Helm chart archive that nobody has vouched for: name and version, or a clear refusal."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, TypeGuard

from fedcore import limits
from fedcore.errors import ErrorCode, FedError, Invalid
from fedcore.yaml_reader import YamlError, read_document

_MAX_CHART_YAML: Final = 64 * 1024
_MAX_RATIO: Final = 100
_GZIP_MAGIC: Final = b"\x1f\x8b"
_WORD: Final = re.compile(r"[\x21-\x7e]{1,100}")
_LINE: Final = re.compile(r"[\x20-\x7e]{0,100}")


@dataclass(frozen=True, slots=True)
class ChartFacts:
    """What Chart.yaml says."""

    name: str
    version: str
    app_version: str


def read_chart(archive: bytes) -> ChartFacts:
    """Check an archive's shape and limits without writing anything, and read its Chart.yaml.

    Raises Invalid for what is no chart (links, devices, absolute or ``..`` paths, several top
    folders, duplicate names) and TOO_LARGE for what explodes.
    """
    if len(archive) > limits.MAX_CHART_BYTES:
        raise FedError(
            f"the archive has {len(archive)} bytes; at most {limits.MAX_CHART_BYTES} are taken",
            code=ErrorCode.TOO_LARGE,
        )
    if not archive.startswith(_GZIP_MAGIC):
        raise Invalid("the file is no gzip archive; package the chart with `helm package`")
    return _facts(_chart_yaml(_unpack(archive)))


def _unpack(archive: bytes) -> bytes:
    allowed = min(limits.MAX_CHART_UNPACKED_BYTES, max(1024 * 1024, len(archive) * _MAX_RATIO))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as stream:
            unpacked = stream.read(allowed + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Invalid(f"the archive is damaged: {error}") from error
    if len(unpacked) > allowed:
        raise FedError(
            f"the archive unpacks to more than {allowed} bytes", code=ErrorCode.TOO_LARGE
        )
    return unpacked


def _chart_yaml(unpacked: bytes) -> bytes:
    paths: set[str] = set()
    tops: set[str] = set()
    chart_yaml: bytes | None = None
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                path = _check_member(member, paths)
                tops.add(path.parts[0])
                if len(path.parts) == 2 and path.name == "Chart.yaml":  # noqa: PLR2004 - top/file
                    file = archive.extractfile(member)
                    chart_yaml = file.read(_MAX_CHART_YAML + 1) if file is not None else None
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError) as error:
        # Beside its own errors, tarfile lets those of PAX headers that are no numbers through.
        raise Invalid(f"the archive is damaged: {error}") from error
    if len(tops) != 1 or chart_yaml is None:
        raise Invalid("the archive is no chart: it needs one top folder with a Chart.yaml in it")
    if len(chart_yaml) > _MAX_CHART_YAML:
        raise Invalid(f"Chart.yaml is larger than {_MAX_CHART_YAML} bytes")
    return chart_yaml


def _check_member(member: tarfile.TarInfo, paths: set[str]) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in member.name:
        raise Invalid(f"the archive holds the path {member.name!r}, which leads out of it")
    if not (member.isfile() or member.isdir()):
        raise Invalid(f"the archive holds {member.name!r}, which is a link or a device")
    if str(path) in paths:
        raise Invalid(f"the archive holds {member.name!r} twice")
    paths.add(str(path))
    if len(paths) > limits.MAX_CHART_FILES:
        raise FedError(
            f"the archive holds more than {limits.MAX_CHART_FILES} files", code=ErrorCode.TOO_LARGE
        )
    return path


def _facts(chart_yaml: bytes) -> ChartFacts:
    try:
        return _checked(read_document(chart_yaml, max_bytes=_MAX_CHART_YAML))
    except YamlError as error:
        raise Invalid(error.in_file("Chart.yaml")) from error


def _checked(parsed: object) -> ChartFacts:
    if not isinstance(parsed, dict):
        raise Invalid("Chart.yaml is no mapping")
    name, version = parsed.get("name"), parsed.get("version")
    if not (_is_text(name, _WORD) and _is_text(version, _WORD)):
        raise Invalid("Chart.yaml needs `name` and `version` as text of 1 to 100 ASCII characters")
    app_version = parsed.get("appVersion", "")
    if isinstance(app_version, int | float):
        app_version = str(app_version)
    if not _is_text(app_version, _LINE):
        raise Invalid("appVersion in Chart.yaml is no text of at most 100 ASCII characters")
    return ChartFacts(name=name, version=version, app_version=app_version)


def _is_text(value: object, pattern: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
