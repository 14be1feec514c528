"""Which documents may change because of one report.

``None`` means all of the federation's; the empty set means none.
"""

from __future__ import annotations

from typing import Final

from fedhub.domain.phases import Phase
from fedhub.planner.inputs import Member, MemberGroups, PlanInput, Report, group_members
from fedhub.planner.routes import EXCHANGE_ROLES, PARTY_ROLES

NONE: Final[frozenset[str]] = frozenset()
Scope = frozenset[str] | None


def affected_by(
    given: PlanInput, participant_id: str, before: Report | None, after: Report
) -> Scope:
    """Tell which documents a participant's new report may change.

    ``given`` may hold the old or the new report of that participant. A mere change of phase,
    components or certificates changes nothing.
    """
    member = _member(given, participant_id)
    if member is None:
        return NONE
    cast = group_members(given)
    if member.is_leaving:
        return _scope_of_leaving(cast, member, before, after)
    moved = _addresses(member, before) != _addresses(member, after)
    resolved = _resolutions(before) != _resolutions(after)
    if not moved and not resolved:
        return NONE
    if cast.is_direct:
        return None if moved else frozenset({participant_id})
    if member.is_exchange:
        return _scope_of_exchange(member, before, after, moved=moved)
    touched = {participant_id} if resolved else set()
    if moved and cast.exchange is not None:
        touched.add(cast.exchange.participant.id)
    return frozenset(touched)


def _scope_of_leaving(
    cast: MemberGroups, member: Member, before: Report | None, after: Report
) -> Scope:
    """Let a leaving exchange go when the last leaving cluster is gone."""
    is_news = after.phase is Phase.GONE and (
        before is None
        or before.phase is not Phase.GONE
        or before.observed_generation != after.observed_generation
    )
    if member.is_exchange or not is_news:
        return NONE
    lingering = () if cast.exchange is None else (cast.exchange,)
    exchanges = (each for each in (*cast.leaving, *lingering) if each.is_exchange)
    return frozenset(each.participant.id for each in exchanges if each.is_leaving)


def _scope_of_exchange(
    member: Member, before: Report | None, after: Report, *, moved: bool
) -> Scope:
    if moved:
        return None
    old, new = _resolutions(before), _resolutions(after)
    names = member.peer().advertised_names()
    if any(old.get(name) != new.get(name) for name in names):
        return None
    return frozenset({member.participant.id})


def _member(given: PlanInput, participant_id: str) -> Member | None:
    for member in given.members:
        if member.participant.id == participant_id:
            return member
    return None


def _addresses(member: Member, report: Report | None) -> tuple[object, ...]:
    """List the reported addresses that count: those that nothing advertised overrules."""
    if report is None:
        return ()
    advertised = member.peer().advertised
    roles = EXCHANGE_ROLES if member.is_exchange else PARTY_ROLES
    found = ((role, report.addresses.get(role)) for role in roles if role not in advertised)
    return tuple((role, each.ip, each.port) for role, each in found if each is not None)


def _resolutions(report: Report | None) -> dict[str, str]:
    return {} if report is None else dict(report.resolutions)
