"""The effective phase as SQL: the rules of ``domain.effective_status``, written as one CASE.

In SQL and not over a page in memory, because a filter must not read a hub's every participant to
find the few that it asks for, and its pages must be as full as any other list's.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, literal

from fedcore.words import Phase
from fedhub.domain.effective_status import RULES, Condition, Fact
from fedhub.domain.phases import SiteState
from fedhub.store.tables import (
    DocumentTable,
    ParticipantTable,
    SiteTable,
    StatusTable,
    table_of,
)
from fedsql.columns import EnumText

_PARTICIPANT: Final = table_of(ParticipantTable)
_SITE: Final = table_of(SiteTable)
_DOCUMENT: Final = table_of(DocumentTable)
_STATUS: Final = table_of(StatusTable)

_FACTS: Final[dict[Fact, ColumnElement[bool]]] = {
    Fact.SITE_OFFLINE: _SITE.c.state == SiteState.OFFLINE,
    Fact.PLANNED: _DOCUMENT.c.generation.is_not(None),
    Fact.WAITING: func.coalesce(_PARTICIPANT.c.waiting_reason, "") != "",
    Fact.REPORTED: _STATUS.c.phase.is_not(None),
    Fact.REMOVING: _PARTICIPANT.c.removing,
    Fact.BEHIND: func.coalesce(_STATUS.c.observed_generation, 0)
    < func.coalesce(_DOCUMENT.c.generation, 0),
}
"""None of these is ever NULL: a NULL would make neither a fact nor its opposite true."""


def effective_phase() -> ColumnElement[Any]:
    """Build the phase of a row of participants, joined with site, document and status."""
    rules = [
        (_fits(condition), _STATUS.c.phase if phase is None else _phase(phase))
        for _, condition, phase in RULES
    ]
    return case(*rules)


def _fits(condition: Condition) -> ColumnElement[bool]:
    terms = [_FACTS[fact] if value else ~_FACTS[fact] for fact, value in condition.facts.items()]
    if condition.phases is not None:
        terms.append(_STATUS.c.phase.in_(sorted(condition.phases)))
    # ``literal(True)``: the last rule has no term.
    return and_(literal(value=True), *terms)


def _phase(phase: Phase) -> ColumnElement[Any]:
    return literal(phase, EnumText(Phase))
