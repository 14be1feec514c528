"""The status of what somebody waits for: read from the hub, judged here.

======================  ===========================================================================
waited for              reached, failed or open
======================  ===========================================================================
an operation            by its own state alone; its resources are shown, and judge nothing
a federation, ready     reached when every participant is ready; failed when one has failed
a resource, ready       reached when it is Ready (a site: Online) at its present generation, and
                        not being removed; failed when it is Failed or Refused
anything, gone          reached when the hub no longer has it; failed when one has failed
======================  ===========================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from fedcore.words import Phase, StepState
from fedctl.client import Client, Json, path_of
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import get_answer, item_of, list_all
from fedctl.resources import Kind, kind_of

FAILED_PHASES: Final = frozenset({Phase.FAILED, Phase.REFUSED})
"""Phases that only a person can end."""
_READY_PHASES: Final = frozenset({Phase.READY, "Online"})
"""The second is the state of a site."""
_UNSEEN_SITE_STATES: Final = frozenset({"Disconnected", "Offline", "Revoked"})
_CURRENT_STEP_STATES: Final = frozenset({StepState.RUNNING, StepState.FAILED})
_MAX_STEP_READS: Final = 20
"""Steps are read participant by participant; of a large federation only of so many at once."""


class Goal(StrEnum):
    """What to wait for."""

    READY = "ready"
    GONE = "gone"


class Verdict(StrEnum):
    """How a wait stands."""

    OPEN = "open"
    REACHED = "reached"
    FAILED = "failed"
    SUPERSEDED = "superseded"


_VERDICTS: Final = {
    "Succeeded": Verdict.REACHED,
    "Failed": Verdict.FAILED,
    "Superseded": Verdict.SUPERSEDED,
}
"""By the state of an operation; in every other state it goes on."""


@dataclass(frozen=True, slots=True)
class ResourceProgress:
    """One resource on its way, as the hub reports it."""

    name: str
    site: str
    phase: str
    reason: str = ""
    message: str = ""
    steps_done: int = 0
    step_count: int = 0
    current_step: str = ""
    is_done: bool = False
    id: str = ""

    def cause(self) -> str:
        """Return as a sentence which resource it is, its phase, and why."""
        why = ": ".join(part for part in (self.reason, self.message) if part)
        at_site = f" at {self.site}" if self.site else ""
        return f"{self.name}{at_site} is {self.phase}" + (f": {why}" if why else "")


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """Everything that is waited for, at one moment."""

    verdict: Verdict
    resources: tuple[ResourceProgress, ...]
    note: str = ""


StatusSource = Callable[[Client], Awaitable[WaitStatus]]


def operation_source(operation_id: str) -> StatusSource:
    """Follow an operation to its end."""
    last_named: dict[str, Json] = {}

    async def read(client: Client) -> WaitStatus:
        answer = await client.get(path_of("operations", operation_id))
        for target in answer["progress"]:
            resource_id = target["resource_id"]
            if target.get("site"):
                last_named[resource_id] = target
            elif resource_id in last_named:
                # The hub forgets a resource that is gone; people still want to read its name.
                before = last_named[resource_id]
                target |= {"name": before["name"], "site": before["site"]}
        return _status_of_operation(answer)

    return read


def _status_of_operation(answer: Json) -> WaitStatus:
    operation = answer["operation"]
    message = str(operation.get("message") or "")
    note = message if operation["state"] != "Succeeded" else ""
    if operation["state"] == "Stalled":
        note = f"stalled: {message}"
    return WaitStatus(
        _VERDICTS.get(operation["state"], Verdict.OPEN),
        tuple(map(_target_progress, answer["progress"])),
        note,
    )


def _target_progress(target: Json) -> ResourceProgress:
    is_done = bool(target.get("done"))
    phase = str(target.get("phase", ""))
    if not is_done and target.get("site_state") in _UNSEEN_SITE_STATES:
        phase = f"{phase} (site {target['site_state']})"
    elif not is_done and 0 < target.get("observed_generation", 0) < target.get("generation", 0):
        # What the site reports is about an older document: an old failure is not this one's.
        return ResourceProgress(
            name=str(target.get("name", "")),
            site=str(target.get("site", "")),
            phase="Pending",
            message="its site has not begun with this change",
        )
    return _progress(target, phase=phase, is_done=is_done)


def _progress(item: Json, *, phase: str, is_done: bool) -> ResourceProgress:
    progress = ResourceProgress(
        name=str(item.get("name", "")),
        site=str(item.get("site", "")),
        phase=phase,
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or ""),
        is_done=is_done,
        id=str(item.get("resource_id") or item.get("id") or ""),
    )
    return _with_steps(progress, item.get("steps") or [])


def _with_steps(progress: ResourceProgress, steps: list[Json]) -> ResourceProgress:
    current: Json = next((step for step in steps if step.get("state") in _CURRENT_STEP_STATES), {})
    return replace(
        progress,
        steps_done=sum(1 for step in steps if step.get("state") == StepState.DONE),
        step_count=len(steps),
        current_step=str(current.get("name", "")),
    )


def resource_source(kind: Kind, name: str, goal: Goal) -> StatusSource:
    """Follow a federation, participant, endpoint, site or operation to the goal."""
    if kind.plural == "operations":
        return operation_source(name)
    readers = {
        "federations": _read_federation,
        "participants": _read_resource,
        "endpoints": _read_resource,
        "sites": _read_resource,
    }
    if kind.plural not in readers:
        raise CliError(
            ExitCode.USAGE,
            f"a {kind.singular} is nothing to wait for",
            hint=f"wait for one of {', '.join(readers)}, or for --operation ID",
        )
    reader = readers[kind.plural]

    async def read(client: Client) -> WaitStatus:
        try:
            return await reader(client, kind, name, goal)
        except CliError as error:
            if error.code is ExitCode.NOT_FOUND and goal is Goal.GONE:
                return WaitStatus(Verdict.REACHED, ())
            raise

    return read


async def _read_federation(client: Client, kind: Kind, name: str, goal: Goal) -> WaitStatus:
    await get_answer(client, kind, name)
    items = await list_all(client, kind_of("participants"), {"federation": name})
    resources = await _read_steps(client, tuple(_item_progress(item, goal) for item in items))
    if goal is Goal.READY and all(resource.is_done for resource in resources):
        return WaitStatus(Verdict.REACHED, resources)
    return WaitStatus(_failed_or_open(resources), resources)


async def _read_steps(
    client: Client, resources: tuple[ResourceProgress, ...]
) -> tuple[ResourceProgress, ...]:
    """Add the steps of participants under way, as far as they are few."""
    under_way = [resource for resource in resources if not resource.is_done][:_MAX_STEP_READS]
    details = await asyncio.gather(*(_read_detail(client, resource) for resource in under_way))
    steps = {
        resource.name: detail.get("steps") or []
        for resource, detail in zip(under_way, details, strict=True)
    }
    return tuple(_with_steps(resource, steps.get(resource.name, [])) for resource in resources)


async def _read_resource(client: Client, kind: Kind, name: str, goal: Goal) -> WaitStatus:
    answer = await get_answer(client, kind, name)
    item = {**answer, **item_of(kind, answer)}
    item["phase"] = item.get("phase", item.get("state", ""))  # a site has a state
    resource = _item_progress(item, goal)
    if goal is Goal.READY and resource.is_done:
        return WaitStatus(Verdict.REACHED, (resource,))
    return WaitStatus(_failed_or_open((resource,)), (resource,))


def _item_progress(item: Json, goal: Goal) -> ResourceProgress:
    phase = str(item.get("phase", ""))
    is_current = item.get("observed_generation", 0) >= item.get("generation", 0)
    is_ready = phase in _READY_PHASES and is_current and not item.get("removing")
    return _progress(
        item, phase=phase, is_done=is_ready if goal is Goal.READY else phase == Phase.GONE
    )


def _failed_or_open(resources: tuple[ResourceProgress, ...]) -> Verdict:
    if any(resource.phase in FAILED_PHASES for resource in resources):
        return Verdict.FAILED
    return Verdict.OPEN


async def read_causes(client: Client, status: WaitStatus) -> tuple[str, ...]:
    """Return what keeps resources from their goal, each with its findings and their hints."""
    lines: list[str] = []
    for resource in status.resources:
        if not resource.is_done:
            lines.append(resource.cause())
            lines += [f"  {finding}" for finding in await _read_findings(client, resource)]
    return tuple(lines)


async def _read_findings(client: Client, resource: ResourceProgress) -> list[str]:
    detail = await _read_detail(client, resource)
    return [
        f"{finding.get('code')}: {finding.get('message')}"
        + (f" -> {finding['hint']}" if finding.get("hint") else "")
        for finding in detail.get("findings", [])
    ]


async def _read_detail(client: Client, resource: ResourceProgress) -> Json:
    """Return the hub's whole answer about a resource; an empty one where it cannot be had.

    Details are an addition to a status that is known already: no error of theirs ends a wait.
    """
    federation, slash, key = resource.name.partition("/")
    is_endpoint = not slash or federation == "endpoint"
    parts = ("endpoints", resource.site) if is_endpoint else ("participants", federation, key)
    try:
        answer: Json = await client.get(path_of(*parts))
    except CliError:
        return {}
    return answer
