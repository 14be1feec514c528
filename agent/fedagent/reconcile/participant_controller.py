"""The controller of an exchange or a FATE cluster: its watches, its observations, its actions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from fedagent.domain.decision import (
    Action,
    Decision,
    DetachJob,
    EndSubmission,
    ForgetRelease,
    StopJob,
    Submit,
)
from fedagent.domain.document import ParticipantDocument
from fedagent.domain.observed import ParticipantObserved
from fedagent.domain.plan import plan_participant
from fedagent.domain.proxy_sync import first_notes
from fedagent.domain.state import LastGoodConfig, ResourceState
from fedagent.kube.errors import Forbidden
from fedagent.reconcile.actor import Actor, ClusterAccess
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.namespace_watch import NamespaceWatch
from fedagent.reconcile.observer import ObservationCache, Observer
from fedagent.reconcile.record_cache import RecordCache
from fedagent.reconcile.site import Site
from fedagent.wire.decode import decode_participant
from fedproto.agent.v1 import document_pb2

_CHANGES_RECORD = (Submit, EndSubmission, StopJob, DetachJob, ForgetRelease)
"""Actions after which KubeFATE's records must be read again."""


class ParticipantController:
    """Looks after one participant. ``wake`` is set by the watches of its namespace."""

    def __init__(
        self,
        site: Site,
        cluster: ClusterAccess,
        service: KubeFateService,
        *,
        observer: Observer,
        actor: Actor,
        wake: asyncio.Event,
    ) -> None:
        self._site = site
        self._cluster = cluster
        self._observer = observer
        self._actor = actor
        self._wake = wake
        self._records = RecordCache(service, site.timing)
        self._cache: ObservationCache | None = None
        self._watching: asyncio.Task[None] | None = None
        self._observed_version = (0, "")

    def decode(self, message: document_pb2.DesiredDocument) -> ParticipantDocument:
        """Return the document; Invalid when it cannot be used."""
        return decode_participant(message)

    async def observe(
        self, document: ParticipantDocument, state: ResourceState
    ) -> ParticipantObserved:
        """Look at the participant; its watches are begun at the first look."""
        version = (document.generation, document.digest)
        if version != self._observed_version:
            self._observed_version = version
            self._records.invalidate()
        if not await self._cluster.rights.is_granted(document.namespace):
            await self.stop()
            return await self._observer.observe_from_outside(document, state, self._records)
        cache = await self._watched(document)
        try:
            return await self._observer.observe(document, state, cache)
        except Forbidden:
            # Somebody took the rights away, or the namespace is a new one of the same name.
            self._cluster.rights.invalidate(document.namespace)
            raise

    async def _watched(self, document: ParticipantDocument) -> ObservationCache:
        """Return the cache behind running watches of the document's namespace and Secrets."""
        secrets = tuple(spec.secret_name for spec in document.certificates)
        cache, watching = self._cache, self._watching
        if cache is not None and watching is not None and not watching.done():
            watch = cache.watch
            if (watch.namespace, watch.secrets) == (document.namespace, secrets):
                return cache
        await self.stop()
        watch = NamespaceWatch(
            self._cluster.kube,
            document.namespace,
            secrets,
            loop_health=self._site.loop_health,
            wake=self._wake,
            sync_limit_s=self._site.timing.sync_limit_s,
        )
        self._watching = asyncio.create_task(watch.run(), name=f"watch.{document.namespace}")
        self._cache = ObservationCache(watch, self._records)
        return self._cache

    async def remember(
        self, document: ParticipantDocument, observed: ParticipantObserved, state: ResourceState
    ) -> ResourceState:
        """Note when each table was first seen as it is: pods that are younger have read it."""
        states, resource_id = self._site.journal.states, document.resource_id
        now = self._site.clock.now()
        for note in first_notes(document, observed, state, now):
            await states.put_proxy(resource_id, note)
            state = replace(state, proxies={**state.proxies, note.deployment: note})
        first_seen: Mapping[str, tuple[str, datetime]] = {
            name: before
            if (before := state.table_seen.get(name)) is not None and before[0] == table.digest
            else (table.digest, now)
            for name, table in observed.tables.items()
        }
        if dict(first_seen) == dict(state.table_seen):
            return state
        await states.put_table_seen(resource_id, first_seen)
        return replace(state, table_seen=first_seen)

    def plan(
        self, document: ParticipantDocument, observed: ParticipantObserved, state: ResourceState
    ) -> Decision:
        """Decide what is next."""
        now = self._site.clock.now()
        return plan_participant(document, observed, state, self._site.plan_settings, now)

    def publish(self, _document: ParticipantDocument, _decision: Decision) -> None:
        """Do nothing: no other resource of the site goes by a participant."""

    def good_config(self, document: ParticipantDocument) -> LastGoodConfig | None:
        """Return the cluster.yaml and the chart that a later failure is rolled back to."""
        return LastGoodConfig(document.generation, document.cluster_json, document.chart)

    async def act(
        self,
        document: ParticipantDocument,
        observed: ParticipantObserved,
        state: ResourceState,
        action: Action,
    ) -> None:
        """Do one action of the participant."""
        try:
            await self._actor.act(document, observed, state, action)
        finally:
            if isinstance(action, _CHANGES_RECORD):
                self.invalidate()

    def invalidate(self) -> None:
        """Read KubeFATE again at the next look: the service has changed, or its records have."""
        self._records.invalidate()

    async def stop(self) -> None:
        """End the watches."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
