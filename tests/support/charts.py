"""A release whose charts are archives of the tests' own, which the hub serves by their digest."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.hubapi import HubApi

import fedhub.catalogue

NAMES = ("fate-exchange", "fate")
VERSION = "v1.8.0"
FILLER_BYTES = 700 * 1024
"""Noise, which gzip cannot make smaller: an archive of several chunks."""


def archive_of(name: str) -> bytes:
    """Make an archive that Helm's loader takes, always the same for a name."""
    files = {
        "Chart.yaml": f"apiVersion: v1\nname: {name}\nversion: {VERSION}\n".encode(),
        "values.yaml": b"{}\n",
        "values-template.yaml": b"{}\n",
        "templates/x.yaml": b"\n",
        "README.md": random.Random(name).randbytes(FILLER_BYTES),
    }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return raw.getvalue()


@dataclass(frozen=True)
class OwnCharts:
    """The archives by their digest, and the folder of the release that pins them."""

    archives: Mapping[str, bytes]
    catalogue: Path

    @classmethod
    def in_folder(cls, folder: Path) -> OwnCharts:
        """Write the built-in release anew with the digests of our archives."""
        source = Path(str(fedhub.catalogue.__file__)).with_name("1.8.0.yaml").read_text()
        archives = {}
        for name in NAMES:
            archive = archive_of(name)
            digest = hashlib.sha256(archive).hexdigest()
            archives[digest] = archive
            head, mark, tail = source.partition(f"name: {name}\n    version: {VERSION}\n")
            rest = tail.partition("\n")[2]
            source = f"{head}{mark}    sha256: {digest}\n{rest}"
        folder.mkdir(parents=True)
        (folder / "1.8.0.yaml").write_text(source)
        return cls(archives, folder)

    async def upload(self, api: HubApi) -> None:
        """Give the hub every archive."""
        for archive in self.archives.values():
            await api.send("charts", archive, "application/gzip")
