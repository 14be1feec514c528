"""An apply parses its intent once, and reads each document once."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from tests.support.hub import federation, party

from fedhub.services import federations as federation_service
from fedhub.services import intents


@pytest.fixture
def parses(monkeypatch):
    """The payloads that were parsed."""
    parsed = []
    for module in (federation_service, intents):
        parse = module.parse_intent

        def count(payload, parse=parse):
            parsed.append(payload)
            return parse(payload)

        monkeypatch.setattr(module, "parse_intent", count)
    return parsed


@pytest.fixture
def body_reads(lab):
    """The statements that read bodies of documents where the hub writes."""
    statements = []

    def note(_connection, _cursor, statement, *_more):
        if statement.startswith("SELECT") and "documents.spec_bytes" in statement:
            statements.append(statement)

    engine = lab.hub.database.sessions.kw["bind"].sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


async def applied(lab, parties):
    """A federation that stands: nothing reports any more while a test counts."""
    await lab.good_site("hq")
    for name, _ in parties:
        await lab.good_site(name)
    intent = federation([party(party_id, name) for name, party_id in parties])
    operation = (await lab.rest.apply(intent))["operation"]
    ended = await lab.rest.operation_ends(operation["id"])
    assert ended["state"] == "Succeeded"
    return intent


async def test_an_apply_parses_once_and_reads_documents_once(lab, parses, body_reads):
    intent = await applied(lab, [("alpha", 9999), ("beta", 10000)])
    intent["parties"] = intent["parties"][:1]
    parses.clear()
    body_reads.clear()
    # A dry run takes the same path, and no site answers to it.
    preview = await lab.rest.apply(intent, "?dry_run=true")
    reads, parsed = len(body_reads), len(parses)
    assert {change["change"] for change in preview["changes"]} == {"changed", "removed"}
    assert parsed == 1, "the stored intent was parsed when it was applied"
    assert reads == 2, "one for the participants, one for the endpoints that intent alone plans"


async def test_a_removal_parses_nothing_and_reads_documents_once(lab, parses, body_reads):
    await applied(lab, [("alpha", 9999)])
    parses.clear()
    body_reads.clear()
    path = "/api/v1/federations/credit-risk?cascade=true&dry_run=true"
    await lab.rest.good("DELETE", path)
    reads, parsed = len(body_reads), len(parses)
    assert reads == 1
    assert parsed <= 1, "for the answer, of an intent without members"
