"""What the reconciler asks of the hub while it acts.

Link and reconcile are apart: at run time they meet in two objects alone. The journal carries
documents, statuses, events and approvals between them, so that neither waits for the other. This
client carries the two requests that need an answer while an action is under way. Whoever builds the
process makes it first and gives it to both.
"""

from __future__ import annotations

from typing import Protocol

from fedproto.agent.v1 import certificate_pb2


class HubClient(Protocol):
    """Requests to the hub. Both raise ``fedcore.errors.Unavailable`` while there is no session."""

    async def issue_certificate(
        self, resource_id: str, secret_name: str, csr_pem: bytes
    ) -> certificate_pb2.CertificateResponse:
        """Return a signed certificate for one Secret of a document; the CSR is PEM."""

    async def fetch_chart(self, sha256: str) -> bytes:
        """Return a chart's archive by its SHA-256, hexadecimal; the caller checks the digest."""
