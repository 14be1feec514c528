"""The enrolment port: the only calls that need no client certificate."""

from __future__ import annotations

from typing import Any

import grpc.aio

from fedhub.services import enrolment
from fedhub.services.context import HubContext
from fedproto.agent.v1 import certificate_pb2, enrolment_pb2, enrolment_pb2_grpc


class EnrolmentServicer(enrolment_pb2_grpc.EnrolmentServicer):
    """Serves ``Enrolment``."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub

    async def GetTrust(
        self,
        request: enrolment_pb2.GetTrustRequest,  # noqa: ARG002 - the contract's
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the contract's
    ) -> certificate_pb2.TrustBundle:
        """Answer the roots; an agent checks them against the fingerprint it was given."""
        return trust_of(self._hub)

    async def Enrol(
        self,
        request: enrolment_pb2.EnrolRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the contract's
    ) -> enrolment_pb2.EnrolResponse:
        """Redeem a join token."""
        enrolled = await enrolment.enrol(
            self._hub,
            token=request.token,
            csr_pem=request.csr_pem,
            cluster_uid=request.cluster_uid,
            instance_id=request.instance_id,
            agent_version=request.agent_version,
        )
        return enrolment_pb2.EnrolResponse(
            hub_id=self._hub.hub_id,
            site_id=enrolled.site.id,
            site_name=enrolled.site.name,
            agent_id=enrolled.agent_id,
            certificate_chain_pem=enrolled.certificate.chain_pem,
            trust=trust_of(self._hub),
            link_address=self._hub.addresses.link,
        )


def trust_of(hub: HubContext) -> certificate_pb2.TrustBundle:
    """Return the CA's roots as a message."""
    bundle = hub.authority.trust_bundle()
    return certificate_pb2.TrustBundle(version=bundle.version, roots_pem=bundle.roots_pem)
