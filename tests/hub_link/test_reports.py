from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.hub import federation, party

from fedcore import limits
from fedcore.errors import ErrorCode
from fedcore.ids import new_id
from fedhub.rpc.link import turns
from fedproto.agent.v1 import event_pb2, link_pb2, status_pb2


async def stored(lab, agent):
    """Messages of the events that came from the agent's spool, in the hub's order."""
    events = await lab.rest.events(f"&site={agent.name}")
    return [one["message"] for one in events if one["kind"] == "participant.step"]


def expected(agent):
    return [f"participant.step {seq}" for seq in range(1, agent.seq + 1)]


async def test_events_are_stored_once_and_acknowledged_after_that(lab):
    agent = await lab.connect("alpha")
    assert await agent.tell(3) == 3
    assert await stored(lab, agent) == expected(agent)


async def test_the_same_batch_again_is_acknowledged_and_stores_nothing(lab):
    agent = await lab.connect("alpha")
    for _ in range(3):
        agent.happen()
    batch = agent.batch()
    for _ in range(3):
        await agent.live.send(events=batch)
    await agent.live.acked(3)
    await agent.live.beat()
    acks = [f.event_ack.acked_through for f in agent.live.frames if f.HasField("event_ack")]
    assert acks == [3, 3, 3]
    assert await stored(lab, agent) == expected(agent)


async def test_a_batch_that_overlaps_adds_only_what_is_new(lab):
    agent = await lab.connect("alpha")
    agent.happen()
    agent.happen()
    await agent.live.send(events=agent.batch())
    kept = list(agent.unacked)
    agent.happen()
    await agent.live.send(
        events=event_pb2.EventBatch(spool_id=agent.spool_id, events=[*kept, agent.unacked[-1]])
    )
    await agent.live.acked(3)
    assert await stored(lab, agent) == expected(agent)


@pytest.mark.parametrize(
    "sequences", [[2], [1, 3], [1, 1], [2, 1], [0], [0, 1], [2**64 - 1], list(range(1, 400))]
)
async def test_a_batch_with_a_gap_or_out_of_order_is_refused_whole(lab, sequences):
    agent = await lab.connect("alpha")
    events = [event_pb2.Event(seq=seq, kind="participant.step") for seq in sequences]
    await agent.live.send(events=event_pb2.EventBatch(spool_id=agent.spool_id, events=events))
    error = await agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.INVALID
    assert await stored(lab, agent) == []
    session = await agent.connect()
    assert session.welcome.resume_after_seq == 0


async def test_a_batch_of_another_spool_than_hellos_is_refused(lab):
    agent = await lab.connect("alpha")
    await agent.live.send(
        events=event_pb2.EventBatch(spool_id=new_id(), events=[event_pb2.Event(seq=1)])
    )
    error = await agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.INVALID


async def test_after_a_reconnect_the_hub_says_where_to_go_on(lab):
    agent = await lab.connect("alpha")
    await agent.tell(5)
    agent.happen()
    session = await agent.reconnect()
    assert session.welcome.resume_after_seq == 5
    assert await agent.tell(1) == 7
    assert await stored(lab, agent) == expected(agent)


async def test_a_new_spool_begins_at_one_and_the_old_events_stay(lab):
    agent = await lab.connect("alpha")
    await agent.tell(2)
    agent.spool_id, agent.seq = new_id(), 0
    session = await agent.reconnect()
    assert session.welcome.resume_after_seq == 0
    await agent.tell(1)
    assert await stored(lab, agent) == [
        "participant.step 1",
        "participant.step 2",
        "participant.step 1",
    ]


async def test_an_empty_batch_is_answered_with_where_the_hub_stands(lab):
    agent = await lab.connect("alpha")
    await agent.live.send(events=event_pb2.EventBatch(spool_id=agent.spool_id))
    frame = await agent.live.frame(lambda f: f.HasField("event_ack"))
    assert frame.event_ack.acked_through == 0


