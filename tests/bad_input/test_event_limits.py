"""Events without measure: too large, too many in a batch, too many in an hour."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bad_input.session import SESSION
from tests.support.clock import ManualClock
from tests.support.hub import federation, party

from fedagent.journal import open_journal
from fedcore import limits
from fedcore.clock import SystemClock
from fedcore.errors import ErrorCode
from fedhub.fleet.ingest import _event
from fedhub.fleet.rate_limit import EventRateLimiter, cost_of
from fedproto.agent.v1 import event_pb2, status_pb2

HOUR_S = 3_600
CUT = "facts exceeded the limit"


async def kept(lab, agent):
    found = await lab.rest.events(f"&site={agent.name}")
    return [one for one in found if one["kind"] == "participant.step"]


def size_of(event):
    facts = event["facts"]
    return len(event["message"].encode()) + sum(
        len(key.encode()) + len(value.encode()) for key, value in facts.items()
    )


@pytest.mark.parametrize(
    ("message", "facts"),
    [
        ("x" * 200_000, {}),
        ("\u200b" * 50_000, {}),
        ("", {f"fact-{n:02}": "x" * 3_900 for n in range(32)}),
        ("", {f"fact-{n:04}": "x" for n in range(5_000)}),
        ("", {"k" * 100_000: "v" * 100_000}),
        ("", {"fact": "\x00" * 200_000}),
        ("y" * 1_000, {"a": "\u200b" * 60_000, "b": "x" * 20_000}),
    ],
)
async def test_an_event_that_is_too_large_is_cut_with_a_mark_and_stops_nothing(lab, message, facts):
    agent = await lab.connect("alpha")
    event = agent.happen()
    event.message = message or event.message
    for key, value in facts.items():
        event.facts[key] = value
    assert event.ByteSize() > limits.MAX_EVENT_BYTES
    agent.happen()
    await agent.live.send(events=agent.batch())
    await agent.live.acked(2)
    first, second = await kept(lab, agent)
    assert size_of(first) <= limits.MAX_EVENT_BYTES + len("cut" + CUT)
    marks = [first["message"], *first["facts"], *first["facts"].values()]
    assert CUT in marks or any(text.endswith("…") for text in marks)
    assert second["message"] == "participant.step 2"


async def test_a_batch_that_is_too_large_is_refused_whole(lab):
    agent = await lab.connect("alpha")
    for _ in range(20):
        agent.happen().facts["fact"] = "x" * (limits.MAX_EVENT_BYTES - 200)
    await agent.live.send(events=agent.batch())
    error = await agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.INVALID
    assert await kept(lab, agent) == []


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 6_000),
        st.sampled_from("xé一\U0001f600"),
        st.dictionaries(
            st.text("ab", min_size=1, max_size=3), st.integers(0, limits.MAX_TEXT_CHARS), max_size=6
        ),
    ),
    min_size=1,
    max_size=40,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(EVENTS)
def test_no_event_of_an_honest_agent_is_cut_or_refused_by_the_hub(tmp_path_factory, made):
    """The agent's spool cuts first: each batch of it passes the hub's limits untouched."""
    path = tmp_path_factory.mktemp("spool") / "journal.sqlite"
    for batch in asyncio.run(spooled(path, made)):
        assert len(batch.events) <= limits.MAX_BATCH_EVENTS
        assert batch.ByteSize() <= limits.MAX_BATCH_WIRE_BYTES
        for event in batch.events:
            stored = _event(SESSION, batch.spool_id, event, None, SystemClock().now())
            assert stored.facts == dict(event.facts)
            assert stored.message == event.message


async def spooled(path, made):
    """Put events into an agent's real spool and return the batches that it would send."""
    events = []
    for length, letter, facts in made * 8:
        event = event_pb2.Event(kind="participant.step", message=letter * length)
        for key, size in facts.items():
            event.facts[key] = "x" * size
        events.append(event)
    batches = []
    async with open_journal(path, clock=SystemClock()) as journal:
        await journal.spool.append(events)
        after = 0
        while (batch := await journal.spool.batch(after)) is not None:
            batches.append(batch)
            after = batch.events[-1].seq
    return batches


