"""What handshakes with an exchange's routes showed, and which of them count for its table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fedagent.domain.decision import Finding, Severity
from fedagent.domain.document import ParticipantDocument, Proxy, ProxyKind, Table, TableKind
from fedagent.domain.memory import Memory, Proof, ProxyNote

PROVEN: Final = "proven"
UNREACHABLE: Final = "unreachable"
NOT_SERVED: Final = "not-served"
PARTY_DOWN: Final = "party-down"

RELOAD_LIMIT_S: Final = 7.5
"""Longest time that Traffic Server took to load a table: 2.9 to 7.2 s were measured on 9.2."""
_START_LIMIT_S: Final = 30.0
"""A route is there before its party's broker answers: so long a silence is no trouble."""
_SETTLED: Final = frozenset({PROVEN, UNREACHABLE, PARTY_DOWN})
_OF_A_TABLE: Final = frozenset({PROVEN, PARTY_DOWN})
"""States that a route of an older table shows just as well."""
WRONG_CERTIFICATE: Final = "WrongPartyCertificate"
PARTY_UNREACHABLE: Final = "PartyUnreachable"
_MAX_FINDINGS: Final = 20


def is_party_route(key: str) -> bool:
    """Tell whether an SNI is a party's; the sentinel entry of an exchange is none."""
    return key.split(".", 1)[0].isdigit()


def proven_table(document: ParticipantDocument) -> tuple[Proxy | None, Table | None]:
    """Return the proxy and the table whose routes can be proven by a handshake."""
    for proxy in document.proxies:
        if proxy.kind is ProxyKind.TRAFFIC_SERVER:
            return proxy, document.table(TableKind.SNI)
    return None, None


def proof_of(memory: Memory, key: str, table: Table) -> Proof | None:
    """Return the proof of a route that was made for this very table."""
    proof = memory.proofs.get(key)
    return proof if proof is not None and proof.table_digest == table.digest else None


def proof_is(memory: Memory, key: str, table: Table, state: str) -> bool:
    """Tell whether the last proof of a route came to ``state``."""
    proof = proof_of(memory, key, table)
    return proof is not None and proof.state == state


def is_settled(memory: Memory, key: str, note: ProxyNote, table: Table) -> bool:
    """Tell whether nothing more is to be found out about a route for the moment."""
    proof = proof_of(memory, key, table)
    return proof is not None and proof.state in _SETTLED and _counts(memory, proof, note, table)


def counted(document: ParticipantDocument, memory: Memory) -> tuple[Proof, ...]:
    """Return the proofs that speak of the document's present table, by key."""
    proxy, table = proven_table(document)
    if proxy is None or table is None:
        return ()
    note = memory.proxies.get(proxy.deployment)
    if note is None or note.table_digest != table.digest:
        return ()
    proofs = (proof_of(memory, key, table) for key in table.keys)
    return tuple(
        proof
        for proof in proofs
        if proof is not None
        and (proof.state not in _OF_A_TABLE or _counts(memory, proof, note, table))
    )


def _counts(memory: Memory, proof: Proof, note: ProxyNote, table: Table) -> bool:
    """Tell whether the proxy had taken its table when the route was tried.

    A route that only moved is answered by the same party before and after. So an added route that
    is served, or a removed one that is not, or the longest time that a reload takes, must show it.
    """
    if note.how != "reload" or (proof.at - note.told_at).total_seconds() >= RELOAD_LIMIT_S:
        return True
    added = (proof_of(memory, key, table) for key in note.added if is_party_route(key))
    removed = [key for key in note.removed if is_party_route(key)]
    return any(item is not None and item.state in _SETTLED for item in added) or any(
        proof_is(memory, key, table, NOT_SERVED) for key in removed
    )


def unreachable_parties(
    document: ParticipantDocument, memory: Memory, now: datetime
) -> tuple[Finding, ...]:
    """Return a warning for each party that does not answer behind its route, or not as itself."""
    _, table = proven_table(document)
    if table is None:
        return ()
    down = [proof for proof in counted(document, memory) if proof.state == PARTY_DOWN]
    return tuple(_warnings(down, table, now))[:_MAX_FINDINGS]


def _warnings(down: Iterable[Proof], table: Table, now: datetime) -> Iterable[Finding]:
    places = {entry.key: f"{entry.host}:{entry.port}" for entry in table.entries}
    for proof in down:
        since = proof.since or proof.at
        if not is_party_route(proof.key) or not (
            proof.foreign or (now - since).total_seconds() >= _START_LIMIT_S
        ):
            continue
        hint = "See that the party's Pulsar runs and that this address leads to it"
        if proof.foreign:
            hint = "Correct the address that the party advertises, or see whose certificate it has"
        yield Finding(
            WRONG_CERTIFICATE if proof.foreign else PARTY_UNREACHABLE,
            Severity.WARNING,
            f"party {proof.key.split('.', 1)[0]} at {places[proof.key]}: {proof.message}",
            f"{hint}; `fedctl routes` shows every route.",
            f"Route/{proof.key}",
        )