@pytest.fixture
async def party_agent(lab):
    hq = await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await hq.stop()
    await alpha.stop()
    return alpha.agent


def own(agent):
    return next(d for d in agent.held.values() if d.HasField("participant"))


async def phase(lab):
    found = await lab.rest.get("/api/v1/participants/credit-risk/9999")
    return found["participant"]["phase"]


async def test_the_latest_status_wins_and_a_change_of_phase_is_told_by_its_agent_alone(
    lab, party_agent
):
    document = own(party_agent)
    before = len(await lab.rest.events("&participant=credit-risk/9999"))
    degraded = status_pb2.ResourceStatus(
        resource_id=document.resource_id,
        observed_generation=document.generation,
        phase=status_pb2.PHASE_DEGRADED,
        reason="PodNotReady",
        message="python-0 restarts",
    )
    for _ in range(3):
        await party_agent.live.report(degraded)
    event = party_agent.happen("participant.degraded", resource_id=document.resource_id)
    await party_agent.live.send(events=party_agent.batch())
    await party_agent.live.acked(event.seq)
    assert await phase(lab) == "Degraded"
    news = (await lab.rest.events("&participant=credit-risk/9999"))[before:]
    assert [(e["kind"], e["resource"]) for e in news] == [
        ("participant.degraded", "credit-risk/9999")
    ]


async def test_the_same_status_again_counts_as_heard_just_now(lab, party_agent):
    """Whoever waits for a fresh word of a site, as the first run does, must see that it came."""

    async def heard_at():
        return (await lab.rest.get("/api/v1/participants/credit-risk/9999"))["reported_at"]

    document = own(party_agent)
    ready = status_pb2.ResourceStatus(
        resource_id=document.resource_id,
        observed_generation=document.generation,
        phase=status_pb2.PHASE_READY,
    )
    times = []
    for turn in (1, 2):
        await party_agent.live.report(ready)
        await party_agent.live.beat(sequence=turn)
        times.append(await heard_at())
    assert times[0] < times[1]


async def test_a_status_of_a_generation_that_was_never_sent_is_refused(lab, party_agent):
    document = own(party_agent)
    await party_agent.live.report(
        status_pb2.ResourceStatus(
            resource_id=document.resource_id,
            observed_generation=document.generation + 1,
            phase=status_pb2.PHASE_READY,
        )
    )
    error = await party_agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": status_pb2.PHASE_UNSPECIFIED},
        {"phase": 99},
        {"phase": status_pb2.PHASE_READY, "message": "x" * (limits.MAX_STATUS_BYTES + 1)},
    ],
)
async def test_a_status_that_breaks_a_rule_ends_the_stream_and_changes_nothing(
    lab, party_agent, changes
):
    document = own(party_agent)
    await party_agent.live.report(
        status_pb2.ResourceStatus(
            resource_id=document.resource_id,
            observed_generation=document.generation,
            **changes,
        )
    )
    error = await party_agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.INVALID
    assert await phase(lab) == "Ready"


async def test_a_report_with_one_bad_status_stores_none_of_them(lab, party_agent):
    document = own(party_agent)
    good = status_pb2.ResourceStatus(
        resource_id=document.resource_id,
        observed_generation=document.generation,
        phase=status_pb2.PHASE_DEGRADED,
    )
    bad = status_pb2.ResourceStatus(resource_id=document.resource_id, phase=99)
    await party_agent.live.report(good, bad)
    await party_agent.live.end()
    assert await phase(lab) == "Ready"


async def test_a_status_of_something_unknown_is_passed_over(lab, party_agent):
    await party_agent.live.report(
        status_pb2.ResourceStatus(resource_id=new_id(), phase=status_pb2.PHASE_READY)
    )
    await party_agent.live.beat()
    assert await phase(lab) == "Ready"


