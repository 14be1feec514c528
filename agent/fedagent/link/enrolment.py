"""The agent's calls on the hub's enrolment port."""

from __future__ import annotations

from dataclasses import dataclass

import grpc.aio

from fedcore.ids import AgentId, SiteId
from fedlink.enrolment import Enrolled
from fedproto.agent.v1 import enrolment_pb2, enrolment_pb2_grpc


@dataclass(frozen=True, slots=True)
class AgentEnrolment:
    """What an agent says of itself when it joins; ``token`` is good for one join."""

    token: str
    cluster_uid: str
    instance_id: str
    agent_version: str
    limit_s: float

    async def fetch_roots(self, channel: grpc.aio.Channel) -> bytes:
        """Return the hub's roots, PEM."""
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)
        bundle = await stub.GetTrust(enrolment_pb2.GetTrustRequest(), timeout=self.limit_s)
        return bundle.roots_pem

    async def enrol(self, channel: grpc.aio.Channel, csr_pem: bytes) -> Enrolled:
        """Trade the token for a certificate."""
        answer = await enrolment_pb2_grpc.EnrolmentStub(channel).Enrol(
            enrolment_pb2.EnrolRequest(
                token=self.token,
                csr_pem=csr_pem,
                cluster_uid=self.cluster_uid,
                instance_id=self.instance_id,
                agent_version=self.agent_version,
            ),
            timeout=self.limit_s,
        )
        return Enrolled(
            hub_id=answer.hub_id,
            site_id=SiteId(answer.site_id),
            site_name=answer.site_name,
            agent_id=AgentId(answer.agent_id),
            link_address=answer.link_address,
            chain_pem=answer.certificate_chain_pem,
            roots_pem=answer.trust.roots_pem,
            trust_version=answer.trust.version,
        )
