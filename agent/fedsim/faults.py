"""Orders to misbehave, shared by the simulated Kubernetes and the simulated KubeFATE.

A fault is ordered as ``NAME`` or ``NAME=ARGUMENT``, at start by ``--fault`` and later by the
admin endpoint (`fedsim.admin`). `CATALOGUE` names every fault, says which service obeys it, and
what its argument means; a service refuses a fault that it does not obey. A process keeps one
`Faults` and asks it at the place where it would misbehave.
"""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Service(StrEnum):
    """The program that obeys a fault."""

    KUBE = "kube"
    KUBEFATE = "kubefate"


class Shape(StrEnum):
    """What the argument of a fault looks like; items of a list are parted by commas."""

    NONE = "none"
    WORKLOADS = "workloads"
    SECONDS = "seconds"
    STRIKES = "strikes"


class FaultName(StrEnum):
    """The words that `--fault` and the admin endpoint take."""

    SLOW_IMAGE = "slow-image"
    CRASH = "crash"
    NEVER_READY = "never-ready"
    UNSCHEDULABLE = "unschedulable"
    IMAGE_ERROR = "image-error"
    API_ERRORS = "api-errors"
    API_LATENCY = "api-latency"
    API_THROTTLED = "api-throttled"
    CONFLICTS = "conflicts"
    WATCH_SILENT = "watch-silent"
    WATCH_GONE = "watch-gone"
    WATCH_CUT = "watch-cut"
    EXEC_FAILS = "exec-fails"
    FORWARD_FAILS = "forward-fails"
    QUOTA = "quota"
    FORBIDDEN = "forbidden"
    PVC_PENDING = "pvc-pending"
    NODE_NOT_READY = "node-not-ready"
    RELOAD_LOST = "reload-lost"

    JOB_HANG = "job-hang"
    JOB_FAILS = "job-fails"
    RESTART = "restart"
    DATABASE_LOST = "database-lost"
    REFUSE_TOKEN = "refuse-token"
    SLOW_LOGIN = "slow-login"
    LOGIN_FAILS = "login-fails"
    UPGRADE_FAILS = "upgrade-fails"
    WRONG_ROLLBACK = "wrong-rollback"
    STOP_LOST = "stop-lost"
    PANIC_ON_EXCHANGE_PUT = "panic-on-exchange-put"
    ANOTHER_OPERATION = "another-operation"
    UNINSTALL_FAILS = "uninstall-fails"
    ORPHAN_RELEASE = "orphan-release"
    CHART_LOST = "chart-lost"
    HTTP_ERRORS = "http-errors"
    HTTP_LATENCY = "http-latency"
    REPLY_LOST = "reply-lost"
    INGRESS_HTML = "ingress-html"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A fault that can be ordered: its argument, what happens, and who obeys it."""

    name: FaultName
    shape: Shape
    default: str
    text: str
    service: Service
    is_on_at_start: bool = False


_N = FaultName
_NONE, _WORKLOADS, _SECONDS, _STRIKES = Shape
_Row = tuple[FaultName, Shape, str, str]
_KUBE: tuple[_Row, ...] = (
    (_N.SLOW_IMAGE, _SECONDS, "60", "Pulling an image takes SECONDS[:WORKLOAD]."),
    (_N.CRASH, _WORKLOADS, "*", "Containers exit at once: CrashLoopBackOff, BackOff."),
    (_N.NEVER_READY, _WORKLOADS, "*", "Containers run; readiness probes fail for ever."),
    (_N.UNSCHEDULABLE, _WORKLOADS, "*", "No node has enough cpu: FailedScheduling."),
    (_N.IMAGE_ERROR, _WORKLOADS, "*", "Images are not found: ErrImagePull."),
    (_N.API_ERRORS, _STRIKES, "0.2", "Requests answer 500 without effect: a rate, or a count (3)."),
    (_N.API_LATENCY, _SECONDS, "1", "Every request waits SECONDS first."),
    (_N.API_THROTTLED, _STRIKES, "0.2", "Requests answer 429 with Retry-After: 1."),
    (_N.CONFLICTS, _STRIKES, "1", "Updates and patches answer 409 Conflict."),
    (_N.WATCH_SILENT, _NONE, "", "Watches stay open and send nothing, no bookmarks."),
    (_N.WATCH_GONE, _STRIKES, "1", "Watches that resume answer 410 Gone."),
    (_N.WATCH_CUT, _SECONDS, "1", "Watches are cut without an end after SECONDS."),
    (_N.EXEC_FAILS, _WORKLOADS, "*", "Exec into pods answers 500 from the kubelet."),
    (_N.FORWARD_FAILS, _WORKLOADS, "*", "Port-forwards to pods are refused."),
    (_N.QUOTA, _WORKLOADS, "*", "ReplicaSets may make no pods: exceeded quota."),
    (_N.FORBIDDEN, _WORKLOADS, "*/*", "403 for VERB/RESOURCE@NAMESPACE, each a glob."),
    (_N.PVC_PENDING, _WORKLOADS, "*", "Claims of this name stay Pending."),
    (_N.NODE_NOT_READY, _NONE, "", "The node's condition Ready is Unknown."),
    (_N.RELOAD_LOST, _WORKLOADS, "*", "A proxy's reload returns 0 and does nothing."),
)
_KUBEFATE: tuple[_Row, ...] = (
    (_N.JOB_HANG, _WORKLOADS, "*", "Jobs of these clusters stay Running."),
    (_N.JOB_FAILS, _WORKLOADS, "*", "Helm fails for installs of these clusters."),
    (_N.RESTART, _STRIKES, "1", "A restart as a job begins: tokens die, jobs stay Running."),
    (_N.DATABASE_LOST, _NONE, "", "The database is emptied once, when ordered."),
    (_N.REFUSE_TOKEN, _STRIKES, "1", "Valid tokens answer 401."),
    (_N.SLOW_LOGIN, _SECONDS, "1.25", "A login takes SECONDS (the real one: 1.25)."),
    (_N.LOGIN_FAILS, _STRIKES, "1", "Logins answer 401 incorrect password."),
    (_N.UPGRADE_FAILS, _WORKLOADS, "*", "Helm fails for updates: Rollback."),
    (_N.WRONG_ROLLBACK, _NONE, "", "A roll-back goes one revision too far, as the real one does."),
    (_N.STOP_LOST, _WORKLOADS, "*", "A stop is answered and has no effect."),
    (_N.PANIC_ON_EXCHANGE_PUT, _NONE, "", "PUT of an exchange: 500, empty body."),
    (_N.ANOTHER_OPERATION, _STRIKES, "1", "Helm answers 'another operation … is in progress'."),
    (_N.UNINSTALL_FAILS, _WORKLOADS, "*", "Helm fails to uninstall; the record goes."),
    (_N.ORPHAN_RELEASE, _WORKLOADS, "*", "An orphan release holds the name."),
    (_N.CHART_LOST, _WORKLOADS, "*", "Uploaded charts of this name are lost."),
    (_N.HTTP_ERRORS, _STRIKES, "0.2", "Requests answer 500 without effect."),
    (_N.HTTP_LATENCY, _SECONDS, "1", "Every request waits SECONDS first."),
    (_N.REPLY_LOST, _STRIKES, "1", "POST, PUT and DELETE act, the answer is cut."),
    (_N.INGRESS_HTML, _STRIKES, "1", "An ingress answers 503 as HTML."),
)
CATALOGUE: dict[FaultName, FaultKind] = {
    row[0]: FaultKind(*row, service, is_on_at_start=row[0] is _N.WRONG_ROLLBACK)
    for service, rows in ((Service.KUBE, _KUBE), (Service.KUBEFATE, _KUBEFATE))
    for row in rows
}


class FaultError(ValueError):
    """An order that names no fault of this service, or whose argument has the wrong shape."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An ordered fault: its name and its argument as text, defaults filled in."""

    name: FaultName
    argument: str

    @property
    def items(self) -> tuple[str, ...]:
        """Split the argument at its commas."""
        return tuple(item.strip() for item in self.argument.split(",") if item.strip())


