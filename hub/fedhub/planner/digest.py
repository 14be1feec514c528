"""Tell two documents apart: the same body always has the same digest."""

from __future__ import annotations

import hashlib

from fedhub.domain.models import Spec


def digest_of(spec: Spec, *, absent: bool) -> str:
    """Return the SHA-256 over kind, absence and body, lower-case hexadecimal.

    The specs hold no maps, so their serialization is the same in every process.
    """
    digest = hashlib.sha256(spec.DESCRIPTOR.full_name.encode())
    digest.update(b"\x01" if absent else b"\x00")
    digest.update(spec.SerializeToString(deterministic=True))
    return digest.hexdigest()
