"""Requests to KubeFATE: noted on disk, sent once, their job's id noted."""

from __future__ import annotations

from typing import Final

import structlog

from fedagent.domain.decision import AdoptSubmission, EndSubmission, Submit
from fedagent.domain.diagnosis import cause_of
from fedagent.domain.document import ParticipantDocument
from fedagent.domain.state import Method, Outcome, ResourceState, Submission
from fedagent.journal import Journal
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError, Unauthorized, Unavailable
from fedagent.kubefate.jobs import Outcome as Sent
from fedagent.kubefate.jobs import Submission as SentSubmission
from fedagent.kubefate.jobs import prepare_values, submit_delete, submit_install, submit_update
from fedagent.kubefate.records import Cluster, ClusterArgs, ClusterStatus
from fedagent.reconcile.kubefate_service import KubeFateService
from fedcore.clock import Clock

log = structlog.get_logger()

_CHART_MISSING: Final = "ChartMissing"


class Submitter:
    """Sends what the planner decided; the journal is written before and after."""

    def __init__(
        self, journal: Journal, desk: KubeFateService, *, hub_id: str, clock: Clock
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._hub_id = hub_id
        self._clock = clock

    async def submit(self, document: ParticipantDocument, action: Submit) -> None:
        """Send one request. An answer that is lost leaves it in doubt: the planner looks it up.

        Raises KubeFateError when the service cannot be worked with now.
        """
        client = await self._desk.client()
        generation = document.generation if action.good is None else action.good.generation
        submission = Submission(generation, action.attempt, action.method, self._clock.now())
        await self._journal.memories.begin(document.resource_id, submission)
        log.info(
            "submission.begun",
            resource_id=document.resource_id,
            method=action.method,
            revision=submission.revision,
        )
        try:
            sent = await self._send(client, document, action, submission)
        except Unavailable:
            raise
        except Unauthorized as error:
            await self._end(document, submission, Outcome.LOST, error)
            raise
        except KubeFateError as error:
            await self._end(document, submission, Outcome.REFUSED, error)
            return
        await self._note(document, submission, sent)

    async def _send(
        self,
        client: KubeFate,
        document: ParticipantDocument,
        action: Submit,
        submission: Submission,
    ) -> SentSubmission:
        if action.method is Method.DELETE:
            return await submit_delete(client, _record(document, action.record_uuid))
        args = ClusterArgs(
            name=document.release_name,
            namespace=document.namespace,
            chart_name=document.chart.name,
            chart_version=document.chart.version,
            data=prepare_values(
                document.cluster_json if action.good is None else action.good.cluster_json,
                owner=f"{self._hub_id}/{document.resource_id}",
                revision=submission.revision,
                digest=document.digest if action.good is None else "",
            ),
        )
        if action.method is Method.INSTALL:
            return await submit_install(client, args)
        return await submit_update(client, args)

    async def _note(
        self, document: ParticipantDocument, submission: Submission, sent: SentSubmission
    ) -> None:
        memories = self._journal.memories
        if sent.job is not None:
            await memories.note_job(document.resource_id, submission, sent.job.uuid)
            return
        gone = Outcome.SUCCEEDED if submission.method is Method.DELETE else Outcome.LOST
        outcome = gone if sent.outcome is Sent.GONE else Outcome.REFUSED
        cause = "Unchanged" if sent.outcome is Sent.UNCHANGED else "RecordExists"
        await memories.end(
            document.resource_id,
            submission,
            outcome=outcome,
            cause=cause if outcome is Outcome.REFUSED else "",
            message=f"KubeFATE answered: {sent.outcome.value}",
            at=self._clock.now(),
        )

    async def _end(
        self,
        document: ParticipantDocument,
        submission: Submission,
        outcome: Outcome,
        error: KubeFateError,
    ) -> None:
        cause = cause_of(error.message).code
        await self._journal.memories.end(
            document.resource_id,
            submission,
            outcome=outcome,
            cause=cause,
            message=error.message,
            at=self._clock.now(),
        )
        await self._forget_chart(cause)

    async def adopt(
        self, document: ParticipantDocument, memory: ResourceState, action: AdoptSubmission
    ) -> None:
        """Note the job of a request that is in doubt, or that this journal does not know."""
        known = any(
            (item.generation, item.attempt)
            == (action.submission.generation, action.submission.attempt)
            for item in memory.submissions
        )
        if not known:
            await self._journal.memories.begin(document.resource_id, action.submission)
        await self._journal.memories.note_job(
            document.resource_id, action.submission, action.job_id
        )

    async def end(self, document: ParticipantDocument, action: EndSubmission) -> None:
        """Note how a request ended."""
        await self._journal.memories.end(
            document.resource_id,
            action.submission,
            outcome=action.outcome,
            cause=action.cause,
            message=action.message,
            at=self._clock.now(),
        )
        await self._forget_chart(action.cause)
        log.info(
            "submission.ended",
            resource_id=document.resource_id,
            revision=action.submission.revision,
            outcome=action.outcome,
            cause=action.cause,
        )

    async def _forget_chart(self, cause: str) -> None:
        """Upload again: a service without a chart that it was given has lost its database."""
        if cause == _CHART_MISSING:
            await self._journal.forget_charts(self._desk.key)


def _record(document: ParticipantDocument, uuid: str) -> Cluster:
    return Cluster(
        uuid=uuid,
        name=document.release_name,
        namespace=document.namespace,
        chart_name=document.chart.name,
        chart_version=document.chart.version,
        status=ClusterStatus.RUNNING,
    )