async def test_text_of_a_site_cannot_carry_control_characters(lab, party_agent):
    document = own(party_agent)
    await party_agent.live.report(
        status_pb2.ResourceStatus(
            resource_id=document.resource_id,
            observed_generation=document.generation,
            phase=status_pb2.PHASE_DEGRADED,
            reason="\x1b[31mRed",
            message="a\x00b\x07\u202ec",
        )
    )
    await party_agent.live.beat()
    found = await lab.rest.get("/api/v1/participants/credit-risk/9999")
    shown = found["participant"]["reason"] + found["participant"]["message"]
    assert all(c.isprintable() for c in shown)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_no_bytes_of_a_frame_break_the_decoder(data):

    try:
        link_pb2.AgentFrame.FromString(data)
    except DecodeError:
        return


async def test_of_several_statuses_of_one_resource_in_a_report_only_the_last_counts(
    lab, party_agent
):
    document = own(party_agent)
    half = limits.MAX_STATUSES_PER_REPORT // 2
    phases = [status_pb2.PHASE_DEGRADED, status_pb2.PHASE_RECONFIGURING] * half
    await party_agent.live.report(
        *(
            status_pb2.ResourceStatus(
                resource_id=document.resource_id,
                observed_generation=document.generation,
                phase=one,
            )
            for one in phases
        )
    )
    await party_agent.live.beat()
    assert await phase(lab) == "Reconfiguring"


async def test_a_report_of_too_many_statuses_is_refused_whole(lab, party_agent):
    document = own(party_agent)
    status = status_pb2.ResourceStatus(
        resource_id=document.resource_id,
        observed_generation=document.generation,
        phase=status_pb2.PHASE_DEGRADED,
    )
    await party_agent.live.report(*[status] * (limits.MAX_STATUSES_PER_REPORT + 1))
    error = await party_agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.INVALID
    assert await phase(lab) == "Ready"


@pytest.mark.parametrize("seconds", [10**17, -(10**17)])
async def test_a_time_that_no_calendar_holds_is_replaced_by_the_hubs(lab, party_agent, seconds):
    document = own(party_agent)
    status = status_pb2.ResourceStatus(
        resource_id=document.resource_id,
        observed_generation=document.generation,
        phase=status_pb2.PHASE_DEGRADED,
    )
    status.since.seconds = seconds
    status.job.job_id = "1"
    status.job.started_at.seconds = seconds
    await party_agent.live.report(status)
    event = party_agent.happen()
    event.occurred_at.seconds = seconds
    await party_agent.live.send(events=party_agent.batch())
    await party_agent.live.acked(event.seq)
    assert await phase(lab) == "Degraded"


@pytest.mark.parametrize(
    ("statuses", "events", "cost"), [(0, 0, 1), (1, 0, 1), (256, 0, 256), (0, 16, 1), (0, 256, 8)]
)
def test_a_frame_is_charged_for_what_is_in_it(statuses, events, cost):
    frame = link_pb2.AgentFrame()
    if statuses:
        frame.status.statuses.extend([status_pb2.ResourceStatus()] * statuses)
    if events:
        frame.events.events.extend([event_pb2.Event()] * events)
    assert turns(frame) == cost


async def test_the_last_words_on_a_participant_that_is_gone_are_its_federations(lab):
    hq, alpha = await lab.good_site("hq"), await lab.good_site("alpha")
    await lab.rest.apply(federation([party(9999, "alpha")]))
    rows = await lab.rest.until(
        "/api/v1/participants", lambda page: {one["phase"] for one in page["items"]} == {"Ready"}
    )
    gone = next(one["id"] for one in rows["items"] if one["key"] == "9999")
    await lab.rest.apply(federation([]))
    await lab.rest.until("/api/v1/participants", lambda page: len(page["items"]) == 1)

    for site in (alpha, hq):
        site.agent.happen("participant.gone", resource_id=gone)
        await site.agent.live.send(events=site.agent.batch())
        await site.agent.live.acked(1)
    told = await lab.rest.events("&federation=credit-risk")
    told = [one["site_id"] for one in told if one["kind"] == "participant.gone"]
    assert told == [alpha.agent.site_id]
