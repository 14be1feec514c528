"""What a plan says: the next actions, and how the resource stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedagent.domain.state import LastGoodConfig, Method, Outcome, ProxyState, Submission
from fedcore.words import Phase, Severity, StepState

MISSING: Final = "missing"
"""Reason of an IssueCertificate whose Secret is not there."""


class ActionKind(StrEnum):
    """Kinds of action that a site's policy speaks of."""

    INSTALL = "install"
    UPDATE = "update"
    RESTART = "restart"
    REMOVE = "remove"
    ADOPT = "adopt"
    NONE = "none"
    """Touches nothing at the site: following a job, probing a route."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the progress that people follow."""

    name: str
    state: StepState
    message: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A named cause with the next act."""

    code: str
    severity: Severity
    message: str
    hint: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class EnsureNamespace:
    """Make the namespace, or label one that is there and free."""


@dataclass(frozen=True, slots=True)
class ReleaseNamespace:
    """Take our labels off a namespace that we did not make."""


@dataclass(frozen=True, slots=True)
class DeleteNamespace:
    """Delete a namespace that we made."""


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Make a key here, let the hub sign its CSR, write the Secret."""

    secret_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeleteSecrets:
    """Delete the Secrets that we made."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UploadChart:
    """Fetch the chart's archive from the hub and give it to KubeFATE."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Send one request to KubeFATE; its intent is on disk before the call.

    ``good``: not the document's cluster.yaml is sent, but the one that last worked.
    """

    method: Method
    attempt: int
    record_uuid: str = ""
    good: LastGoodConfig | None = None


@dataclass(frozen=True, slots=True)
class AdoptSubmission:
    """Take up a request whose answer was lost, or that an earlier life of the agent made."""

    submission: Submission
    job_id: str


@dataclass(frozen=True, slots=True)
class EndSubmission:
    """Note how a request ended."""

    submission: Submission
    outcome: Outcome
    cause: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop an install job that cannot succeed and that a newer document replaces."""

    job_id: str


@dataclass(frozen=True, slots=True)
class DetachJob:
    """Delete the record of an install job, which ends it and leaves what it installed.

    Stopping it, or its limit of an hour, would uninstall (KubeFATE pkg/job/cluster_install.go).
    """

    job_id: str


@dataclass(frozen=True, slots=True)
class ForgetRelease:
    """Delete Helm's own Secrets of the release, so that an install adopts the live objects.

    Helm takes over objects that bear its annotations for the same release (Helm 3.2 and later).
    """

    revisions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeleteObjects:
    """Delete what bears the release's label and no record speaks of any more."""

    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteClaims:
    """Delete the release's PersistentVolumeClaims."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteProxy:
    """Note that a proxy knows its table, without anything to do."""

    note: ProxyState


@dataclass(frozen=True, slots=True)
class ReloadProxy:
    """Wait until the pods see the new file, then let the proxy read it. Cuts no tunnel."""

    deployment: str
    note: ProxyState


@dataclass(frozen=True, slots=True)
class RestartProxy:
    """Delete the proxy's pods, so that new ones read everything. Cuts tunnels."""

    deployment: str
    reason: str
    note: ProxyState | None = None


@dataclass(frozen=True, slots=True)
class ProbeRoutes:
    """Try SNIs by a TLS handshake. ``gone``: keys that must no longer be served."""

    keys: tuple[str, ...]
    gone: tuple[str, ...]
    table_digest: str


@dataclass(frozen=True, slots=True)
class InstallService:
    """Apply the manifests of the KubeFATE service."""


@dataclass(frozen=True, slots=True)
class UninstallService:
    """Remove the KubeFATE service that we installed."""


Action = (
    EnsureNamespace
    | ReleaseNamespace
    | DeleteNamespace
    | IssueCertificate
    | DeleteSecrets
    | UploadChart
    | Submit
    | AdoptSubmission
    | EndSubmission
    | StopJob
    | DetachJob
    | ForgetRelease
    | DeleteObjects
    | DeleteClaims
    | NoteProxy
    | ReloadProxy
    | RestartProxy
    | ProbeRoutes
    | InstallService
    | UninstallService
)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next actions (none: wait ``next_check_s``), and how the resource stands."""

    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    next_check_s: float = 60.0
    leftovers: tuple[str, ...] = ()
    follows_job: str = ""
    """Id of the KubeFATE job whose end is awaited."""


_KINDS: Final[Mapping[type, ActionKind]] = {
    EnsureNamespace: ActionKind.INSTALL,
    UploadChart: ActionKind.INSTALL,
    InstallService: ActionKind.INSTALL,
    StopJob: ActionKind.INSTALL,
    ForgetRelease: ActionKind.INSTALL,
    ReloadProxy: ActionKind.UPDATE,
    RestartProxy: ActionKind.RESTART,
    ReleaseNamespace: ActionKind.REMOVE,
    DeleteNamespace: ActionKind.REMOVE,
    DeleteSecrets: ActionKind.REMOVE,
    DeleteObjects: ActionKind.REMOVE,
    DeleteClaims: ActionKind.REMOVE,
    UninstallService: ActionKind.REMOVE,
}
_METHODS: Final[Mapping[Method, ActionKind]] = {
    Method.INSTALL: ActionKind.INSTALL,
    Method.UPDATE: ActionKind.UPDATE,
    Method.DELETE: ActionKind.REMOVE,
}


def kind_of(action: Action) -> ActionKind:
    """Return the kind under which a site's policy knows an action."""
    match action:
        case Submit(method=method):
            return _METHODS[method]
        case IssueCertificate(reason=reason):
            return ActionKind.INSTALL if reason == MISSING else ActionKind.UPDATE
        case _:
            return _KINDS.get(type(action), ActionKind.NONE)
