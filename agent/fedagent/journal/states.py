"""What is remembered per resource: submissions with their external ids, and small notes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import aiosqlite

from fedagent.domain.document import Chart
from fedagent.domain.state import (
    LastGoodConfig,
    Method,
    Outcome,
    Probe,
    ProxyState,
    ResourceState,
    StepTimes,
    Submission,
)
from fedagent.journal.database import Database, from_text, to_text
from fedcore.words import ProbeState

_KEPT_SUBMISSIONS: Final = 50
_COLUMNS: Final = "generation, attempt, method, begun_at, job_id, outcome, cause, message, ended_at"


class ResourceStates:
    """The journal's rows behind ``fedagent.domain.state.ResourceState``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, resource_id: str) -> ResourceState:
        """Return all that is remembered about one resource."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM submissions WHERE resource_id=? ORDER BY id",  # noqa: S608
            (resource_id,),
        )
        notes = {
            row[0]: json.loads(row[1])
            for row in await self._database.rows(
                "SELECT name, body FROM notes WHERE resource_id=?", (resource_id,)
            )
        }
        approved = await self._database.rows(
            "SELECT body_sha256, kind FROM consents"
            " WHERE resource_id=? AND approved_at IS NOT NULL",
            (resource_id,),
        )
        return _state_of(
            tuple(_submission_of(row) for row in rows),
            notes,
            frozenset((str(row[0]), str(row[1])) for row in approved),
        )

    async def begin(self, resource_id: str, submission: Submission) -> None:
        """Note that a submission is about to be sent. On disk before the call is made.

        Raises sqlite3.IntegrityError when this generation and attempt was begun before: the
        last guard against a double submission.
        """
        async with self._database.write() as connection:
            await connection.execute(
                f"INSERT INTO submissions (resource_id, {_COLUMNS})"  # noqa: S608 - our own names
                " VALUES (?,?,?,?,?,?,?,?,?,?)",
                (resource_id, *_row_of(submission)),
            )
            await connection.execute(
                "DELETE FROM submissions WHERE resource_id=? AND id NOT IN (SELECT id FROM"
                " submissions WHERE resource_id=? ORDER BY id DESC LIMIT ?)",
                (resource_id, resource_id, _KEPT_SUBMISSIONS),
            )

    async def note_job(self, resource_id: str, submission: Submission, job_id: str) -> None:
        """Note the external id that KubeFATE gave to a submission."""
        async with self._database.write() as connection:
            await connection.execute(
                "UPDATE submissions SET job_id=?"
                " WHERE resource_id=? AND generation=? AND attempt=?",
                (job_id, resource_id, submission.generation, submission.attempt),
            )

    async def end(
        self,
        resource_id: str,
        submission: Submission,
        *,
        outcome: Outcome,
        cause: str = "",
        message: str = "",
        at: datetime,
    ) -> None:
        """Note how a submission ended."""
        async with self._database.write() as connection:
            await connection.execute(
                "UPDATE submissions SET outcome=?, cause=?, message=?, ended_at=?"
                " WHERE resource_id=? AND generation=? AND attempt=?",
                (
                    outcome.value,
                    cause,
                    message,
                    to_text(at),
                    resource_id,
                    submission.generation,
                    submission.attempt,
                ),
            )

    async def put_proxy(self, resource_id: str, note: ProxyState) -> None:
        """Note which table a proxy has been told."""
        await self._put(resource_id, f"proxy:{note.deployment}", asdict(note))

    async def put_probes(self, resource_id: str, probes: Sequence[Probe]) -> None:
        """Replace the probes of an exchange's routes."""
        await self._put(resource_id, "probes", [asdict(probe) for probe in probes])

    async def put_steps(
        self, resource_id: str, generation: int, steps: Mapping[str, StepTimes]
    ) -> None:
        """Replace the step times, which belong to one generation."""
        body = {name: asdict(times) for name, times in steps.items()}
        await self._put(resource_id, "steps", {"generation": generation, "steps": body})

    async def put_ready(
        self, resource_id: str, generation: int, good: LastGoodConfig | None = None
    ) -> None:
        """Note the highest generation that was Ready, and what it ran with."""
        async with self._database.write() as connection:
            await write_note(connection, resource_id, "ready", generation)
            if good is not None:
                await write_note(connection, resource_id, "good", asdict(good))

    async def forget_live(self, resource_id: str) -> None:
        """Forget what ran: the notes that ``ResourceState.without_live`` leaves out."""
        async with self._database.write() as connection:
            await connection.execute(
                "DELETE FROM notes WHERE resource_id=? AND name IN ('ready', 'good', 'probes')",
                (resource_id,),
            )

    async def put_table_seen(
        self, resource_id: str, tables: Mapping[str, tuple[str, datetime]]
    ) -> None:
        """Replace the digests of the tables found, with the time each was first seen."""
        body = {name: [digest, to_text(at)] for name, (digest, at) in tables.items()}
        await self._put(resource_id, "tables", body)

    async def retry(self, resource_id: str, at: datetime) -> None:
        """Forgive the failures so far: ``fedagent retry``."""
        await self._put(resource_id, "retry", to_text(at))

    async def _put(self, resource_id: str, name: str, body: object) -> None:
        async with self._database.write() as connection:
            await write_note(connection, resource_id, name, body)