class Faults:
    """The faults ordered of one process, which asks at the place where it would misbehave.

    Workloads are named by glob, as ``name`` or ``namespace/name``. Random strikes are the same in
    each run.
    """

    def __init__(self, service: Service, orders: Iterable[str] = ()) -> None:
        self._service = service
        self._random = random.Random(0)
        self._ordered: dict[FaultName, Fault] = {}
        self._listeners: list[Callable[[], None]] = []
        for kind in self.kinds():
            if kind.is_on_at_start:
                self._ordered[kind.name] = Fault(kind.name, kind.default)
        self._order_all(orders)

    def _order_all(self, orders: Iterable[str]) -> None:
        repeated: dict[str, list[str]] = {}
        for order in orders:
            name, _, argument = order.partition("=")
            repeated.setdefault(name.strip(), []).append(argument.strip())
        for name, arguments in repeated.items():
            self.set(name, ",".join(argument for argument in arguments if argument))

    def kinds(self) -> tuple[FaultKind, ...]:
        """Return the faults that this service obeys."""
        return tuple(kind for kind in CATALOGUE.values() if kind.service is self._service)

    def set(self, name: str, argument: str = "") -> Fault:
        """Order a fault, in place of an earlier order of the same name.

        Raises `FaultError` for a name that this service does not obey and for a bad argument.
        """
        kind = self._kind(name)
        fault = Fault(kind.name, argument or kind.default)
        _check(kind, fault)
        self._ordered[kind.name] = fault
        self._notify()
        return fault

    def clear(self, name: str) -> None:
        """Cancel an order, also one that is on at start; does nothing if there is none."""
        self._ordered.pop(self._kind(name).name, None)
        self._notify()

    def clear_all(self) -> None:
        """Cancel every order."""
        self._ordered.clear()
        self._notify()

    def ordered(self) -> tuple[Fault, ...]:
        """Return what is ordered now, by name."""
        return tuple(sorted(self._ordered.values(), key=lambda fault: fault.name))

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each order and each cancellation."""
        self._listeners.append(listener)

    def is_on(self, name: FaultName) -> bool:
        """Return whether the fault is ordered at all."""
        return name in self._ordered

    def argument(self, name: FaultName) -> str | None:
        """Return the argument of an ordered fault, None when it is not ordered."""
        fault = self._ordered.get(name)
        return fault.argument if fault else None

    def items(self, name: FaultName) -> tuple[str, ...]:
        """Return the items of the argument; empty when the fault is not ordered."""
        fault = self._ordered.get(name)
        return fault.items if fault else ()

    def hits(self, name: FaultName, workload: str, namespace: str = "") -> bool:
        """Return whether the fault is ordered for this workload (`Shape.WORKLOADS`)."""
        return any(matches(item, workload, namespace) for item in self.items(name))

    def seconds(self, name: FaultName, workload: str = "", namespace: str = "") -> float:
        """Return the longest wait ordered for this workload (`Shape.SECONDS`), 0 for none."""
        longest = 0.0
        for item in self.items(name):
            seconds, _, pattern = item.partition(":")
            if not pattern or matches(pattern, workload, namespace):
                longest = max(longest, float(seconds))
        return longest

    def strikes(self, name: FaultName) -> bool:
        """Return whether the fault strikes this time, using up one of a count (`Shape.STRIKES`)."""
        fault = self._ordered.get(name)
        if fault is None:
            return False
        if "." in fault.argument:
            return self._random.random() < float(fault.argument)
        left = int(fault.argument)
        if left <= 1:
            del self._ordered[name]
        else:
            self._ordered[name] = Fault(name, str(left - 1))
        return left > 0

    def _kind(self, name: str) -> FaultKind:
        for kind in self.kinds():
            if kind.name == name:
                return kind
        names = ", ".join(sorted(kind.name for kind in self.kinds()))
        raise FaultError(f"{name!r} is no fault of {self._service}; there are: {names}")

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()


def matches(pattern: str, workload: str, namespace: str = "") -> bool:
    """Return whether a glob names the workload: ``name`` or ``namespace/name``."""
    subject = f"{namespace}/{workload}" if "/" in pattern else workload
    return fnmatch.fnmatchcase(subject, pattern)


def _check(kind: FaultKind, fault: Fault) -> None:
    match kind.shape:
        case Shape.NONE if fault.argument:
            raise FaultError(f"{kind.name} takes no argument, got {fault.argument!r}")
        case Shape.SECONDS:
            for item in fault.items:
                _check_number(kind, item.partition(":")[0])
        case Shape.STRIKES:
            _check_number(kind, fault.argument)
            if "." not in fault.argument and not fault.argument.isdigit():
                raise FaultError(f"{kind.name} takes a rate or a count, got {fault.argument!r}")
        case _:
            return


def _check_number(kind: FaultKind, text: str) -> None:
    try:
        number = float(text)
    except ValueError as error:
        raise FaultError(f"{kind.name} takes a number, got {text!r}") from error
    if not 0 <= number < 1e9:
        raise FaultError(f"{kind.name} takes a number from 0 on, got {text!r}")


def describe(service: Service) -> str:
    """List the faults of a service, one a line, for the help text of the command line."""
    lines = [
        f"{kind.name}{'' if kind.shape is Shape.NONE else f'[={kind.default}]'}: {kind.text}"
        for kind in CATALOGUE.values()
        if kind.service is service
    ]
    return "\n".join(lines)
