"""Requests to KubeFATE: noted on disk, sent once, their job's id noted."""

from __future__ import annotations

from typing import Final

import structlog

from fedagent.domain.decision import AdoptSubmission, EndSubmission, Submit
from fedagent.domain.diagnosis import cause_of
from fedagent.domain.document import ParticipantDocument
from fedagent.domain.state import Method, Outcome, ResourceState, Submission
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.errors import KubeFateError, Unauthorized, Unavailable
from fedagent.kubefate.jobs import Outcome as AnswerOutcome
from fedagent.kubefate.jobs import Submission as Answer
from fedagent.kubefate.jobs import prepare_values, submit_delete, submit_install, submit_update
from fedagent.kubefate.records import Cluster, ClusterArgs, ClusterStatus
from fedagent.reconcile.kubefate_service import KubeFateService
from fedagent.reconcile.site import Site

log = structlog.get_logger()

_CHART_MISSING: Final = "ChartMissing"


class Submitter:
    """Sends what the planner decided; the journal is written before and after."""

    def __init__(self, site: Site, service: KubeFateService) -> None:
        self._site = site
        self._journal = site.journal
        self._service = service

    async def submit(self, document: ParticipantDocument, action: Submit) -> None:
        """Send one request. An answer that is lost leaves it in doubt: the planner looks it up.

        Raises KubeFateError when the service cannot be worked with now.
        """
        client = await self._service.client()
        generation = document.generation if action.good is None else action.good.generation
        submission = Submission(generation, action.attempt, action.method, self._site.clock.now())
        await self._journal.states.begin(document.resource_id, submission)
        log.info(
            "submission.begun",
            resource_id=document.resource_id,
            method=action.method,
            revision=submission.revision,
        )
        try:
            answer = await self._send(client, document, action, submission)
        except Unavailable:
            raise
        except Unauthorized as error:
            await self._end(document, submission, Outcome.LOST, error)
            raise
        except KubeFateError as error:
            await self._end(document, submission, Outcome.REFUSED, error)
            return
        await self._note(document, submission, answer)

    async def _send(
        self,
        client: KubeFate,
        document: ParticipantDocument,
        action: Submit,
        submission: Submission,
    ) -> Answer:
        if action.method is Method.DELETE:
            return await submit_delete(client, _record(document, action.record_uuid))
        good = action.good
        chart = document.chart if good is None else good.chart
        args = ClusterArgs(
            name=document.release_name,
            namespace=document.namespace,
            chart_name=chart.name,
            chart_version=chart.version,
            data=prepare_values(
                document.cluster_json if good is None else good.cluster_json,
                owner=f"{self._site.hub_id}/{document.resource_id}",
                revision=submission.revision,
                digest=document.digest if good is None else "",
            ),
        )
        if action.method is Method.INSTALL:
            return await submit_install(client, args)
        return await submit_update(client, args)

    async def _note(
        self, document: ParticipantDocument, submission: Submission, answer: Answer
    ) -> None:
        states = self._journal.states
        if answer.job is not None:
            await states.note_job(document.resource_id, submission, answer.job.uuid)
            return
        # A record that is gone is what a removal wants; an update of it never arrived.
        gone = Outcome.SUCCEEDED if submission.method is Method.DELETE else Outcome.LOST
        outcome = gone if answer.outcome is AnswerOutcome.GONE else Outcome.REFUSED
        cause = "Unchanged" if answer.outcome is AnswerOutcome.UNCHANGED else "RecordExists"
        await states.end(
            document.resource_id,
            submission,
            outcome=outcome,
            cause=cause if outcome is Outcome.REFUSED else "",
            message=f"KubeFATE answered: {answer.outcome.value}",
            at=self._site.clock.now(),
        )

    async def _end(
        self,
        document: ParticipantDocument,
        submission: Submission,
        outcome: Outcome,
        error: KubeFateError,
    ) -> None:
        cause = cause_of(error.message).code
        await self._journal.states.end(
            document.resource_id,
            submission,
            outcome=outcome,
            cause=cause,
            message=error.message,
            at=self._site.clock.now(),
        )
        await self._forget_chart(cause)

    async def adopt(
        self, document: ParticipantDocument, state: ResourceState, action: AdoptSubmission
    ) -> None:
        """Note the job of a request that is in doubt, or that this journal does not know."""
        is_in_journal = any(
            submission.revision == action.submission.revision for submission in state.submissions
        )
        if not is_in_journal:
            await self._journal.states.begin(document.resource_id, action.submission)
        await self._journal.states.note_job(document.resource_id, action.submission, action.job_id)

    async def end(self, document: ParticipantDocument, action: EndSubmission) -> None:
        """Note how a request ended."""
        await self._journal.states.end(
            document.resource_id,
            action.submission,
            outcome=action.outcome,
            cause=action.cause,
            message=action.message,
            at=self._site.clock.now(),
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
            await self._journal.forget_charts(self._service.key)


def _record(document: ParticipantDocument, uuid: str) -> Cluster:
    return Cluster(
        uuid=uuid,
        name=document.release_name,
        namespace=document.namespace,
        chart_name=document.chart.name,
        chart_version=document.chart.version,
        status=ClusterStatus.RUNNING,
    )
