"""Do one action of a participant. Each is idempotent: done twice, or half, it does no harm."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from fedagent.domain.decision import (
    Action,
    AdoptSubmission,
    DeleteClaims,
    DeleteNamespace,
    DeleteObjects,
    DeleteSecrets,
    DetachJob,
    EndSubmission,
    EnsureNamespace,
    ForgetRelease,
    IssueCertificate,
    NoteProxy,
    ProbeRoutes,
    ReleaseNamespace,
    ReloadProxy,
    RestartProxy,
    StopJob,
    Submit,
    UploadChart,
)
from fedagent.domain.document import ParticipantDocument
from fedagent.domain.observed import ParticipantObserved
from fedagent.domain.route_probes import PROXY_ROLE
from fedagent.domain.state import Probe, ResourceState
from fedagent.kube.client import Kube
from fedagent.kube.errors import AlreadyExists
from fedagent.kube.kinds import NAMESPACES, PVCS, SECRETS, Kind
from fedagent.kube.objects import apply, create, delete, find, patch
from fedagent.kube.ownership import CREATED_NAMESPACE, Owner, OwnerRole, owner_of
from fedagent.kube.rbac import NamespaceAccess
from fedagent.kube.release_objects import RELEASE_KINDS
from fedagent.kubefate.charts import check_archive
from fedagent.kubefate.manifests import Scope
from fedagent.kubefate.releases import read_releases
from fedagent.reconcile.certificates import issue_secret, roots_of
from fedagent.reconcile.hub_client import HubClient
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.proxies import Proxies
from fedagent.reconcile.route_prober import ProbeRoutesFn
from fedagent.reconcile.site import Site
from fedagent.reconcile.submitter import Submitter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """The site's cluster, and how far the agent's rights in it reach."""

    kube: Kube
    rights: NamespaceAccess
    scope: Scope = Scope.CLUSTER


_KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in RELEASE_KINDS}


class Actor:
    """Carries out what the planner decided. Raises KubeError, KubeFateError, FedError, NotYet."""

    def __init__(
        self,
        site: Site,
        cluster: ClusterAccess,
        service: KubeFateService,
        *,
        hub: HubClient,
        probe: ProbeRoutesFn,
    ) -> None:
        self._site = site
        self._journal = site.journal
        self._kube = cluster.kube
        self._rights = cluster.rights
        self._service = service
        self._hub = hub
        self._probe = probe
        self._uploads = asyncio.Lock()
        self._proxies = Proxies(cluster.kube, site.timing.exec_limit_s)
        self._submitter = Submitter(site, service)

    async def act(
        self,
        document: ParticipantDocument,
        observed: ParticipantObserved,
        state: ResourceState,
        action: Action,
    ) -> None:
        """Do one action of a participant."""
        match action:
            case Submit():
                await self._submitter.submit(document, action)
            case AdoptSubmission():
                await self._submitter.adopt(document, state, action)
            case EndSubmission():
                await self._submitter.end(document, action)
            case StopJob(job_id=job_id):
                await (await self._service.client()).stop_job(job_id)
            case DetachJob(job_id=job_id):
                await (await self._service.client()).delete_job(job_id)
                log.warning("job.detached", job_id=job_id)
            case UploadChart():
                await self._upload(document)
            case IssueCertificate(secret_name=name):
                await self._certify(document, name)
            case ReloadProxy() | RestartProxy() | NoteProxy() | ProbeRoutes():
                await self._act_on_proxy(document, observed, state, action)
            case _:
                await self._act_on_objects(document, observed, action)

    async def _act_on_objects(
        self, document: ParticipantDocument, observed: ParticipantObserved, action: Action
    ) -> None:
        namespace = document.namespace
        match action:
            case EnsureNamespace():
                await self._ensure_namespace(document, exists=observed.namespace.exists)
            case ReleaseNamespace():
                await self._release_namespace(document)
            case DeleteNamespace():
                await self._delete_own(NAMESPACES, namespace, None, document)
                # Our rights go with it, and a removal may be taken back.
                self._rights.invalidate(namespace)
            case DeleteSecrets(names=names):
                for name in names:
                    await self._delete_own(SECRETS, name, namespace, document)
            case DeleteClaims(names=names):
                for name in names:
                    await delete(self._kube, PVCS, name, namespace=namespace)
            case DeleteObjects(objects=objects):
                await self._delete_objects(namespace, objects)
            case ForgetRelease(revisions=revisions):
                await self._forget_release(document, observed, revisions)
            case _:
                raise TypeError(f"{type(action).__name__} is no action of a participant")

    def _owner(self, document: ParticipantDocument) -> Owner:
        return Owner(
            self._site.hub_id,
            document.resource_id,
            OwnerRole.PARTICIPANT,
            document.federation_name,
        )

    async def _ensure_namespace(self, document: ParticipantDocument, *, exists: bool) -> None:
        labels = self._owner(document).labels()
        body: dict[str, Any] = {"metadata": {"name": document.namespace, "labels": labels}}
        if exists:
            await patch(self._kube, NAMESPACES, document.namespace, body)
        else:
            body["metadata"]["annotations"] = {CREATED_NAMESPACE: "true"}
            try:
                await create(self._kube, NAMESPACES, body)
            except AlreadyExists:
                log.info("namespace.raced", namespace=document.namespace)
                return
        await self._rights.grant(document.namespace, self._owner(document))

    async def _release_namespace(self, document: ParticipantDocument) -> None:
        """Give our rights back first: without its labels a namespace is not looked at again."""
        owner = self._owner(document)
        await self._rights.revoke(document.namespace, owner)
        change = {
            "metadata": {
                "labels": dict.fromkeys(owner.labels()),
                "annotations": {CREATED_NAMESPACE: None},
            }
        }
        await patch(self._kube, NAMESPACES, document.namespace, change)

    async def _delete_own(
        self, kind: Kind, name: str, namespace: str | None, document: ParticipantDocument
    ) -> None:
        """Delete an object whose labels name us, looked at once more right before."""
        body = await find(self._kube, kind, name, namespace=namespace)
        if body is None or not self._owner(document).is_same(owner_of(body)):
            return
        uid = body["metadata"].get("uid")
        await delete(self._kube, kind, name, namespace=namespace, uid=uid)

    async def _delete_objects(self, namespace: str, objects: tuple[str, ...]) -> None:
        for reference in objects:
            kind, _, name = reference.partition("/")
            await delete(self._kube, _KINDS[kind], name, namespace=namespace)
        log.warning("objects.deleted", namespace=namespace, count=len(objects))

    async def _forget_release(
        self,
        document: ParticipantDocument,
        observed: ParticipantObserved,
        revisions: tuple[int, ...],
    ) -> None:
        if observed.kubefate.record is None:
            # A service that forgot the participant forgot its charts, too.
            await self._journal.forget_charts(self._service.key)
        releases = await read_releases(self._kube, document.namespace, document.release_name)
        for release in releases:
            if release.revision in revisions:
                await delete(self._kube, SECRETS, release.secret_name, namespace=document.namespace)
        log.warning("release.forgotten", release=document.release_name, revisions=revisions)

    async def _upload(self, document: ParticipantDocument) -> None:
        """Give KubeFATE the archive, once for all participants that use it."""
        async with self._uploads:
            service, sha256 = self._service.key, document.chart.sha256
            if await self._journal.chart_uuid(service, sha256):
                return
            client = await self._service.client()
            archive = await self._hub.fetch_chart(sha256)
            check_archive(archive, sha256)
            name = f"{document.chart.name}-{document.chart.version}.tgz"
            uuid = await client.upload_chart(name, archive)
            await self._journal.put_chart(service, sha256, uuid)

    async def _certify(self, document: ParticipantDocument, secret_name: str) -> None:
        specs = {spec.secret_name: spec for spec in document.certificates}
        body = await issue_secret(
            specs[secret_name],
            self._owner(document),
            document.namespace,
            self._hub.issue_certificate,
            now=self._site.clock.now(),
        )
        await apply(self._kube, SECRETS, body, namespace=document.namespace)

    async def _act_on_proxy(
        self,
        document: ParticipantDocument,
        observed: ParticipantObserved,
        state: ResourceState,
        action: ReloadProxy | RestartProxy | NoteProxy | ProbeRoutes,
    ) -> None:
        states = self._journal.states
        match action:
            case NoteProxy(note=note):
                await states.put_proxy(document.resource_id, note)
            case ReloadProxy(deployment=deployment, note=note):
                before = state.proxies.get(deployment)
                done = await self._proxies.reload(document, observed, note, before)
                await states.put_proxy(
                    document.resource_id, replace(done, applied_at=self._site.clock.now())
                )
            case RestartProxy(deployment=deployment, note=note):
                # Noted first: a crash after the restart must not lead to another one.
                if note is not None:
                    restarted = replace(note, applied_at=self._site.clock.now())
                    await states.put_proxy(document.resource_id, restarted)
                await self._proxies.restart(document, observed, deployment)
            case ProbeRoutes():
                await self._probe_routes(document, observed, state, action)

    async def _probe_routes(
        self,
        document: ParticipantDocument,
        observed: ParticipantObserved,
        state: ResourceState,
        action: ProbeRoutes,
    ) -> None:
        address = next(
            (address for address in observed.addresses if address.role == PROXY_ROLE), None
        )
        roots = await self._roots(document)
        names = (*action.keys, *action.gone)
        if address is None or not roots:
            return
        answers = await self._probe(address.ip, address.port, names, roots)
        now = self._site.clock.now()
        # Routes that are not tried now keep their probes of the same table.
        probes = {
            key: probe
            for key, probe in state.probes.items()
            if probe.table_digest == action.table_digest
        }
        for name, answer in answers.items():
            before = state.probes.get(name)
            is_same = before is not None and before.state is answer.state
            probes[name] = Probe(
                name,
                answer.state,
                answer.message,
                now,
                action.table_digest,
                foreign=answer.foreign,
                since=(before.since or before.at) if before is not None and is_same else now,
            )
        await self._journal.states.put_probes(document.resource_id, tuple(probes.values()))

    async def _roots(self, document: ParticipantDocument) -> bytes:
        for spec in document.certificates:
            body = await find(self._kube, SECRETS, spec.secret_name, namespace=document.namespace)
            if body is not None and (roots := roots_of(spec, body)):
                return roots
        return b""
