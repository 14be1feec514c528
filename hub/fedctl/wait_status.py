"""Where the things that somebody waits for stand: read from the hub, judged here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from fedctl.client import Client, Json, path_of
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import all_of, one, plain
from fedctl.resources import Kind, kind_of

FAILED: Final = frozenset({"Failed", "Refused"})
_DONE_STEP: Final = "Done"
_ASKED_ONE_BY_ONE: Final = 20
_LOST: Final = frozenset({"Disconnected", "Offline", "Revoked"})


class Goal(StrEnum):
    """What to wait for."""

    READY = "ready"
    GONE = "gone"


class Verdict(StrEnum):
    """How the wait goes."""

    OPEN = "open"
    REACHED = "reached"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Row:
    """One resource on its way, as the hub tells it."""

    name: str
    site: str
    phase: str
    reason: str = ""
    message: str = ""
    steps_done: int = 0
    steps: int = 0
    step: str = ""
    is_done: bool = False
    id: str = ""

    def cause(self) -> str:
        """Say who it is, how it stands and why."""
        why = ": ".join(part for part in (self.reason, self.message) if part)
        place = f" at {self.site}" if self.site else ""
        return f"{self.name}{place} is {self.phase}" + (f": {why}" if why else "")


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """Everything that is waited for, at one moment."""

    verdict: Verdict
    rows: tuple[Row, ...]
    note: str = ""


StatusSource = Callable[[Client], Awaitable[WaitStatus]]


def operation_source(operation_id: str) -> StatusSource:
    """Follow an operation to its end; what goes on the way keeps the name that it had."""
    known: dict[str, Json] = {}

    async def read(client: Client) -> WaitStatus:
        found = await client.get(path_of("operations", operation_id))
        for target in found["progress"]:
            if target.get("site"):
                known[target["resource_id"]] = target
            elif target["resource_id"] in known:
                before = known[target["resource_id"]]
                target |= {"name": before["name"], "site": before["site"]}
        return of_operation(found)

    return read


def of_operation(found: Json) -> WaitStatus:
    """Judge an operation by its state alone; its rows are for people."""
    operation = found["operation"]
    verdict = {
        "Succeeded": Verdict.REACHED,
        "Failed": Verdict.FAILED,
        "Superseded": Verdict.SUPERSEDED,
    }.get(operation["state"], Verdict.OPEN)
    message = str(operation.get("message") or "")
    note = message if operation["state"] != "Succeeded" else ""
    if operation["state"] == "Stalled":
        note = f"stalled: {message}"
    return WaitStatus(verdict, tuple(_target_row(one) for one in found["progress"]), note)


def _target_row(target: Json) -> Row:
    is_done = bool(target.get("done"))
    phase = str(target.get("phase", ""))
    if not is_done and target.get("site_state") in _LOST:
        phase = f"{phase} (site {target['site_state']})"
    elif not is_done and 0 < target.get("observed_generation", 0) < target.get("generation", 0):
        return Row(
            name=str(target.get("name", "")),
            site=str(target.get("site", "")),
            phase="Pending",
            message="its site has not begun with this change",
        )
    return _row(target, phase=phase, is_done=is_done)


def _row(item: Json, *, phase: str, is_done: bool) -> Row:
    row = Row(
        name=str(item.get("name", "")),
        site=str(item.get("site", "")),
        phase=phase,
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or ""),
        is_done=is_done,
        id=str(item.get("resource_id") or item.get("id") or ""),
    )
    return _stepped(row, item.get("steps") or [])


def _stepped(row: Row, steps: list[Json]) -> Row:
    now: Json = next((step for step in steps if step.get("state") in {"Running", "Failed"}), {})
    return replace(
        row,
        steps_done=sum(1 for step in steps if step.get("state") == _DONE_STEP),
        steps=len(steps),
        step=str(now.get("name", "")),
    )


def resource_source(kind: Kind, name: str, goal: Goal) -> StatusSource:
    """Follow a federation, participant, endpoint, site or operation until it is as wanted."""
    if kind.plural == "operations":
        return operation_source(name)
    readers = {
        "federations": _federation,
        "participants": _single,
        "endpoints": _single,
        "sites": _single,
    }
    if kind.plural not in readers:
        raise CliError(
            ExitCode.USAGE,
            f"a {kind.singular} is nothing to wait for",
            hint=f"wait for one of {', '.join(readers)}, or for --operation ID",
        )
    reader = readers[kind.plural]

    async def read(client: Client) -> WaitStatus:
        return await reader(client, kind, name, goal)

    return read


async def _federation(client: Client, kind: Kind, name: str, goal: Goal) -> WaitStatus:
    try:
        await one(client, kind, name)
    except CliError as failure:
        return _absent(failure, goal)
    items = await all_of(client, kind_of("participants"), {"federation": name})
    rows = await _with_steps(client, tuple(_resource_row(item, goal) for item in items))
    if goal is Goal.GONE:
        return WaitStatus(_failed_or_open(rows), rows)
    reached = all(row.is_done for row in rows)
    return WaitStatus(Verdict.REACHED if reached else _failed_or_open(rows), rows)


async def _with_steps(client: Client, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Add the steps of participants under way, where they are few enough to ask one by one."""
    waiting = [row for row in rows if not row.is_done][:_ASKED_ONE_BY_ONE]
    details = await asyncio.gather(*(_detail(client, row) for row in waiting))
    steps = {
        row.name: detail.get("steps") or [] for row, detail in zip(waiting, details, strict=True)
    }
    return tuple(_stepped(row, steps.get(row.name, [])) for row in rows)


