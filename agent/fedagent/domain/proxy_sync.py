"""How a proxy comes to serve its table, and the evidence that it does: reload first, restart last.

A chart's upgrade changes ConfigMaps and restarts no pod, so a proxy must be made to read its table:
nginx reads it by itself each 5 s but never forgets a key; Traffic Server reads it at
``traffic_ctl config reload``, which answers 0 whatever comes of it. A reload cuts no tunnel, a
restart cuts all of them.

For each proxy, the first row that holds:

its pods                                     | what is done (``_sync``)
---------------------------------------------|------------------------------------------
there are none, or the document has no table | nothing
all have been brought to this table          | nothing
started after this table was there           | note it: they have read it
nginx, and no key was removed                | note it: it reads added keys by itself
failed to reload three times                 | restart, once per table
cannot see the new file for three minutes    | restart, once per table
else                                         | reload, and note which keys came and went

Then, for a Traffic Server, each route is tried by a TLS handshake (``_probe``):

a route that shall be served, or be gone     | what is done
---------------------------------------------|-------------------------------------------------
shows what the table says, or its party down | nothing
does not show it yet                         | try again each 0.5 s
does not show it 15 s after a reload         | restart, once per table
does not show it 15 s after a restart        | Degraded with a finding, tried each 15 s
does not show it long after a reload         | reload again: the table may have been lost since
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from fedagent.domain.decision import (
    Action,
    Finding,
    NoteProxy,
    ProbeRoutes,
    ReloadProxy,
    RestartProxy,
)
from fedagent.domain.document import ParticipantDocument, Proxy, Table
from fedagent.domain.observed import ParticipantObserved, PodView, ReleaseView
from fedagent.domain.readiness import listed
from fedagent.domain.route_probes import ProbedRoutes, is_party_route
from fedagent.domain.stage import PlanContext, StageResult
from fedagent.domain.state import Method, ProxyState, ResourceState
from fedcore.words import Phase, ProbeState, ProxyKind, Severity

_RELOAD_TRIES: Final = 3
RESTARTED: Final = 1000
"""``tries`` of a proxy that was restarted for its table: it is not restarted again for it."""


def proxies(ctx: PlanContext) -> StageResult | None:
    """Ensure that every proxy has read its table and certificates, and serves what they say."""
    restarts = _restarts_for_certificates(ctx)
    if restarts:
        text = f"{restarts[0].deployment} restarts to read its new certificate"
        return StageResult(ctx.busy_phase, "CertificateRenewed", text, actions=restarts)
    actions = {proxy.deployment: _sync(ctx, proxy) for proxy in ctx.document.proxies}
    due = {deployment: action for deployment, action in actions.items() if action is not None}
    if due:
        text = f"{listed(list(due))} takes its new route table"
        return StageResult(ctx.busy_phase, "ProxyReloading", text, actions=tuple(due.values()))
    return _probe(ctx)


def _restarts_for_certificates(ctx: PlanContext) -> tuple[RestartProxy, ...]:
    """Return restarts of what mounts a certificate by subPath: no kubelet updates such a file."""
    restarts: dict[str, RestartProxy] = {}
    for spec in ctx.document.certificates:
        view = ctx.observed.secrets.get(spec.secret_name)
        if view is None or view.issued_at is None:
            continue
        # Kubernetes writes the times of pods in whole seconds.
        issued_at = view.issued_at.replace(microsecond=0)
        for deployment in spec.restart_deployments:
            pods = ctx.observed.pods_of(deployment)
            if any(pod.started_at is not None and pod.started_at < issued_at for pod in pods):
                reason = f"certificate {spec.secret_name} was renewed"
                restarts[deployment] = RestartProxy(deployment, reason)
    return tuple(restarts.values())


def _sync(ctx: PlanContext, proxy: Proxy) -> Action | None:
    """Return what makes a proxy read its table, or notes that it has: see the first table above."""
    table = ctx.document.table(proxy.table)
    pods = ctx.observed.pods_of(proxy.deployment)
    if table is None or not pods:
        return None
    applied = ctx.state.proxies.get(proxy.deployment)
    uids = tuple(sorted(pod.uid for pod in pods))
    is_same_table = applied is not None and applied.table_digest == table.digest
    if applied is not None and is_same_table and set(uids) <= set(applied.pod_uids):
        return None
    # What is true once the action is done; ``applied_at`` is written again then.
    target = ProxyState(proxy.deployment, uids, table.digest, table.keys, ctx.now, "started")
    if _read_at_start(ctx, table, pods, applied):
        # The count goes on for the same table: else a proxy that never takes it restarts for ever.
        tries = applied.tries if applied is not None and is_same_table else 0
        return NoteProxy(replace(target, tries=tries))
    removed = _removed(ctx, proxy, table, applied)
    if proxy.kind is ProxyKind.NGINX and applied is not None and not removed:
        return NoteProxy(replace(target, how="by-itself"))
    if _must_restart(ctx, table, applied):
        restarted = replace(target, how="restart", removed=removed, tries=RESTARTED)
        reason = "it does not reload its table"
        return RestartProxy(proxy.deployment, reason, restarted)
    # Without a note nobody knows which keys came with this table: none counts as evidence then.
    added = () if applied is None else tuple(sorted(set(table.keys) - set(applied.keys)))
    reloaded = replace(target, how="reload", removed=removed, added=added)
    return ReloadProxy(proxy.deployment, reloaded)


def _must_restart(ctx: PlanContext, table: Table, applied: ProxyState | None) -> bool:
    """Return whether reloading was tried in vain, or the pods cannot see the new file at all."""
    tries = applied.tries if applied is not None else 0
    first_seen = ctx.state.table_seen.get(table.config_map)
    is_late = first_seen is not None and ctx.age_s(first_seen[1]) > ctx.timing.table_file_grace_s
    return _RELOAD_TRIES <= tries < RESTARTED or is_late


def _read_at_start(
    ctx: PlanContext, table: Table, pods: tuple[PodView, ...], applied: ProxyState | None
) -> bool:
    """Return whether pods that no note speaks of have read this very table when they started."""
    fresh = [pod for pod in pods if applied is None or pod.uid not in applied.pod_uids]
    releases = ctx.observed.releases
    # The first revision of a release brought pods and table together.
    is_first = len(fresh) == len(pods) and len(releases) == 1
    if is_first and _has_started(releases[0], pods, if_unknown=True):
        return True
    # Some pods are older than the table: they must be reloaded, whatever the younger ones read.
    is_mixed = len(fresh) < len(pods)
    if applied is not None and is_mixed and applied.table_digest != table.digest:
        return False
    first_seen = ctx.state.table_seen.get(table.config_map)
    if first_seen is None or first_seen[0] != table.digest or not fresh:
        return False
    seen_at = first_seen[1].replace(microsecond=0)
    return all(pod.started_at is not None and pod.started_at >= seen_at for pod in fresh)


def first_notes(
    document: ParticipantDocument,
    observed: ParticipantObserved,
    state: ResourceState,
    now: datetime,
) -> tuple[ProxyState, ...]:
    """Return what proxies have read that the install under way has just started.

    Its routes often follow while it goes on. Without this note nobody knows what an update adds,
    and so which route shows that the proxy took it: the longest reload is waited for.
    """
    submission, releases = state.open_submission, observed.releases
    is_install = submission is not None and submission.method is Method.INSTALL
    if not is_install or len(releases) != 1:
        return ()
    notes: list[ProxyState] = []
    for proxy in document.proxies:
        target = document.table(proxy.table)
        table = None if target is None else observed.tables.get(target.config_map)
        pods = observed.pods_of(proxy.deployment)
        if table is None or table.error or proxy.deployment in state.proxies:
            continue
        if pods and _has_started(releases[0], pods, if_unknown=False):
            uids = tuple(sorted(pod.uid for pod in pods))
            keys = tuple(sorted({entry.key for entry in table.entries}))
            notes.append(ProxyState(proxy.deployment, uids, table.digest, keys, now, "started"))
    return tuple(notes)


def _has_started(release: ReleaseView, pods: tuple[PodView, ...], *, if_unknown: bool) -> bool:
    """Return whether the release's first revision started the pods: older ones read another table.

    They are older where a lost record was installed anew over what ran.
    """
    began_at = release.created_at
    return release.revision == 1 and all(
        if_unknown if began_at is None or pod.started_at is None else pod.started_at >= began_at
        for pod in pods
    )


def _removed(
    ctx: PlanContext, proxy: Proxy, table: Table, applied: ProxyState | None
) -> tuple[str, ...]:
    """Return the keys that the table lost, with those of a reload just before.

    Traffic Server may take both changes at once, and no probe has shown that the first are gone.
    """
    if applied is None:
        return ()
    is_recent = ctx.age_s(applied.applied_at) < ctx.timing.reapply_window_s
    is_unproven = proxy.kind is ProxyKind.TRAFFIC_SERVER and is_recent and applied.how == "reload"
    carried = applied.removed if is_unproven else ()
    return tuple(sorted({*applied.keys, *carried} - set(table.keys)))


def _probe(ctx: PlanContext) -> StageResult | None:
    """Return what is lacking of the evidence: see the second table above."""
    routes = ctx.routes
    if routes is None or routes.proxy_state is None:
        return None
    applied = routes.proxy_state
    due = [key for key in routes.table.keys if is_party_route(key) and not routes.is_settled(key)]
    due_gone = [key for key in applied.removed if is_party_route(key) and not _is_gone(routes, key)]
    if not due and not due_gone:
        return None
    bad = [key for key in due if routes.is_in(key, ProbeState.NOT_SERVED)]
    bad += [key for key in due_gone if routes.probe_of(key) is not None]
    probe = ProbeRoutes(tuple(due), tuple(due_gone), routes.table.digest)
    if bad and ctx.age_s(applied.applied_at) > ctx.timing.reload_grace_s:
        return _not_taken(ctx, applied, bad, probe)
    verb = "serves" if due else "no longer serves"
    text = f"waiting until {routes.proxy.deployment} {verb} {listed(due or due_gone)}"
    is_due = _is_older(ctx, (*due, *due_gone), ctx.timing.probe_interval_s)
    return StageResult(
        ctx.busy_phase,
        "RouteUnreachable",
        text,
        actions=(probe,) if is_due else (),
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
        is_down = probe.state is ProbeState.PARTY_DOWN
        limit_s = ctx.timing.reprobe_down_s if is_down else ctx.timing.reprobe_s
        if ctx.age_s(probe.at) > limit_s:
            old.append(key)
    return (ProbeRoutes(tuple(old), (), routes.table.digest),) if old else ()


def _is_gone(routes: ProbedRoutes, key: str) -> bool:
    probe = routes.probe_of(key)
    return probe is not None and probe.state in {ProbeState.NOT_SERVED, ProbeState.UNREACHABLE}


def _is_older(ctx: PlanContext, keys: tuple[str, ...] | list[str], age_s: float) -> bool:
    """Return whether the last probe of any key is that old, or there is none."""
    probes = [ctx.state.probes.get(key) for key in keys]
    return any(probe is None or ctx.age_s(probe.at) >= age_s for probe in probes)


def _not_taken(
    ctx: PlanContext, applied: ProxyState, bad: list[str], probe: ProbeRoutes
) -> StageResult:
    """Return the remedy for a proxy that does not serve its table; without one, a finding."""
    name, timing = applied.deployment, ctx.timing
    text = f"{name} does not serve {listed(bad)} as its table says"
    if applied.tries < RESTARTED:
        action: Action
        if applied.how == "reload" and ctx.age_s(applied.applied_at) < timing.reapply_window_s:
            restarted = replace(applied, applied_at=ctx.now, how="restart", tries=RESTARTED)
            action = RestartProxy(name, "it does not take its table by a reload", restarted)
        else:
            # It was taken long ago, or read at the start: a reload, which cuts nothing, is first.
            action = ReloadProxy(name, replace(applied, applied_at=ctx.now, how="reload"))
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
        actions=(probe,) if _is_older(ctx, bad, timing.reprobe_down_s) else (),
        next_check_s=timing.reprobe_down_s,
        findings=(finding,),
    )
