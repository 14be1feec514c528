"""Documents as values: their bodies, their digests, and the one that asks for a removal."""

from __future__ import annotations

import hashlib

from fedhub.domain.models import PlannedDocument, ResourceKind, Spec, StoredDocument
from fedproto.agent.v1 import document_pb2


def digest_of(spec: Spec, *, absent: bool) -> str:
    """Return the SHA-256 over kind, absence and body, lower-case hexadecimal.

    The specs hold no maps, so their serialization is the same in every process.
    """
    digest = hashlib.sha256(spec.DESCRIPTOR.full_name.encode())
    digest.update(b"\x01" if absent else b"\x00")
    digest.update(spec.SerializeToString(deterministic=True))
    return digest.hexdigest()


def stored_spec(document: StoredDocument) -> Spec:
    """Parse the body of a stored document."""
    if document.kind is ResourceKind.ENDPOINT:
        return document_pb2.EndpointSpec.FromString(document.spec_bytes)
    return document_pb2.ParticipantSpec.FromString(document.spec_bytes)


def removal_document(stored: StoredDocument) -> PlannedDocument:
    """Ask for the removal of what a stored document describes: the same body, absent."""
    return _with_absence(stored, absent=True)


def restored_document(stored: StoredDocument) -> PlannedDocument:
    """End a removal that was asked for: the same body, no longer absent."""
    return _with_absence(stored, absent=False)


def _with_absence(stored: StoredDocument, *, absent: bool) -> PlannedDocument:
    spec = stored_spec(stored)
    return PlannedDocument(
        resource_id=stored.resource_id,
        site_id=stored.site_id,
        kind=stored.kind,
        absent=absent,
        spec=spec,
        digest=digest_of(spec, absent=absent),
    )
