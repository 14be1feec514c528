"""Read uploaded chart archives, and stand in for the chart repository."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import uuid
import zlib
from typing import Final

import yaml

from fedsim.kubefate.records import ChartFile, HelmChart
from fedsim.kubefate.release import EXCHANGE, FATE

MAX_ARCHIVE_BYTES: Final = 20 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 100 * 1024 * 1024
_REPOSITORY: Final = frozenset({(EXCHANGE, "v1.8.0"), (FATE, "v1.8.0")})
"""Of the public repository, what can be rendered here."""


class ChartError(Exception):
    """An archive or a chart that cannot be had; the text is Helm's."""


def download(name: str, version: str, *, offline: bool, repo_url: str) -> HelmChart:
    """Return a chart of the repository; raise ChartError."""
    if offline:
        host = repo_url.partition("://")[2].partition("/")[0]
        raise ChartError(
            f'looks like "{repo_url}" is not a valid Chart repository or cannot be reached: '
            f'Get "{repo_url}/index.yaml": dial tcp: lookup {host}: no such host'
        )
    if (name, version) not in _REPOSITORY:
        raise ChartError(f'failed to download "kubefate/{name}" at version "{version}"')
    about = {"apiVersion": "v1", "name": name, "version": version, "appVersion": version}
    return HelmChart(
        uuid=str(uuid.uuid4()),
        name=name,
        chart=yaml.safe_dump(about),
        values="{}\n",
        values_template="{}\n",
        version=version,
        app_version=version,
    )


def load_archive(archive: bytes) -> HelmChart:
    """Read a chart archive as Helm's loader does; raise ChartError."""
    files = _files(archive)
    if "Chart.yaml" not in files:
        raise ChartError("Chart.yaml file is missing")
    try:
        metadata = yaml.safe_load(files["Chart.yaml"])
    except yaml.YAMLError as error:
        raise ChartError(f"cannot load Chart.yaml: {error}") from error
    for key in ("apiVersion", "name", "version"):
        if not isinstance(metadata, dict) or not metadata.get(key):
            raise ChartError(f"validation: chart.metadata.{key} is required")
    return HelmChart(
        uuid=str(uuid.uuid4()),
        name=str(metadata["name"]),
        chart=_text(files["Chart.yaml"]),
        values=_text(files.get("values.yaml", b"")),
        values_template=_text(files.get("values-template.yaml", b"")),
        templates=[
            ChartFile(path, base64.b64encode(content).decode())
            for path, content in files.items()
            if path.startswith("templates/")
        ],
        version=str(metadata["version"]),
        app_version=str(metadata.get("appVersion") or ""),
    )


def _files(archive: bytes) -> dict[str, bytes]:
    """Unpack in memory, paths below the archive's one top folder; links are passed over."""
    if not archive.startswith(b"\x1f\x8b"):
        raise ChartError("gzip: invalid header" if archive else "EOF")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as stream:
            unpacked = stream.read(MAX_UNPACKED_BYTES + 1)
        if len(unpacked) > MAX_UNPACKED_BYTES:
            raise ChartError("decompressed chart is larger than the maximum size")
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
            return {
                member.name.partition("/")[2]: content.read()
                for member in tar
                if member.isfile() and (content := tar.extractfile(member))
            }
    except (OSError, EOFError, zlib.error) as error:
        raise ChartError(f"gzip: invalid data: {error}") from error
    except tarfile.TarError as error:
        raise ChartError(f"archive/tar: invalid tar header: {error}") from error


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
