"""A KubeFATE service at a site -> its document."""

from __future__ import annotations

from typing import Final

from fedcore.errors import FieldError, Invalid
from fedhub.domain.models import Endpoint, PlannedDocument, ResourceKind
from fedhub.planner.digest import digest_of
from fedproto.agent.v1 import document_pb2 as pb

NAMESPACE: Final = "kube-fate"
SERVICE_IMAGE: Final = "federatedai/kubefate:v1.4.5"
DATABASE_IMAGE: Final = "mariadb:10"
STORAGE_SIZE: Final = "2Gi"

MODES: Final = {
    "auto": pb.ENDPOINT_MODE_AUTO,
    "install": pb.ENDPOINT_MODE_INSTALL,
    "adopt": pb.ENDPOINT_MODE_ADOPT,
}


def endpoint_document(endpoint: Endpoint, release_minimum: str) -> PlannedDocument:
    """Build the endpoint's document; a removing endpoint's is absent.

    ``release_minimum`` is the lowest KubeFATE version that may be adopted. Raises Invalid for a
    mode that is none of ``MODES``.
    """
    if endpoint.mode not in MODES:
        message = f"{endpoint.mode!r} is none of {', '.join(MODES)}"
        raise Invalid(f"mode: {message}", errors=(FieldError("mode", message),))
    spec = pb.EndpointSpec(
        mode=MODES[endpoint.mode],
        namespace=NAMESPACE,
        service_image=SERVICE_IMAGE,
        database_image=DATABASE_IMAGE,
        storage_size=STORAGE_SIZE,
        minimum_version=release_minimum,
    )
    return PlannedDocument(
        resource_id=endpoint.id,
        site_id=endpoint.site_id,
        kind=ResourceKind.ENDPOINT,
        absent=endpoint.removing,
        spec=spec,
        digest=digest_of(spec, absent=endpoint.removing),
    )