def use_up(lab, agent, left=0):
    rate = lab.hub.event_rates.of_site(agent.site_id)
    rate.give_back(limits.SITE_EVENTS_PER_HOUR)
    assert rate.try_take(limits.SITE_EVENTS_PER_HOUR - left)


async def test_what_exceeds_a_sites_quota_waits_unacknowledged_and_goes_on_by_itself(timed_lab):
    lab, clock = timed_lab
    agent = await lab.connect("alpha")
    other = await lab.connect("beta")
    use_up(lab, agent, left=5)
    for _ in range(2):
        for _ in range(4):
            agent.happen()
        await agent.live.send(
            events=event_pb2.EventBatch(spool_id=agent.spool_id, events=agent.unacked[-4:])
        )
    await agent.live.acked(4)
    await agent.live.beat(1)
    assert len(await kept(lab, agent)) == 4, "the second batch is not stored"
    assert await other.tell(3) == 3, "another site's events are"
    clock.advance(HOUR_S / limits.SITE_EVENTS_PER_HOUR * 4)
    await agent.live.beat(2)
    assert await agent.live.acked(8) == 8
    assert len(await kept(lab, agent)) == 8
    (alarm,) = await lab.rest.events("&kind=site.events_throttled")
    assert (alarm["severity"], "alpha" in alarm["message"]) == ("error", True)


async def test_a_new_session_does_not_renew_the_quota(timed_lab):
    lab, _ = timed_lab
    agent = await lab.connect("alpha")
    use_up(lab, agent)
    await agent.reconnect()
    agent.happen()
    await agent.live.send(events=agent.batch())
    await agent.live.beat()
    assert await kept(lab, agent) == []
    session = await agent.reconnect()
    assert session.welcome.resume_after_seq == 0, "the agent is told to keep it"


async def test_an_agent_that_sends_on_without_answers_is_cut_off(timed_lab):
    lab, _ = timed_lab
    agent = await lab.connect("alpha")
    use_up(lab, agent)
    for _ in range(limits.MAX_UNACKED_BATCHES + 1):
        event = agent.happen()
        await agent.live.send(events=event_pb2.EventBatch(spool_id=agent.spool_id, events=[event]))
    error = await agent.live.end()
    assert error is not None
    assert error.code is ErrorCode.TOO_MANY
    assert await kept(lab, agent) == []


async def test_a_site_that_changes_its_phase_for_ever_does_not_fill_the_record(lab):
    """Only the agent's own events tell of phases, and these have their quota."""
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await alpha.stop()
    agent = alpha.agent
    document = next(one for one in agent.held.values() if one.HasField("participant"))
    before = await lab.rest.events()
    for number in range(40):
        phase = (status_pb2.PHASE_DEGRADED, status_pb2.PHASE_READY)[number % 2]
        await agent.live.report(alpha.status_of(document, phase=phase, message=f"{number}"))
    await agent.live.beat()
    assert await lab.rest.events() == before
    found = await lab.rest.get("/api/v1/participants/credit-risk/9999")
    assert found["participant"]["message"] == "39"


def test_a_quota_refills_evenly_and_never_beyond_its_size():
    clock = ManualClock()
    rate = EventRateLimiter(clock).of_site("s")
    size = limits.SITE_EVENTS_PER_HOUR
    assert rate.try_take(size)
    assert not rate.try_take(1)
    clock.advance(HOUR_S / 2)
    assert not rate.try_take(size / 2 + 1)
    assert rate.try_take(size / 2)
    clock.advance(HOUR_S * 10)
    assert rate.try_take(size)
    assert not rate.try_take(1)


def test_large_events_are_charged_by_their_size():
    batch = event_pb2.EventBatch(events=[event_pb2.Event(), event_pb2.Event(message="x" * 5_000)])
    assert cost_of(batch) == 1 + 5
