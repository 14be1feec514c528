"""A world in miniature for the planner: a cluster, a KubeFATE, and a journal, all as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedagent.domain import decision as do
from fedagent.domain.document import (
    AddressSpec,
    CertificateSpec,
    Chart,
    Component,
    ParticipantDocument,
    Proxy,
    RouteEntry,
    Table,
)
from fedagent.domain.observed import (
    AddressView,
    CertificateView,
    JobState,
    JobView,
    KubeFateView,
    NamespaceView,
    OwnerView,
    ParticipantObserved,
    PodView,
    RecordState,
    RecordView,
    ReleaseView,
    SecretView,
    ServiceAccess,
    TableView,
    Workload,
)
from fedagent.domain.plan import plan_participant
from fedagent.domain.policy import Policy, default_policy
from fedagent.domain.removal import begins_removal
from fedagent.domain.stage import PlanSettings
from fedagent.domain.state import LastGoodConfig, Method, Outcome, Probe, ResourceState, Submission
from fedagent.domain.timing import PlanTiming
from fedcore.words import (
    KeyAlgorithm,
    KeyFormat,
    ParticipantKind,
    Phase,
    ProbeState,
    ProxyKind,
    RepairPolicy,
    TableKind,
    WorkloadKind,
)

HUB = "hub-1"
START = datetime(2026, 1, 1, tzinfo=UTC)
CHART = Chart("fate-exchange", "v1.8.0", "ab", from_hub=True)
SENTINEL = RouteEntry("sentinel.fed.example.com", "192.0.2.1", 443)


def make_document(
    generation: int = 1,
    parties: tuple[int, ...] = (),
    *,
    base_port: int = 30_000,
    chart: Chart = CHART,
    **changes: Any,
) -> ParticipantDocument:
    entries = (
        SENTINEL,
        *(
            RouteEntry(f"{number}.fed.example.com", "10.0.0.9", base_port + number)
            for number in parties
        ),
    )
    cluster = {
        "name": "fate-exchange",
        "namespace": "fate-exchange",
        "chartName": chart.name,
        "chartVersion": chart.version,
        "sni": [[item.key, item.host, item.port] for item in entries],
    }
    base = ParticipantDocument(
        resource_id="p-1",
        generation=generation,
        digest=f"digest-{generation}-{parties}-{chart}",
        body_sha256=f"sha-{generation}-{parties}-{chart}",
        absent=False,
        federation_id="f-1",
        federation_name="fed",
        name="fed/exchange",
        kind=ParticipantKind.EXCHANGE,
        party_id=0,
        namespace="fate-exchange",
        release_name="fate-exchange",
        chart=chart,
        cluster_json=json.dumps(cluster),
        certificates=(
            CertificateSpec(
                "traffic-server-cert",
                "ats",
                KeyAlgorithm.P256,
                KeyFormat.TRADITIONAL,
                "proxy.cert.pem",
                "proxy.key.pem",
                "ca.cert.pem",
                ("proxy.fed.example.com",),
                ("traffic-server",),
            ),
        ),
        components=(
            Component("nginx", WorkloadKind.DEPLOYMENT),
            Component("traffic-server", WorkloadKind.DEPLOYMENT),
        ),
        addresses=(AddressSpec("ats", "traffic-server", "443"),),
        tables=(Table(TableKind.SNI, "traffic-server-sni", "sni.yaml", entries, frozenset()),),
        proxies=(Proxy(ProxyKind.TRAFFIC_SERVER, "traffic-server", TableKind.SNI),),
        repair=RepairPolicy.AUTO,
        delete_volumes=True,
        delete_namespace=True,
    )
    return replace(base, **changes)


@dataclass
class World:
    """Moves only by ``tick`` and ``do``. ``served`` is what the proxy process knows."""

    document: ParticipantDocument = field(default_factory=make_document)
    state: ResourceState = field(default_factory=ResourceState)
    now: datetime = START
    policy: Policy = field(default_factory=default_policy)
    timing: PlanTiming = field(default_factory=PlanTiming)
    namespace: NamespaceView = field(default_factory=NamespaceView)
    secrets: dict[str, SecretView] = field(default_factory=dict)
    is_up: bool = True
    started_at: datetime | None = None
    has_chart: bool = False
    record: RecordView | None = None
    jobs: dict[str, JobView] = field(default_factory=dict)
    job_count: int = 0
    live_job: str = ""
    job_time: timedelta = timedelta(seconds=2)
    applied: set[str] = field(default_factory=set)
    job_fails: str = ""
    always_fails_at: int = 0
    releases: list[tuple[str, tuple[RouteEntry, ...], datetime]] = field(default_factory=list)
    table: tuple[RouteEntry, ...] | None = None
    chart_version: str = ""
    """Of what runs."""
    old_spec: Mapping[str, Any] = field(default_factory=dict)
    """What KubeFATE puts back into its record when an update fails (pkg/job/job.go)."""
    restores_spec: bool = True
    served: tuple[RouteEntry, ...] = ()
    pod: str = ""
    pod_at: datetime = START
    all_ready: bool = True
    installs: list[str] = field(default_factory=list)
    crash: str = ""
    forgotten: int = 0
    lingers_s: float = 0.0
    """How long a namespace takes to go."""
    goes_at: datetime = START

    @property
    def us(self) -> OwnerView:
        return OwnerView(HUB, "p-1")

    def tick(self, seconds: float = 1.0) -> None:
        self.now += timedelta(seconds=seconds)
        if self.namespace.terminating and self.now >= self.goes_at:
            self.namespace = NamespaceView()
        if self.live_job and self.now - self.jobs[self.live_job].started_at >= self.job_time:
            self._advance(self.jobs[self.live_job])

    def until_busy(self) -> None:
        """Step until KubeFATE works on a job."""
        for _ in range(20):
            if self.live_job:
                return
            self.step()
        raise AssertionError("no job was begun")

    def run_for(self, seconds: float) -> list[do.Action]:
        """Step for so long; return what was done."""
        end, done = self.now + timedelta(seconds=seconds), []
        while self.now < end:
            done += self.step().actions
        return done

    def _advance(self, job: JobView) -> None:
        if job.method == "ClusterDelete" and not self.releases:
            error = "uninstall: Release not loaded: fate-exchange: release: not found"
            self._end(job, JobState.FAILED, error)
            self.record = None
            return
        if job.method == "ClusterDelete":
            self._end(job, JobState.SUCCESS)
            self.record, self.releases, self.table, self.pod = None, [], None, ""
            return
        if job.revision.startswith(f"{self.always_fails_at}."):
            self.job_fails = "UPGRADE FAILED: provided port is already allocated"
        if self.job_fails:
            error, self.job_fails = self.job_fails, ""
            if job.method == "ClusterInstall":
                self.record, self.releases, self.table, self.pod = None, [], None, ""
                self._end(job, JobState.FAILED, error)
            else:
                # KubeFATE's rollback goes to the install's manifest (helm_revision starts at 0).
                _, old, _ = self.releases[0]
                self.releases.append(("deployed", old, self.now))
                self.table = old
                assert self.record is not None
                spec = self.old_spec if self.restores_spec else self.record.spec
                self.record = replace(self.record, state=RecordState.ROLLBACK, spec=spec)
                self._end(job, JobState.ROLLBACK, error)
            return
        assert self.record is not None
        if job.job_id not in self.applied:
            self.applied.add(job.job_id)
            wanted = tuple(RouteEntry(*row) for row in self.record.spec["sni"])
            self.releases.append(("deployed", wanted, self.now))
            self.table = wanted
            self.chart_version = self.record.spec["chartVersion"]
            self.jobs[job.job_id] = replace(job, states=("helm install Success",))
            if not self.pod:
                self.new_pod()
        if self.all_ready:
            self.record = replace(self.record, state=RecordState.RUNNING)
            self._end(job, JobState.SUCCESS)

    def _end(self, job: JobView, state: JobState, error: str = "") -> None:
        done = replace(job, state=state, is_over=True, error=error, changed_at=self.now)
        self.jobs[job.job_id] = done
        self.live_job = ""

    def new_pod(self) -> None:
        self.pod = f"pod-{self.now.timestamp()}"
        self.pod_at = self.now
        self.served = self.table or ()

    def observe(self) -> ParticipantObserved:
        names = ("nginx", "traffic-server")
        workloads = {}
        pods: tuple[PodView, ...] = ()
        if self.pod:
            ready = int(self.all_ready)
            workloads = {name: Workload(name, WorkloadKind.DEPLOYMENT, ready, 1) for name in names}
            pods = (
                PodView(
                    self.pod, self.pod, "traffic-server", "Running", self.all_ready, self.pod_at
                ),
            )
        digests = (
            {}
            if self.table is None
            else {"traffic-server-sni": TableView("traffic-server-sni", tuple(sorted(self.table)))}
        )
        seen = dict(self.state.table_seen)
        for name, view in digests.items():
            if seen.get(name, ("",))[0] != view.digest:
                seen[name] = (view.digest, self.now)
        self.state = replace(self.state, table_seen=seen)
        return ParticipantObserved(
            namespace=self.namespace,
            secrets=dict(self.secrets),
            kubefate=self._kubefate(),
            releases=tuple(
                ReleaseView(number + 1, status, at, at)
                for number, (status, _, at) in enumerate(self.releases)
            ),
            workloads=workloads,
            pods=pods,
            addresses=(AddressView("ats", "10.0.0.1", "10.0.0.1", 30_007),) if self.pod else (),
            tables=digests,
            objects=("Deployment/nginx",) if self.pod else (),
        )

    def _kubefate(self) -> KubeFateView:
        if not self.is_up:
            return KubeFateView(ServiceAccess.UNREACHABLE, "connection refused", seen_at=self.now)
        sent = self.state.open_submission
        job = None
        if sent is not None and sent.job_id:
            job = self.jobs.get(sent.job_id)
        elif self.jobs:
            job = list(self.jobs.values())[-1]
        return KubeFateView(
            ServiceAccess.READY,
            record=self.record,
            job=job,
            chart_present=self.has_chart,
            service_started_at=self.started_at,
            seen_at=self.now,
        )

    def decide(self, observed: ParticipantObserved | None = None) -> do.Decision:
        settings = PlanSettings(HUB, self.policy, self.timing)
        decision = plan_participant(
            self.document, observed or self.observe(), self.state, settings, self.now
        )
        if decision.phase is Phase.READY:
            highest = max(self.state.ready_generation, self.document.generation)
            good = LastGoodConfig(
                self.document.generation, self.document.cluster_json, self.document.chart
            )
            self.state = replace(self.state, ready_generation=highest, good=good)
        if begins_removal(self.document, decision):
            self.state = self.state.without_live()
        return decision

    def step(self) -> do.Decision:
        """Decide, act, and let time pass as the plan says when there is nothing to do."""
        decision = self.decide()
        for action in decision.actions:
            self.do(action)
        self.tick(0.1 if decision.actions else min(decision.next_check_s, 60.0))
        return decision

    def settle(self, phase: Phase = Phase.READY, *, steps: int = 400) -> do.Decision:
        decision = self.step()
        for _ in range(steps):
            if decision.phase is phase and not [
                item for item in decision.actions if not isinstance(item, do.ProbeRoutes)
            ]:
                return decision
            decision = self.step()
        raise AssertionError(f"not {phase} after {steps} steps: {decision}")

    def do(self, action: do.Action) -> None:
        name = type(action).__name__
        getattr(self, f"do_{name}")(action)

    def do_EnsureNamespace(self, _: Any) -> None:  # noqa: N802 - named by the action
        assert not self.namespace.terminating, "a namespace that is going takes nothing new"
        made = not self.namespace.exists
        self.namespace = NamespaceView(exists=True, owner=self.us, made_by_us=made)

    def do_DeleteNamespace(self, _: Any) -> None:  # noqa: N802
        self.secrets.clear()
        self.goes_at = self.now + timedelta(seconds=self.lingers_s)
        gone = NamespaceView()
        self.namespace = replace(self.namespace, terminating=True) if self.lingers_s else gone

    def do_ReleaseNamespace(self, _: Any) -> None:  # noqa: N802
        self.namespace = replace(self.namespace, owner=None)

    def do_IssueCertificate(self, action: do.IssueCertificate) -> None:  # noqa: N802
        self.issue(action.secret_name)

    def do_DeleteSecrets(self, action: do.DeleteSecrets) -> None:  # noqa: N802
        for name in action.names:
            del self.secrets[name]

    def do_UploadChart(self, _: Any) -> None:  # noqa: N802
        self.has_chart = True

    def do_Submit(self, action: do.Submit) -> None:  # noqa: N802
        self.submit(action)

    def do_AdoptSubmission(self, action: do.AdoptSubmission) -> None:  # noqa: N802
        sent = action.submission
        if not [item for item in self.state.submissions if item.revision == sent.revision]:
            self._remember(sent)
        self._change(sent, job_id=action.job_id)

    def do_EndSubmission(self, action: do.EndSubmission) -> None:  # noqa: N802
        self._change(
            action.submission,
            outcome=action.outcome,
            cause=action.cause,
            message=action.message,
            ended_at=self.now,
        )
        if action.cause == "ChartMissing":
            self.has_chart = False

    def do_StopJob(self, action: do.StopJob) -> None:  # noqa: N802
        self.record, self.releases, self.table, self.pod = None, [], None, ""
        self._end(self.jobs[action.job_id], JobState.CANCELED)

    def do_DetachJob(self, action: do.DetachJob) -> None:  # noqa: N802
        del self.jobs[action.job_id]
        self.live_job = ""

    def do_ForgetRelease(self, action: do.ForgetRelease) -> None:  # noqa: N802
        kept = enumerate(self.releases)
        self.releases = [item for number, item in kept if number + 1 not in action.revisions]
        self.forgotten += 1

    def do_DeleteObjects(self, _: Any) -> None:  # noqa: N802
        self.pod, self.table = "", None

    def do_NoteProxy(self, action: do.NoteProxy) -> None:  # noqa: N802
        self.note(action.note)

    def do_ReloadProxy(self, action: do.ReloadProxy) -> None:  # noqa: N802
        self.served = self.table or ()
        self.note(replace(action.note, applied_at=self.now))

    def do_RestartProxy(self, action: do.RestartProxy) -> None:  # noqa: N802
        if action.note is not None:
            self.note(replace(action.note, applied_at=self.now))
        self.new_pod()

    def do_ProbeRoutes(self, action: do.ProbeRoutes) -> None:  # noqa: N802
        self.probe(action)

    def note(self, note: Any) -> None:
        proxies = dict(self.state.proxies) | {note.deployment: note}
        self.state = replace(self.state, proxies=proxies)

    def probe(self, action: do.ProbeRoutes) -> None:
        served = {item.key for item in self.served}
        probes = {
            key: item
            for key, item in self.state.probes.items()
            if item.table_digest == action.table_digest
        }
        for key in (*action.keys, *action.gone):
            state = ProbeState.REACHABLE if key in served else ProbeState.NOT_SERVED
            probes[key] = Probe(key, state, "", self.now, action.table_digest)
        self.state = replace(self.state, probes=probes)

    def issue(self, name: str, life: timedelta = timedelta(days=30)) -> None:
        assert not self.namespace.terminating, "a namespace that is going takes nothing new"
        serial = f"{len(self.secrets)}{self.now.timestamp():.0f}"
        view = CertificateView(serial, self.now, self.now + life, ("proxy.fed.example.com",))
        self.secrets[name] = SecretView(name, self.us, view, issued_at=self.now)

    def _remember(self, sent: Submission) -> None:
        self.state = replace(self.state, submissions=(*self.state.submissions, sent))

    def _change(self, sent: Submission, **changes: Any) -> None:
        self.state = replace(
            self.state,
            submissions=tuple(
                replace(item, **changes) if item.revision == sent.revision else item
                for item in self.state.submissions
            ),
        )

    def submit(self, action: do.Submit) -> None:
        generation = self.document.generation if action.good is None else action.good.generation
        sent = Submission(generation, action.attempt, action.method, self.now)
        assert sent.revision not in {item.revision for item in self.state.submissions}
        self._remember(sent)
        crash, self.crash = self.crash, ""
        if crash == "before" or not self.is_up:
            return
        job_id = self._take(action, sent)
        if crash != "after" and job_id:
            self._change(sent, job_id=job_id)

    def _take(self, action: do.Submit, sent: Submission) -> str:
        """What the service does with a request; an answer that is an error ends it at once."""
        if action.method is Method.INSTALL and self.record is not None:
            self._change(sent, outcome=Outcome.REFUSED, cause="RecordExists", ended_at=self.now)
            return ""
        if action.method is not Method.INSTALL and self.record is None:
            self._change(sent, outcome=Outcome.LOST, ended_at=self.now)
            return ""
        self.job_count += 1
        job_id = f"job-{self.job_count}"
        state = {
            Method.INSTALL: RecordState.CREATING,
            Method.UPDATE: RecordState.UPDATING,
            Method.DELETE: RecordState.DELETING,
        }[action.method]
        if action.method is Method.INSTALL:
            assert not self.releases, "Helm: cannot re-use a name that is still in use"
            self.installs.append(sent.revision)
        if action.method is Method.DELETE:
            assert self.record is not None
            self.record = replace(self.record, state=state)
        else:
            self.old_spec = {} if self.record is None else self.record.spec
            spec = self.document.cluster
            if action.good is not None:
                spec = json.loads(action.good.cluster_json)
            self.record = RecordView("uuid", state, str(self.us), sent.revision, "", spec)
        self.jobs[job_id] = JobView(
            job_id,
            {"install": "ClusterInstall", "update": "ClusterUpdate", "delete": "ClusterDelete"}[
                action.method.value
            ],
            JobState.RUNNING,
            "" if action.method is Method.DELETE else sent.revision,
            started_at=self.now,
            changed_at=self.now,
        )
        self.live_job = job_id
        return job_id

    def restart_service(self) -> None:
        """No job is resumed: what runs now runs for ever."""
        self.live_job = ""
        self.started_at = self.now + timedelta(milliseconds=1)

    def lose_database(self) -> None:
        self.record, self.jobs, self.live_job, self.has_chart = None, {}, "", False

    def lose_journal(self) -> None:
        self.state = ResourceState()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make() -> Any:
    return make_document


@pytest.fixture
def new_world() -> Any:
    return World
