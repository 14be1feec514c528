"""Install, upgrade, roll back and uninstall releases as Helm 3.9 does, its error texts included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog

from fedsim.kubefate.apply import Applier, OwnershipError, key_of
from fedsim.kubefate.clock import Clock
from fedsim.kubefate.helm_records import (
    Object,
    ReleaseRecords,
    ReleaseStatus,
    Revision,
    manifest_of,
)
from fedsim.kubefate.kubernetes_api import ApiError, KubernetesApi

log = structlog.get_logger()
BUSY = "another operation (install/upgrade/rollback) is in progress"


class HelmError(Exception):
    """An operation that failed; the text is Helm's."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a revision is made from."""

    chart: str
    version: str
    config: dict[str, Any]
    objects: list[Object]


class Operation(StrEnum):
    """What Helm is asked to do."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    UNINSTALL = "uninstall"


@dataclass(frozen=True, slots=True)
class Step:
    """Name the operation under way; its objects are about to be changed."""

    operation: Operation
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _Work:
    """One operation on one release, ready to be carried out."""

    step: Step
    records: ReleaseRecords
    applier: Applier

    @property
    def prefix(self) -> str:
        """Return what the service puts before an error's text."""
        return "" if self.step.operation is Operation.INSTALL else "UPGRADE FAILED: "


class Helm:
    """Runs Helm's operations on one Kubernetes API. Nothing locks but the records themselves."""

    def __init__(
        self, api: KubernetesApi, clock: Clock, hook: Callable[[Step], Awaitable[None]]
    ) -> None:
        self._api = api
        self._clock = clock
        self._hook = hook

    async def install(self, name: str, namespace: str, package: Package) -> None:
        """Install a new release; raise HelmError. A failure leaves a failed revision behind."""
        work = self._work(Operation.INSTALL, name, namespace)
        records, applier = work.records, work.applier
        try:
            if await records.history():
                raise HelmError("cannot re-use a name that is still in use")
            await applier.check_owner(package.objects, "install")
            revision = self._revision(name, namespace, 1, package, ReleaseStatus.PENDING_INSTALL)
            await self._record(records, revision)
        except (ApiError, OwnershipError) as error:
            raise HelmError(str(error)) from error
        await self._carry_out(work, revision, [], "Install complete")

    async def upgrade(self, name: str, namespace: str, package: Package) -> None:
        """Upgrade a release; raise HelmError."""
        work = self._work(Operation.UPGRADE, name, namespace)
        records, applier = work.records, work.applier
        try:
            history = await records.history()
            current = _current(name, history)
            released = {key_of(item) for item in current.objects()}
            new = [item for item in package.objects if key_of(item) not in released]
            await applier.check_owner(new, "update")
            version = history[-1].version + 1
            revision = self._revision(
                name, namespace, version, package, ReleaseStatus.PENDING_UPGRADE
            )
            revision = replace(revision, first_deployed=current.first_deployed)
            await self._record(records, revision)
        except (ApiError, OwnershipError, HelmError) as error:
            raise HelmError(f"UPGRADE FAILED: {error}") from error
        await self._carry_out(work, revision, current.objects(), "Upgrade complete")
        await self._supersede(records, history)

    async def rollback(self, name: str, namespace: str, version: int) -> None:
        """Apply an old revision as a new one; 0 means the one before the last. Raise HelmError."""
        work = self._work(Operation.ROLLBACK, name, namespace)
        records = work.records
        try:
            history = await records.history()
            last = history[-1].version if history else 0
            number = version or last - 1
            target = next((item for item in history if item.version == number), None)
            if target is None:
                raise HelmError("UPGRADE FAILED: release: not found")
            revision = replace(
                target,
                version=last + 1,
                status=ReleaseStatus.PENDING_ROLLBACK,
                last_deployed=self._clock.now(),
            )
            await self._record(records, revision)
        except ApiError as error:
            raise HelmError(f"UPGRADE FAILED: {error}") from error
        before = history[-1].objects()
        await self._carry_out(work, revision, before, f"Rollback to {number}")
        await self._supersede(records, history)

    async def uninstall(self, name: str, namespace: str) -> None:
        """Delete a release's objects, then its records; raise HelmError."""
        work = self._work(Operation.UNINSTALL, name, namespace)
        records, applier = work.records, work.applier
        try:
            history = await records.history()
            if not history:
                raise HelmError(f"uninstall: Release not loaded: {name}: release: not found")
            await self._hook(work.step)
            await applier.delete(history[-1].objects())
            for revision in history:
                await records.purge(revision)
        except ApiError as error:
            raise HelmError(str(error)) from error

    def _revision(
        self, name: str, namespace: str, version: int, package: Package, status: ReleaseStatus
    ) -> Revision:
        now = self._clock.now()
        return Revision(
            name=name,
            namespace=namespace,
            version=version,
            status=status,
            chart=package.chart,
            chart_version=package.version,
            config=package.config,
            manifest=manifest_of(package.chart, package.objects),
            first_deployed=now,
            last_deployed=now,
        )

    async def _record(self, records: ReleaseRecords, revision: Revision) -> None:
        try:
            await records.create(revision)
        except ApiError as error:
            if error.is_conflict:
                raise HelmError("release: already exists") from error
            raise HelmError(f"create: failed to create: {error}") from error

    async def _carry_out(
        self, work: _Work, revision: Revision, before: list[Object], done: str
    ) -> None:
        try:
            await self._hook(work.step)
            await work.applier.update(before, revision.objects())
        except ApiError as error:
            failed = revision.with_status(ReleaseStatus.FAILED, f"failed: {error}")
            await self._update(work.records, failed)
            raise HelmError(f"{work.prefix}{error}") from error
        await self._update(work.records, revision.with_status(ReleaseStatus.DEPLOYED, done))

    def _work(self, operation: Operation, name: str, namespace: str) -> _Work:
        step = Step(operation, name, namespace)
        records = ReleaseRecords(self._api, namespace, name)
        return _Work(step, records, Applier(self._api, namespace, name))

    async def _update(self, records: ReleaseRecords, revision: Revision) -> None:
        """Write how a revision ended. As in Helm, a failure to write it is logged and ignored.

        So an update that runs while its release is uninstalled makes the objects anew.
        """
        try:
            await records.update(revision)
        except ApiError as error:
            log.warning("revision.unwritten", release=revision.name, cause=str(error))

    async def _supersede(self, records: ReleaseRecords, history: list[Revision]) -> None:
        for revision in history:
            if revision.status is ReleaseStatus.DEPLOYED:
                await self._update(records, revision.with_status(ReleaseStatus.SUPERSEDED))


def _current(name: str, history: list[Revision]) -> Revision:
    """Return the revision that an upgrade starts from."""
    if not history:
        raise HelmError(f'"{name}" has no deployed releases')
    last = history[-1]
    if last.status.is_pending:
        raise HelmError(BUSY)
    deployed = [item for item in history if item.status is ReleaseStatus.DEPLOYED]
    if deployed:
        return deployed[-1]
    if last.status in (ReleaseStatus.FAILED, ReleaseStatus.SUPERSEDED):
        return last
    raise HelmError(f'"{name}" has no deployed releases')
