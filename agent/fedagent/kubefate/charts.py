"""See to it that the service holds the very chart that a document pins."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError, RecordNotFound
from fedagent.kubefate.records import ChartRow
from fedproto.limits import MAX_CHART_BYTES

log = structlog.get_logger()

ChartKey = tuple[str, str]
"""Name and version of a chart; KubeFATE finds it by both, exactly."""

_GZIP: Final = b"\x1f\x8b"


class BadArchive(KubeFateError):
    """The archive is not what its digest promises, or no archive at all."""


@dataclass(frozen=True, slots=True)
class StoredChart:
    """A chart that this agent uploaded: the service's uuid, and the archive's digest."""

    uuid: str
    sha256: str


@dataclass(slots=True)
class ChartMemory:
    """What was uploaded to one service. The service itself cannot tell an archive's digest."""

    uploaded: dict[ChartKey, StoredChart] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget everything: the service has lost its database."""
        self.uploaded.clear()


async def find_chart(client: KubeFate, name: str, version: str) -> ChartRow | None:
    """Look a chart up by name and version; the newest upload when there are several.

    Reads megabytes: for questions, not for loops.
    """
    found = [row for row in await client.charts() if (row.name, row.version) == (name, version)]
    return found[-1] if found else None


async def ensure_chart(
    client: KubeFate,
    memory: ChartMemory,
    *,
    name: str,
    version: str,
    sha256: str,
    fetch: Callable[[], Awaitable[bytes]],
) -> StoredChart:
    """Upload the archive unless this agent did so before and the service still has it.

    ``fetch`` is called only when an upload is due. A chart of this name and version that somebody
    else uploaded is replaced: nobody can tell whether it is the same. Raises BadArchive.
    """
    stored = memory.uploaded.get((name, version))
    if stored is not None and stored.sha256 == sha256 and await _is_there(client, stored):
        return stored
    archive = await fetch()
    check_archive(archive, sha256)
    uuid = await client.upload_chart(f"{name}-{version}.tgz", archive)
    log.info("chart.uploaded", chart=name, version=version, sha256=sha256)
    stored = memory.uploaded[name, version] = StoredChart(uuid, sha256)
    return stored


def check_archive(archive: bytes, sha256: str) -> None:
    """Raise BadArchive unless the archive has this digest (hexadecimal), size and shape."""
    if len(archive) > MAX_CHART_BYTES:
        raise BadArchive(f"the chart archive exceeds {MAX_CHART_BYTES} bytes")
    if not archive.startswith(_GZIP):
        raise BadArchive("the chart archive is no gzip file")
    digest = hashlib.sha256(archive).hexdigest()
    if not hmac.compare_digest(digest, sha256.lower()):
        raise BadArchive(f"the chart archive has the digest {digest}, not {sha256}")


async def _is_there(client: KubeFate, stored: StoredChart) -> bool:
    try:
        await client.chart(stored.uuid)
    except RecordNotFound:
        return False
    return True
