"""The controller of a KubeFATE service: it observes, installs and removes it, and publishes it."""

from __future__ import annotations

from fedagent.domain.decision import Action, Decision, InstallService, UninstallService
from fedagent.domain.document import EndpointDocument
from fedagent.domain.observed import OwnerView, ServiceObserved
from fedagent.domain.plan import plan_endpoint
from fedagent.domain.state import LastGoodConfig, ResourceState
from fedagent.kube.ownership import Owner, OwnerRole
from fedagent.kubefate.access import AccessMode
from fedagent.kubefate.manifests import ServicePlan
from fedagent.kubefate.service import (
    ServiceObservation,
    install_service,
    is_version_enough,
    observe_service,
    uninstall_service,
)
from fedagent.reconcile.actor import ClusterAccess
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.site import Site
from fedagent.wire.decode import decode_endpoint
from fedcore.words import Phase
from fedproto.agent.v1 import document_pb2, status_pb2

_USABLE = frozenset({Phase.READY, Phase.DEGRADED, Phase.INSTALLING, Phase.REMOVING})
_USABLE_WHILE_ABSENT = _USABLE | {Phase.REFUSED, Phase.AWAITING_APPROVAL}
"""A service whose removal the site holds back is there to be used."""


class EndpointController:
    """Looks after the site's KubeFATE service; the one writer of ``KubeFateService``."""

    def __init__(self, site: Site, cluster: ClusterAccess, service: KubeFateService) -> None:
        self._site = site
        self._cluster = cluster
        self._service = service
        self._observation: ServiceObservation | None = None
        self._leftovers: tuple[str, ...] = ()

    def decode(self, message: document_pb2.DesiredDocument) -> EndpointDocument:
        """Return the document; Invalid when it cannot be used."""
        return decode_endpoint(message)

    async def observe(self, document: EndpointDocument, _state: ResourceState) -> ServiceObserved:
        """Look at the service, and while it shall go, for whom it is still needed."""
        users = await self._users() if document.absent else ()
        observation = await observe_service(
            self._cluster.kube,
            self._service.access,
            document.namespace,
            before=self._service.evidence(),
        )
        self._observation = observation
        label = observation.owner
        owner = None if label is None else OwnerView(label.hub_id, label.resource_id)
        return ServiceObserved(
            is_installed=observation.is_installed,
            owner=owner,
            is_external=observation.access is AccessMode.URL,
            version=observation.version,
            version_enough=is_version_enough(observation.version, document.minimum_version),
            is_ready=observation.is_ready,
            message=observation.message,
            access=observation.access.value,
            terminating=observation.is_removing,
            applied_generation=observation.applied_generation,
            missing=observation.missing,
            leftovers=self._leftovers,
            in_use_by=users,
        )

    async def _users(self) -> tuple[str, ...]:
        """Return the site's participants that are not gone, by name."""
        gone = {
            status.resource_id
            for status in await self._site.journal.statuses.all()
            if status.phase == status_pb2.PHASE_GONE
        }
        return tuple(
            document.participant.participant_name or document.resource_id
            for document in await self._site.journal.documents.all()
            if document.WhichOneof("body") == "participant" and document.resource_id not in gone
        )

    async def remember(
        self, _document: EndpointDocument, _observed: ServiceObserved, state: ResourceState
    ) -> ResourceState:
        """Return the state as it is: everything about a service can be observed."""
        return state

    def plan(
        self, document: EndpointDocument, observed: ServiceObserved, state: ResourceState
    ) -> Decision:
        """Decide what is next."""
        return plan_endpoint(document, observed, state, self._site.plan_settings)

    def publish(self, document: EndpointDocument, decision: Decision) -> None:
        """Open the service to participants, or close it, as the plan says."""
        if self._observation is None:
            raise RuntimeError("a plan follows an observation")
        phases = _USABLE_WHILE_ABSENT if document.absent else _USABLE
        self._service.publish(
            self._observation,
            namespace=document.namespace if decision.phase in phases else None,
            is_ready=decision.phase is Phase.READY,
        )

    def good_config(self, _document: EndpointDocument) -> LastGoodConfig | None:
        """Return nothing: a service is never rolled back."""
        return None

    async def act(
        self,
        document: EndpointDocument,
        _observed: ServiceObserved,
        _state: ResourceState,
        action: Action,
    ) -> None:
        """Install or uninstall the service."""
        owner = Owner(self._site.hub_id, document.resource_id, OwnerRole.ENDPOINT)
        match action:
            case InstallService():
                plan = self._service_plan(document)
                await install_service(
                    self._cluster.kube, plan, owner, namespace_access=self._cluster.rights
                )
            case UninstallService():
                self._leftovers = await uninstall_service(
                    self._cluster.kube,
                    self._service.access,
                    document.namespace,
                    owner,
                    delete_volumes=True,
                    limit_s=self._site.timing.service_uninstall_limit_s,
                )
                await self._cluster.rights.revoke(document.namespace, owner)
            case _:
                raise TypeError(f"{type(action).__name__} is no action of a service")

    def _service_plan(self, document: EndpointDocument) -> ServicePlan:
        return ServicePlan(
            namespace=document.namespace,
            service_image=document.service_image,
            database_image=document.database_image,
            storage_class=document.storage_class,
            storage_size=document.storage_size,
            scope=self._cluster.scope,
            generation=document.generation,
        )

    def invalidate(self) -> None:
        """Change nothing: each look reads everything anew."""

    async def stop(self) -> None:
        """Leave no way to the service open."""
        self._service.withdraw()