async def _single(client: Client, kind: Kind, name: str, goal: Goal) -> WaitStatus:
    try:
        found = await one(client, kind, name)
    except CliError as failure:
        return _absent(failure, goal)
    item = {**found, **plain(kind, found)}
    row = _resource_row({**item, "phase": item.get("phase", item.get("state", ""))}, goal)
    if row.is_done and goal is Goal.READY:
        return WaitStatus(Verdict.REACHED, (row,))
    return WaitStatus(_failed_or_open((row,)), (row,))


def _absent(failure: CliError, goal: Goal) -> WaitStatus:
    if failure.code is ExitCode.NOT_FOUND and goal is Goal.GONE:
        return WaitStatus(Verdict.REACHED, ())
    raise failure


def _resource_row(item: Json, goal: Goal) -> Row:
    phase = str(item.get("phase", ""))
    current = item.get("observed_generation", 0) >= item.get("generation", 0)
    is_ready = phase in {"Ready", "Online"} and current and not item.get("removing")
    return _row(item, phase=phase, is_done=is_ready if goal is Goal.READY else phase == "Gone")


def _failed_or_open(rows: tuple[Row, ...]) -> Verdict:
    return Verdict.FAILED if any(row.phase in FAILED for row in rows) else Verdict.OPEN


async def causes(client: Client, status: WaitStatus) -> tuple[str, ...]:
    """Return what keeps rows from their goal, each with its hint, for the end of a wait."""
    found: list[str] = []
    for row in status.rows:
        if row.is_done:
            continue
        found.append(row.cause())
        found += [f"  {text}" for text in await _findings(client, row)]
    return tuple(found)


async def _findings(client: Client, row: Row) -> list[str]:
    return [
        f"{finding.get('code')}: {finding.get('message')}"
        + (f" -> {finding['hint']}" if finding.get("hint") else "")
        for finding in (await _detail(client, row)).get("findings", [])
    ]


async def _detail(client: Client, row: Row) -> Json:
    """Return all that is known of a row's resource; nothing where that cannot be had."""
    federation, slash, key = row.name.partition("/")
    is_endpoint = not slash or federation == "endpoint"
    address = ("endpoints", row.site) if is_endpoint else ("participants", federation, key)
    try:
        found: Json = await client.get(path_of(*address))
    except CliError:
        return {}
    return found
