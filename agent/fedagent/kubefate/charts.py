"""A chart archive as it came from the hub: the very one that a document pins, or none."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from fedagent.kubefate.errors import KubeFateError
from fedcore.limits import MAX_CHART_BYTES

_GZIP: Final = b"\x1f\x8b"


class BadArchive(KubeFateError):
    """The archive is not what its digest promises, or no archive at all."""


def check_archive(archive: bytes, sha256: str) -> None:
    """Raise BadArchive unless the archive has this digest (hexadecimal), size and shape."""
    if len(archive) > MAX_CHART_BYTES:
        raise BadArchive(f"the chart archive exceeds {MAX_CHART_BYTES} bytes")
    if not archive.startswith(_GZIP):
        raise BadArchive("the chart archive is no gzip file")
    digest = hashlib.sha256(archive).hexdigest()
    if not hmac.compare_digest(digest, sha256.lower()):
        raise BadArchive(f"the chart archive has the digest {digest}, not {sha256}")
