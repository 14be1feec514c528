"""A KubeFATE service that participants at a site need -> its document."""

from __future__ import annotations

from typing import Final

from fedcore.errors import FieldError, Invalid
from fedcore.words import EndpointMode
from fedhub.domain.models import Endpoint, PlannedDocument, ResourceKind
from fedhub.planner.documents import digest_of
from fedproto.agent.v1 import document_pb2 as pb
from fedproto.words import to_wire

NAMESPACE: Final = "kube-fate"
SERVICE_IMAGE: Final = "federatedai/kubefate:v1.4.5"
DATABASE_IMAGE: Final = "mariadb:10"
STORAGE_SIZE: Final = "2Gi"


def endpoint_document(endpoint: Endpoint, minimum_kubefate: str) -> PlannedDocument:
    """Build the document of an endpoint that somebody needs.

    ``minimum_kubefate`` is the lowest KubeFATE version that may be adopted. Raises Invalid for a
    mode that is no EndpointMode.
    """
    if endpoint.mode not in set(EndpointMode):
        message = f"{endpoint.mode!r} is none of {', '.join(EndpointMode)}"
        raise Invalid(f"mode: {message}", errors=(FieldError("mode", message),))
    spec = pb.EndpointSpec(
        mode=to_wire(EndpointMode(endpoint.mode)),
        namespace=NAMESPACE,
        service_image=SERVICE_IMAGE,
        database_image=DATABASE_IMAGE,
        storage_size=STORAGE_SIZE,
        minimum_version=minimum_kubefate,
    )
    return PlannedDocument(
        resource_id=endpoint.id,
        site_id=endpoint.site_id,
        kind=ResourceKind.ENDPOINT,
        absent=False,
        spec=spec,
        digest=digest_of(spec, absent=False),
    )