async def write_note(
    connection: aiosqlite.Connection, resource_id: str, name: str, body: object
) -> None:
    """Replace one note within a transaction. ``body`` is JSON; times become text."""
    text = json.dumps(body, default=_json_of, sort_keys=True)
    await connection.execute(
        "INSERT OR REPLACE INTO notes VALUES (?,?,?)", (resource_id, name, text)
    )


def _json_of(value: object) -> str:
    if isinstance(value, datetime):
        return to_text(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def _row_of(item: Submission) -> tuple[Any, ...]:
    return (
        item.generation,
        item.attempt,
        item.method.value,
        to_text(item.begun_at),
        item.job_id,
        None if item.outcome is None else item.outcome.value,
        item.cause,
        item.message,
        None if item.ended_at is None else to_text(item.ended_at),
    )


def _submission_of(row: aiosqlite.Row) -> Submission:
    return Submission(
        generation=row[0],
        attempt=row[1],
        method=Method(row[2]),
        begun_at=from_text(row[3]),
        job_id=row[4],
        outcome=None if row[5] is None else Outcome(row[5]),
        cause=row[6],
        message=row[7],
        ended_at=None if row[8] is None else from_text(row[8]),
    )


def _state_of(
    submissions: tuple[Submission, ...],
    notes: Mapping[str, Any],
    approvals: frozenset[tuple[str, str]],
) -> ResourceState:
    steps = notes.get("steps", {"generation": 0, "steps": {}})
    retried = notes.get("retry")
    proxies = [_proxy_of(body) for name, body in notes.items() if name.startswith("proxy:")]
    probes = [_probe_of(body) for body in notes.get("probes", [])]
    return ResourceState(
        submissions=submissions,
        proxies={note.deployment: note for note in proxies},
        probes={probe.key: probe for probe in probes},
        steps={name: _times_of(body) for name, body in steps["steps"].items()},
        steps_generation=steps["generation"],
        approvals=approvals,
        retried_at=None if retried is None else from_text(retried),
        table_seen={
            name: (digest, from_text(at)) for name, (digest, at) in notes.get("tables", {}).items()
        },
        ready_generation=notes.get("ready", 0),
        good=_good_of(notes["good"]) if "good" in notes else None,
    )


def _proxy_of(body: dict[str, Any]) -> ProxyState:
    return ProxyState(
        deployment=body["deployment"],
        pod_uids=tuple(body["pod_uids"]),
        table_digest=body["table_digest"],
        keys=tuple(body["keys"]),
        applied_at=from_text(body["applied_at"]),
        how=body["how"],
        removed=tuple(body["removed"]),
        added=tuple(body.get("added", ())),
        tries=body["tries"],
    )


def _good_of(body: dict[str, Any]) -> LastGoodConfig:
    return LastGoodConfig(body["generation"], body["cluster_json"], Chart(**body["chart"]))


def _probe_of(body: dict[str, Any]) -> Probe:
    since = body.get("since")
    times = {"at": from_text(body["at"]), "since": None if since is None else from_text(since)}
    return Probe(**{**body, **times, "state": ProbeState(body["state"])})


def _times_of(body: dict[str, Any]) -> StepTimes:
    ended = body["ended_at"]
    return StepTimes(from_text(body["started_at"]), None if ended is None else from_text(ended))
