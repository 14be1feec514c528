"""Make a proxy take its table: reload where it can, restart where it must.

A ConfigMap reaches a pod's directory mount when the kubelet syncs, up to a minute later; a change
of the pod itself makes it sync at once. ``traffic_ctl config reload`` says 0 whatever comes of it,
so nothing here counts as evidence: the planner asks for a handshake afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from fedagent.domain.document import ParticipantDocument, Proxy, Table
from fedagent.domain.observed import ParticipantObserved, PodView
from fedagent.domain.proxy_sync import RESTARTED
from fedagent.domain.state import ProxyState
from fedagent.domain.table_file import TableError, read_table
from fedagent.kube.client import Kube
from fedagent.kube.errors import KubeError, NotFound, Unavailable
from fedagent.kube.kinds import PODS
from fedagent.kube.objects import delete, get, patch
from fedagent.kube.ownership import PREFIX
from fedagent.kube.streams import ExecResult, execute
from fedcore.words import ProxyKind

log = structlog.get_logger()

TABLE_ANNOTATION: Final = f"{PREFIX}table"
"""On a proxy's pod: the table that it shall read. Changing it makes the kubelet sync."""
_NO_EXEC_TRIES: Final = 3
_MAX_FILE_BYTES: Final = 1_000_000


RELOADS: Final = {
    ProxyKind.TRAFFIC_SERVER: (
        ("traffic_ctl", "config", "reload"),
        ("/opt/trafficserver/bin/traffic_ctl", "config", "reload"),
    ),
    ProxyKind.NGINX: (("nginx", "-s", "reload"), ("openresty", "-s", "reload")),
}
"""Commands that make a proxy read its files again; the first that its image has is taken.

KubeFATE's chart starts ``/opt/trafficserver/bin/traffic_manager`` by its full path
(FATE-Exchange/templates/traffic-server-module.yaml), so that folder may not be on the path.
"""


@dataclass(frozen=True, slots=True)
class MountedTable:
    """Where a container sees the file of a table."""

    container: str
    path: str


class NotYet(Exception):
    """The pod does not see the new file yet."""


class Proxies:
    """Reloads and restarts, in the pods themselves."""

    def __init__(self, kube: Kube, exec_limit_s: float) -> None:
        self._exec_limit_s = exec_limit_s
        self._kube = kube

    async def reload(
        self,
        document: ParticipantDocument,
        observed: ParticipantObserved,
        note: ProxyState,
        before: ProxyState | None,
    ) -> ProxyState:
        """Make every pod of the proxy read its table; return the note that is true then.

        Raises NotYet while a pod lacks the new file. A pod that takes no commands gives a note
        with ``tries`` raised and no table: the planner restarts it in the end.
        """
        proxy = next(proxy for proxy in document.proxies if proxy.deployment == note.deployment)
        table = document.table(proxy.table)
        if table is None:
            raise ValueError(f"{note.deployment} reads a table that the document does not have")
        try:
            for pod in observed.pods_of(note.deployment):
                await self._reload_pod(document.namespace, pod, proxy, table)
        except KubeError as error:
            tries = 1 if isinstance(error, Unavailable) else _NO_EXEC_TRIES
            log.warning("proxy.not_reloaded", deployment=note.deployment, error=error.message)
            return _failed(before or note, tries)
        return note

    async def _reload_pod(self, namespace: str, pod: PodView, proxy: Proxy, table: Table) -> None:
        body = await get(self._kube, PODS, pod.name, namespace=namespace)
        mounted = mounted_table(body, table)
        if mounted is None:
            raise KubeError(f"{pod.name} mounts no directory with {table.config_map}")
        await self._check_file(namespace, pod, mounted, table)
        for command in RELOADS[proxy.kind]:
            result = await self._run(namespace, pod, mounted.container, command)
            if result.exit_code in {0, None}:
                log.info("proxy.reloaded", namespace=namespace, pod=pod.name)
                return
            text = result.stderr.decode("utf-8", "replace")[:200]
            log.info("proxy.command_failed", pod=pod.name, command=command[0], error=text)
        raise KubeError(f"no command in {pod.name} reloads {proxy.kind}")

    async def _check_file(
        self, namespace: str, pod: PodView, mounted: MountedTable, table: Table
    ) -> None:
        result = await self._run(namespace, pod, mounted.container, ("cat", mounted.path))
        if result.exit_code not in {0, None}:
            raise KubeError(f"{pod.name} has no file {mounted.path}")
        try:
            entries = read_table(table, result.stdout.decode("utf-8", "replace"))
        except TableError as error:
            raise NotYet(str(error)) from error
        if replace(table, entries=entries).digest != table.digest:
            await self._hasten(namespace, pod, table.digest)
            raise NotYet(f"{pod.name} still sees its old table")

    async def _hasten(self, namespace: str, pod: PodView, digest: str) -> None:
        """Make the kubelet sync the pod's volumes now; harmless where it is not allowed."""
        change = {"metadata": {"annotations": {TABLE_ANNOTATION: digest[:32]}}}
        try:
            await patch(self._kube, PODS, pod.name, change, namespace=namespace)
        except KubeError as error:
            log.info("proxy.not_hastened", pod=pod.name, error=error.message)

    async def _run(
        self, namespace: str, pod: PodView, container: str, command: Sequence[str]
    ) -> ExecResult:
        return await execute(
            self._kube,
            namespace,
            pod.name,
            command,
            container=container,
            limit_s=self._exec_limit_s,
            limit_bytes=_MAX_FILE_BYTES,
        )

    async def restart(
        self, document: ParticipantDocument, observed: ParticipantObserved, deployment: str
    ) -> None:
        """Delete the proxy's pods; their Deployment makes new ones, which read everything anew."""
        for pod in observed.pods_of(deployment):
            try:
                await delete(self._kube, PODS, pod.name, namespace=document.namespace, uid=pod.uid)
            except NotFound:
                continue
        log.warning("proxy.restarted", namespace=document.namespace, deployment=deployment)


def mounted_table(pod: Mapping[str, Any], table: Table) -> MountedTable | None:
    """Find the container and directory that show a table's ConfigMap; a subPath never changes."""
    volumes = {
        volume["name"]
        for volume in pod["spec"].get("volumes") or ()
        if (volume.get("configMap") or {}).get("name") == table.config_map
    }
    for container in pod["spec"].get("containers") or ():
        for mount in container.get("volumeMounts") or ():
            if mount["name"] in volumes and not mount.get("subPath"):
                return MountedTable(
                    str(container["name"]), f"{mount['mountPath'].rstrip('/')}/{table.key}"
                )
    return None


def _failed(note: ProxyState, tries: int) -> ProxyState:
    """Return the note of a proxy that knows no table for sure; the keys it had are kept."""
    before = note.tries if note.tries < RESTARTED else 0
    return replace(note, table_digest="", tries=before + tries)
