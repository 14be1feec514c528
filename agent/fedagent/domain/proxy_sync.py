"""What a proxy must be told, and the proof that it serves it: reload first, restart last."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from fedagent.domain.decision import (
    Action,
    Finding,
    NoteProxy,
    Phase,
    ProbeRoutes,
    ReloadProxy,
    RestartProxy,
    Severity,
)
from fedagent.domain.document import ParticipantDocument, Proxy, ProxyKind, Table
from fedagent.domain.observed import ParticipantObserved, PodView, ReleaseView
from fedagent.domain.readiness import listed
from fedagent.domain.route_probes import (
    NOT_SERVED,
    PARTY_DOWN,
    UNREACHABLE,
    ProbedRoutes,
    is_party_route,
)
from fedagent.domain.stage import PlanContext, StageResult
from fedagent.domain.state import Method, ProxyState, ResourceState

_RELOAD_TRIES: Final = 3
GIVEN_UP: Final = 1000
"""Tries of a note whose proxy was restarted for this table: it is not restarted again."""


def proxies(ctx: PlanContext) -> StageResult | None:
    """Have every proxy know its table and certificates, and serve what it was told."""
    restarts = _restarts_for_certificates(ctx)
    if restarts:
        text = f"{restarts[0].deployment} restarts to read its new certificate"
        return StageResult(ctx.busy_phase, "CertificateRenewed", text, actions=restarts)
    telling: list[Action] = []
    for proxy in ctx.document.proxies:
        telling.extend(_tell(ctx, proxy))
    if telling:
        names = listed([_deployment_of(action) for action in telling])
        text = f"{names} takes its new route table"
        return StageResult(ctx.busy_phase, "ProxyReloading", text, actions=tuple(telling))
    return _probes(ctx)


def _restarts_for_certificates(ctx: PlanContext) -> tuple[RestartProxy, ...]:
    found: dict[str, RestartProxy] = {}
    for wish in ctx.document.certificates:
        view = ctx.observed.secrets.get(wish.secret_name)
        if view is None or view.issued_at is None:
            continue
        issued_at = view.issued_at.replace(microsecond=0)
        for deployment in wish.restart_deployments:
            pods = ctx.observed.pods_of(deployment)
            if any(pod.started_at is not None and pod.started_at < issued_at for pod in pods):
                reason = f"certificate {wish.secret_name} was renewed"
                found[deployment] = RestartProxy(deployment, reason)
    return tuple(found.values())


def _tell(ctx: PlanContext, proxy: Proxy) -> tuple[Action, ...]:
    table = ctx.document.table(proxy.table)
    pods = ctx.observed.pods_of(proxy.deployment)
    if table is None or not pods:
        return ()
    note = ctx.memory.proxies.get(proxy.deployment)
    uids = tuple(sorted(pod.uid for pod in pods))
    if note is not None and note.table_digest == table.digest and set(uids) <= set(note.pod_uids):
        return ()
    wanted = ProxyState(proxy.deployment, uids, table.digest, table.keys, ctx.now, "started")
    if _read_at_start(ctx, table, pods, note):
        same = note is not None and note.table_digest == table.digest
        return (NoteProxy(replace(wanted, tries=note.tries if note and same else 0)),)
    removed = _removed(ctx, proxy, table, note)
    if proxy.kind is ProxyKind.NGINX and note is not None and not removed:
        return (NoteProxy(replace(wanted, how="by-itself")),)
    tries = note.tries if note is not None else 0
    seen = ctx.memory.table_seen.get(table.config_map)
    is_late = seen is not None and ctx.age_s(seen[1]) > ctx.timing.table_file_grace_s
    if _RELOAD_TRIES <= tries < GIVEN_UP or is_late:
        told = replace(wanted, how="restart", removed=removed, tries=GIVEN_UP)
        return (RestartProxy(proxy.deployment, "it does not reload its table", told),)
    added = () if note is None else tuple(sorted(set(table.keys) - set(note.keys)))
    told = replace(wanted, how="reload", removed=removed, added=added)
    return (ReloadProxy(proxy.deployment, told),)


def _read_at_start(
    ctx: PlanContext, table: Table, pods: tuple[PodView, ...], note: ProxyState | None
) -> bool:
    """Tell whether pods that no note speaks of have read this very table when they started."""
    fresh = [pod for pod in pods if note is None or pod.uid not in note.pod_uids]
    releases = ctx.observed.releases
    is_first = len(fresh) == len(pods) and len(releases) == 1
    if is_first and _has_started(releases[0], pods, if_unknown=True):
        return True
    if note is not None and len(fresh) < len(pods) and note.table_digest != table.digest:
        return False
    seen = ctx.memory.table_seen.get(table.config_map)
    if seen is None or seen[0] != table.digest or not fresh:
        return False
    seen_at = seen[1].replace(microsecond=0)
    return all(pod.started_at is not None and pod.started_at >= seen_at for pod in fresh)


def first_notes(
    document: ParticipantDocument,
    observed: ParticipantObserved,
    memory: ResourceState,
    now: datetime,
) -> tuple[ProxyState, ...]:
    """Return what proxies have read that the install under way has just started.

    Its routes often follow while it goes on. Without this note nobody knows what an update adds,
    and so which route shows that the proxy took it: the longest reload is waited for.
    """
    sent, releases = memory.open_submission, observed.releases
    if sent is None or sent.method is not Method.INSTALL or len(releases) != 1:
        return ()
    found = []
    for proxy in document.proxies:
        wish = document.table(proxy.table)
        table = None if wish is None else observed.tables.get(wish.config_map)
        pods = observed.pods_of(proxy.deployment)
        if table is None or table.fault or proxy.deployment in memory.proxies:
            continue
        if pods and _has_started(releases[0], pods, if_unknown=False):
            uids = tuple(sorted(pod.uid for pod in pods))
            keys = tuple(sorted({entry.key for entry in table.entries}))
            found.append(ProxyState(proxy.deployment, uids, table.digest, keys, now, "started"))
    return tuple(found)


def _has_started(release: ReleaseView, pods: tuple[PodView, ...], *, if_unknown: bool) -> bool:
    """Tell whether the release's first revision started the pods: older ones read another table.

    They are older where a lost record was installed anew over what ran.
    """
    began_at = release.created_at
    return release.revision == 1 and all(
        if_unknown if began_at is None or pod.started_at is None else pod.started_at >= began_at
        for pod in pods
    )


def _removed(
    ctx: PlanContext, proxy: Proxy, table: Table, note: ProxyState | None
) -> tuple[str, ...]:
    """Return the keys that the table lost; those of a telling just before are not forgotten."""
    if note is None:
        return ()
    fresh = (
        proxy.kind is ProxyKind.TRAFFIC_SERVER
        and ctx.age_s(note.applied_at) < ctx.timing.reapply_window_s
    )
    carried = note.removed if fresh and note.how == "reload" else ()
    return tuple(sorted({*note.keys, *carried} - set(table.keys)))


def _deployment_of(action: Action) -> str:
    match action:
        case NoteProxy(note=note):
            return note.deployment
        case ReloadProxy(deployment=deployment) | RestartProxy(deployment=deployment):
            return deployment
        case _:
            return ""


def _probes(ctx: PlanContext) -> StageResult | None:
    routes = ctx.routes
    if routes is None or routes.proxy_state is None:
        return None
    applied = routes.proxy_state
    due = [key for key in routes.table.keys if is_party_route(key) and not routes.is_settled(key)]
    due_gone = [key for key in applied.removed if is_party_route(key) and not _is_gone(routes, key)]
    if not due and not due_gone:
        return None
    bad = [key for key in due if routes.is_in(key, NOT_SERVED)]
    bad += [key for key in due_gone if routes.probe_of(key) is not None]
    probe = ProbeRoutes(tuple(due), tuple(due_gone), routes.table.digest)
    if bad and ctx.age_s(applied.applied_at) > ctx.timing.reload_grace_s:
        return _not_taken(ctx, applied, bad, probe)
    verb = "serves" if due else "no longer serves"
    text = f"waiting until {routes.proxy.deployment} {verb} {listed(due or due_gone)}"
    return StageResult(
        ctx.busy_phase,
        "RouteUnreachable",
        text,
        actions=(probe,) if _is_probe_due(ctx, (*due, *due_gone)) else (),
        next_check_s=ctx.timing.probe_interval_s,
    )


def reprobes(ctx: PlanContext) -> tuple[ProbeRoutes, ...]:
    """Return probes that have become old, to be renewed beside other work while Ready."""
    routes = ctx.routes
    if routes is None:
        return ()
    old: list[str] = []
    for key in routes.table.keys:
        probe = routes.probe_of(key)
        if probe is None:
            continue
        is_down = probe.state == PARTY_DOWN
        limit_s = ctx.timing.reprobe_down_s if is_down else ctx.timing.reprobe_s
        if ctx.age_s(probe.at) > limit_s:
            old.append(key)
    return (ProbeRoutes(tuple(old), (), routes.table.digest),) if old else ()


def _is_gone(routes: ProbedRoutes, key: str) -> bool:
    probe = routes.probe_of(key)
    return probe is not None and probe.state in {NOT_SERVED, UNREACHABLE}


def _is_probe_due(ctx: PlanContext, keys: tuple[str, ...]) -> bool:
    probes = [ctx.memory.probes.get(key) for key in keys]
    return any(
        probe is None or ctx.age_s(probe.at) >= ctx.timing.probe_interval_s for probe in probes
    )


def _not_taken(
    ctx: PlanContext, note: ProxyState, bad: list[str], probe: ProbeRoutes
) -> StageResult:
    """Tell it again when that was long ago; then restart it, once per table; then only report."""
    name = note.deployment
    text = f"{name} does not serve {listed(bad)} as its table says"
    if note.tries < GIVEN_UP:
        told = replace(note, applied_at=ctx.now)
        action: Action = ReloadProxy(name, replace(told, how="reload"))
        if note.how == "reload" and ctx.age_s(note.applied_at) < ctx.timing.reapply_window_s:
            told = replace(told, how="restart", tries=GIVEN_UP)
            action = RestartProxy(name, "it does not take its table by a reload", told)
        return StageResult(ctx.busy_phase, "RouteNotServed", text, actions=(action,))
    finding = Finding(
        "RouteNotServed",
        Severity.ERROR,
        text,
        "Look at the proxy's log; `fedctl describe` shows each route's probe.",
        f"Deployment/{name}",
    )
    return StageResult(
        Phase.DEGRADED,
        "RouteNotServed",
        text,
        actions=(probe,) if _is_old(ctx, bad) else (),
        next_check_s=ctx.timing.reprobe_down_s,
        findings=(finding,),
    )


def _is_old(ctx: PlanContext, keys: list[str]) -> bool:
    probes = [ctx.memory.probes.get(key) for key in keys]
    return any(probe is None or ctx.age_s(probe.at) > ctx.timing.reprobe_down_s for probe in probes)
