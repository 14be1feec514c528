"""The agent's calls to the hub beside its session: certificates, and the archives of charts."""

from __future__ import annotations

import asyncio

from fedcore import limits
from fedcore.errors import ErrorCode, FedError, Invalid, Unavailable
from fedlink.channel import LiveChannel, typed_errors
from fedlink.timing import LinkTiming
from fedproto.agent.v1 import certificate_pb2, link_pb2, link_pb2_grpc


class LinkHubClient:
    """Calls over the channel of the present session; both raise Unavailable while there is none."""

    def __init__(self, live: LiveChannel, timing: LinkTiming) -> None:
        self._live = live
        self._timing = timing

    async def issue_certificate(
        self, resource_id: str, secret_name: str, csr_pem: bytes
    ) -> certificate_pb2.CertificateResponse:
        """Ask the hub for a certificate of one of the agent's documents."""
        request = certificate_pb2.IssueCertificateRequest(
            resource_id=resource_id, secret_name=secret_name, csr_pem=csr_pem
        )
        stub = link_pb2_grpc.AgentLinkStub(self._live.get())
        with typed_errors():
            answer: certificate_pb2.CertificateResponse = await stub.IssueCertificate(
                request, timeout=self._timing.call_limit_s
            )
        return answer

    async def fetch_chart(self, sha256: str) -> bytes:
        """Fetch an archive, at most MAX_CHART_BYTES; the caller checks its digest."""
        stub = link_pb2_grpc.AgentLinkStub(self._live.get())
        archive = bytearray()
        try:
            with typed_errors():
                async with asyncio.timeout(self._timing.download_limit_s):
                    async for chunk in stub.FetchBlob(link_pb2.FetchBlobRequest(sha256=sha256)):
                        _append(archive, chunk)
        except TimeoutError as error:
            raise Unavailable(f"archive {sha256} did not come in time") from error
        return bytes(archive)


def _append(archive: bytearray, chunk: link_pb2.BlobChunk) -> None:
    """Add the next piece of an archive; raise for a gap, and for more than an archive may have."""
    if chunk.offset != len(archive):
        raise Invalid(f"the archive came with a gap at {len(archive)}")
    if len(archive) + len(chunk.data) > limits.MAX_CHART_BYTES:
        raise FedError("the archive is too large", code=ErrorCode.TOO_LARGE)
    archive += chunk.data
