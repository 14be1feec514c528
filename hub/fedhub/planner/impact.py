"""Which documents may change because of one report. The only place that decides it.

| what differs between the reports | whose               | documents that may change           |
|----------------------------------|---------------------|-------------------------------------|
| whether anything remains of it   | a leaving cluster's | a leaving exchange's, if it was the |
|                                  |                     | last one that remained              |
| addresses (*), resolutions       | a leaving           | its own, while it drains            |
|                                  | exchange's          |                                     |
| addresses (*)                    | the exchange's      | all                                 |
| resolutions of its own names     | the exchange's      | all                                 |
| other resolutions                | the exchange's      | the exchange's                      |
| addresses (*)                    | a party's           | the exchange's; all without one     |
| resolutions                      | a party's           | its own                             |
| phase, generation                | a staying member's  | none                                |

(*) Those that no advertised address overrules.

``may_affect`` asks the same of the two reports alone: it needs no database and answers for the
thousands of reports that only bring a new phase or step. Where it says no, ``affected_by`` would
name nobody (a property test holds both against ``plan``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fedcore.words import Phase
from fedhub.domain.models import Participant
from fedhub.planner.inputs import Member, PlanInput, Report, group_members
from fedhub.planner.plan import Scope
from fedhub.planner.routes import EXCHANGE_ROLES, PARTY_ROLES

NONE: Final[frozenset[str]] = frozenset()


def may_affect(participant: Participant, before: Report | None, after: Report) -> bool:
    """Return whether a participant's new report may change any document at all."""
    if participant.removing and (_is_gone(before) or _is_gone(after)):
        return True
    if before is None:
        return bool(after.addresses or after.resolutions)
    return (before.addresses, before.resolutions) != (after.addresses, after.resolutions)


def affected_by(
    plan_input: PlanInput, participant_id: str, before: Report | None, after: Report
) -> Scope:
    """Return whose documents a participant's new report may change; None means everybody's.

    ``plan_input`` may hold the old or the new report of that participant.
    """
    member = _member(plan_input, participant_id)
    if member is None or not may_affect(member.participant, before, after):
        return NONE
    if member.is_leaving and not member.is_exchange:
        return _affected_by_leaving(plan_input, member, before, after)
    moved = _addresses(member, before) != _addresses(member, after)
    resolved = _resolutions(before) != _resolutions(after)
    groups = group_members(plan_input)
    if member.is_leaving:
        # Its parties wait with the documents that they have, wherever it is.
        is_draining = groups.exchange is member
        return frozenset({participant_id}) if is_draining and (moved or resolved) else NONE
    if groups.is_direct and moved:
        return None
    if member.is_exchange:
        return _affected_by_exchange(member, before, after, moved=moved)
    touched = {participant_id} if resolved else set()
    if moved and groups.exchange is not None:
        touched.add(groups.exchange.participant.id)
    return frozenset(touched)


def _affected_by_leaving(
    plan_input: PlanInput, member: Member, before: Report | None, after: Report
) -> Scope:
    """Return the exchange if it stops, or begins again, to drain by this report."""
    was = group_members(_with_report(plan_input, member, before)).exchange
    now = group_members(_with_report(plan_input, member, after)).exchange
    # Only what serves can differ: an exchange that stays serves in any case.
    return frozenset(
        exchange.participant.id
        for exchange, other in ((was, now), (now, was))
        if exchange is not None and other is None
    )


def _affected_by_exchange(
    exchange: Member, before: Report | None, after: Report, *, moved: bool
) -> Scope:
    if moved:
        return None
    old, new = _resolutions(before), _resolutions(after)
    if any(old.get(name) != new.get(name) for name in exchange.peer().advertised_names()):
        return None
    return NONE if old == new else frozenset({exchange.participant.id})


def _is_gone(report: Report | None) -> bool:
    return report is not None and report.phase is Phase.GONE


def _member(plan_input: PlanInput, participant_id: str) -> Member | None:
    for member in plan_input.members:
        if member.participant.id == participant_id:
            return member
    return None


def _with_report(plan_input: PlanInput, member: Member, report: Report | None) -> PlanInput:
    changed = replace(member, report=report)
    members = tuple(changed if other is member else other for other in plan_input.members)
    return replace(plan_input, members=members)


def _addresses(member: Member, report: Report | None) -> tuple[object, ...]:
    """List the reported addresses that count: those that nothing advertised overrules."""
    if report is None:
        return ()
    advertised = member.peer().advertised
    roles = EXCHANGE_ROLES if member.is_exchange else PARTY_ROLES
    counted = ((role, report.addresses.get(role)) for role in roles if role not in advertised)
    return tuple(
        (role, address.ip, address.port) for role, address in counted if address is not None
    )


def _resolutions(report: Report | None) -> dict[str, str]:
    return {} if report is None else dict(report.resolutions)
