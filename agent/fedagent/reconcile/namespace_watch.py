"""The copies of a participant's objects, kept true by watches; any change wakes its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from fedagent.kube.client import Kube
from fedagent.kube.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PODS,
    PVCS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Kind,
)
from fedagent.kube.watches import Informer
from fedcore.tasks import LoopHealth

Json = dict[str, Any]
KINDS: Final[tuple[Kind, ...]] = (DEPLOYMENTS, STATEFULSETS, PODS, SERVICES, CONFIGMAPS, PVCS)


class NamespaceWatch:
    """Watches one namespace. Secrets are watched by name alone: no others are ever read."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        secrets: Iterable[str],
        *,
        loop_health: LoopHealth,
        wake: asyncio.Event,
        sync_limit_s: float,
    ) -> None:
        self._sync_limit_s = sync_limit_s
        self.namespace = namespace
        self.secrets = tuple(secrets)
        self._informers = {
            kind: Informer(kube, kind, namespace=namespace, loop_health=loop_health)
            for kind in KINDS
        }
        self._secrets = [
            Informer(
                kube,
                SECRETS,
                namespace=namespace,
                fields={"metadata.name": name},
                loop_health=loop_health,
            )
            for name in self.secrets
        ]
        for informer in self._all():
            informer.changed = wake

    def _all(self) -> tuple[Informer, ...]:
        return (*self._informers.values(), *self._secrets)

    async def run(self) -> None:
        """Keep the copies true until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._all():
                    group.create_task(informer.run(), name=informer.name)
        finally:
            for informer in self._all():
                informer.stop()

    async def synced(self) -> bool:
        """Wait until every copy was read once; False when that takes too long."""
        try:
            async with asyncio.timeout(self._sync_limit_s):
                for informer in self._all():
                    await informer.synced.wait()
        except TimeoutError:
            return False
        return True

    def items(self, kind: Kind) -> tuple[Json, ...]:
        """Return the objects of a kind."""
        return self._informers[kind].items()

    def get(self, kind: Kind, name: str) -> Json | None:
        """Return one object."""
        return self._informers[kind].get(name)
