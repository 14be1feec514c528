from __future__ import annotations

import hashlib

import pytest

from fedagent.kubefate.charts import BadArchive, check_archive

ARCHIVE = b"\x1f\x8b" + b"chart"
HUGE = b"\x1f\x8b" + b"x" * 11_000_000
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"PK\x03\x04", "no gzip"),
        (b"\x1f\x8bother", "digest"),
        (HUGE, "exceeds"),
    ],
)
def test_an_archive_that_is_not_the_pinned_one_is_refused(archive: bytes, words: str) -> None:
    with pytest.raises(BadArchive, match=words):
        check_archive(archive, DIGEST)
