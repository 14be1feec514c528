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
    is_party_route,
    is_settled,
    probe_is,
    probe_of,
    reachable_table,
)
from fedagent.domain.stage import PlanContext, StageResult
from fedagent.domain.state import Method, ProxyState, ResourceState

PROBE_LIMIT_S: Final = 15.0
"""Traffic Server takes 3 to 7 s to act on a reload."""
_PROBE_AGAIN_S: Final = 0.5
_REPROBE_DOWN_S: Final = 15.0
_REPROBE_S: Final = 300.0
_RETELL_S: Final = 60.0
_RELOAD_TRIES: Final = 3
_FILE_LIMIT_S: Final = 180.0
"""A kubelet brings a changed ConfigMap into its pods within about a minute."""
GIVEN_UP: Final = 1000
"""Tries of a note whose proxy was restarted for this table: it is not restarted again."""


def proxies(given: PlanContext) -> StageResult | None:
    """Have every proxy know its table and certificates, and serve what it was told."""
    restarts = _restarts_for_certificates(given)
    if restarts:
        text = f"{restarts[0].deployment} restarts to read its new certificate"
        return StageResult(given.busy_phase, "CertificateRenewed", text, actions=restarts)
    telling: list[Action] = []
    for proxy in given.document.proxies:
        telling.extend(_tell(given, proxy))
    if telling:
        names = listed([_deployment_of(action) for action in telling])
        text = f"{names} takes its new route table"
        return StageResult(given.busy_phase, "ProxyReloading", text, actions=tuple(telling))
    return _probes(given)


def _restarts_for_certificates(given: PlanContext) -> tuple[RestartProxy, ...]:
    found: dict[str, RestartProxy] = {}
    for wish in given.document.certificates:
        view = given.observed.secrets.get(wish.secret_name)
        if view is None or view.issued_at is None:
            continue
        issued_at = view.issued_at.replace(microsecond=0)
        for deployment in wish.restart_deployments:
            pods = given.observed.pods_of(deployment)
            if any(pod.started_at is not None and pod.started_at < issued_at for pod in pods):
                reason = f"certificate {wish.secret_name} was renewed"
                found[deployment] = RestartProxy(deployment, reason)
    return tuple(found.values())


def _tell(given: PlanContext, proxy: Proxy) -> tuple[Action, ...]:
    table = given.document.table(proxy.table)
    pods = given.observed.pods_of(proxy.deployment)
    if table is None or not pods:
        return ()
    note = given.memory.proxies.get(proxy.deployment)
    uids = tuple(sorted(pod.uid for pod in pods))
    if note is not None and note.table_digest == table.digest and set(uids) <= set(note.pod_uids):
        return ()
    wanted = ProxyState(proxy.deployment, uids, table.digest, table.keys, given.now, "started")
    if _read_at_start(given, table, pods, note):
        same = note is not None and note.table_digest == table.digest
        return (NoteProxy(replace(wanted, tries=note.tries if note and same else 0)),)
    removed = _removed(given, proxy, table, note)
    if proxy.kind is ProxyKind.NGINX and note is not None and not removed:
        return (NoteProxy(replace(wanted, how="by-itself")),)
    tries = note.tries if note is not None else 0
    seen = given.memory.table_seen.get(table.config_map)
    is_late = seen is not None and given.age_s(seen[1]) > _FILE_LIMIT_S
    if _RELOAD_TRIES <= tries < GIVEN_UP or is_late:
        told = replace(wanted, how="restart", removed=removed, tries=GIVEN_UP)
        return (RestartProxy(proxy.deployment, "it does not reload its table", told),)
    added = () if note is None else tuple(sorted(set(table.keys) - set(note.keys)))
    told = replace(wanted, how="reload", removed=removed, added=added)
    return (ReloadProxy(proxy.deployment, told),)


def _read_at_start(
    given: PlanContext, table: Table, pods: tuple[PodView, ...], note: ProxyState | None
) -> bool:
    """Tell whether pods that no note speaks of have read this very table when they started."""
    fresh = [pod for pod in pods if note is None or pod.uid not in note.pod_uids]
    releases = given.observed.releases
    is_first = len(fresh) == len(pods) and len(releases) == 1
    if is_first and _has_started(releases[0], pods, if_unknown=True):
        return True
    if note is not None and len(fresh) < len(pods) and note.table_digest != table.digest:
        return False
    seen = given.memory.table_seen.get(table.config_map)
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
    given: PlanContext, proxy: Proxy, table: Table, note: ProxyState | None
) -> tuple[str, ...]:
    """Return the keys that the table lost; those of a telling just before are not forgotten."""
    if note is None:
        return ()
    fresh = proxy.kind is ProxyKind.TRAFFIC_SERVER and given.age_s(note.applied_at) < _RETELL_S
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


def _probes(given: PlanContext) -> StageResult | None:
    proxy, table = reachable_table(given.document)
    if proxy is None or table is None:
        return None
    memory = given.memory
    note = given.memory.proxies.get(proxy.deployment)
    if note is None:
        return None
    wanted = [key for key in table.keys if is_party_route(key)]
    gone = [key for key in note.removed if is_party_route(key)]
    due = [key for key in wanted if not is_settled(memory, key, note, table)]
    due_gone = [key for key in gone if not _is_gone(given, key, table)]
    if not due and not due_gone:
        return None
    bad = [key for key in due if probe_is(memory, key, table, NOT_SERVED)]
    bad += [key for key in due_gone if probe_of(memory, key, table) is not None]
    probe = ProbeRoutes(tuple(due), tuple(due_gone), table.digest)
    if bad and given.age_s(note.applied_at) > PROBE_LIMIT_S:
        return _not_taken(given, note, bad, probe)
    verb = "serves" if due else "no longer serves"
    text = f"waiting until {proxy.deployment} {verb} {listed(due or due_gone)}"
    return StageResult(
        given.busy_phase,
        "RouteUnreachable",
        text,
        actions=(probe,) if _is_probe_due(given, (*due, *due_gone)) else (),
        next_check_s=_PROBE_AGAIN_S,
    )


def reprobes(given: PlanContext) -> tuple[ProbeRoutes, ...]:
    """Return probes that have become old, to be renewed beside other work while Ready."""
    _, table = reachable_table(given.document)
    if table is None:
        return ()
    old: list[str] = []
    for key in table.keys:
        probe = probe_of(given.memory, key, table)
        if probe is None:
            continue
        limit_s = _REPROBE_DOWN_S if probe.state == PARTY_DOWN else _REPROBE_S
        if given.age_s(probe.at) > limit_s:
            old.append(key)
    return (ProbeRoutes(tuple(old), (), table.digest),) if old else ()


def _is_gone(given: PlanContext, key: str, table: Table) -> bool:
    probe = probe_of(given.memory, key, table)
    return probe is not None and probe.state in {NOT_SERVED, UNREACHABLE}


def _is_probe_due(given: PlanContext, keys: tuple[str, ...]) -> bool:
    probes = [given.memory.probes.get(key) for key in keys]
    return any(probe is None or given.age_s(probe.at) >= _PROBE_AGAIN_S for probe in probes)


def _not_taken(
    given: PlanContext, note: ProxyState, bad: list[str], probe: ProbeRoutes
) -> StageResult:
    """Tell it again when that was long ago; then restart it, once per table; then only report."""
    name = note.deployment
    text = f"{name} does not serve {listed(bad)} as its table says"
    if note.tries < GIVEN_UP:
        told = replace(note, applied_at=given.now)
        action: Action = ReloadProxy(name, replace(told, how="reload"))
        if note.how == "reload" and given.age_s(note.applied_at) < _RETELL_S:
            told = replace(told, how="restart", tries=GIVEN_UP)
            action = RestartProxy(name, "it does not take its table by a reload", told)
        return StageResult(given.busy_phase, "RouteNotServed", text, actions=(action,))
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
        actions=(probe,) if _is_old(given, bad) else (),
        next_check_s=_REPROBE_DOWN_S,
        findings=(finding,),
    )


def _is_old(given: PlanContext, keys: list[str]) -> bool:
    probes = [given.memory.probes.get(key) for key in keys]
    return any(probe is None or given.age_s(probe.at) > _REPROBE_DOWN_S for probe in probes)
