from __future__ import annotations

import asyncio

import grpc
import pytest
from tests.support.hub import federation, party, running_test_hub
from tests.support.patience import until

from fedca.csr import make_csr_pem
from fedca.issuing import IssueRequest
from fedca.keys import make_private_key, private_key_pem
from fedca.names import ProfileName, Subject
from fedcore.errors import ErrorCode, FedError
from fedcore.ids import new_id
from fedhub.services.liveness import SessionSweeper
from fedhub.timing import HubTiming
from fedproto.agent.v1 import link_pb2, status_pb2
from fedproto.transport import error_from_rpc


async def refusal(opening):
    with pytest.raises(FedError) as caught:
        await opening
    return caught.value


async def test_each_session_has_a_higher_epoch_and_the_older_one_is_fenced(lab):
    agent = await lab.join("alpha")
    first = await agent.connect()
    second = await agent.open()
    assert second.epoch == first.epoch + 1
    fenced = await first.frame(lambda f: f.HasField("fenced"))
    assert fenced.fenced.by_epoch == second.epoch
    await first.end()
    assert (await lab.rest.get("/api/v1/sites/alpha"))["state"] == "Online"
    assert "site.disconnected" not in await lab.rest.kinds("&site=alpha")
    await second.close()


async def test_a_frame_of_another_epoch_ends_the_stream_and_stores_nothing(lab):
    hq = await lab.good_site("hq")
    agent = await lab.connect("alpha")
    await lab.rest.apply(federation([party(9999, "alpha")]))
    await agent.live.holds(lambda held: len(held) == 2)
    await hq.stop()
    before = len(await lab.rest.events("&site=alpha"))
    agent.happen()
    for body in (
        {"events": agent.batch()},
        {
            "status": link_pb2.StatusReport(
                statuses=[
                    status_pb2.ResourceStatus(
                        resource_id=next(iter(agent.held)), phase=status_pb2.PHASE_READY
                    )
                ]
            )
        },
        {"heartbeat": link_pb2.Heartbeat(sequence=1)},
    ):
        stale = agent.live.epoch - 1
        await agent.live.send(epoch=stale, **body)
        error = await agent.live.end()
        assert error is not None
        assert error.code is ErrorCode.FENCED
        await agent.connect()
    stored = [
        e
        for e in (await lab.rest.events("&site=alpha"))[before:]
        if not e["kind"].startswith("site.")
    ]
    assert stored == []


async def test_the_same_identity_from_another_cluster_is_refused_and_the_first_is_undisturbed(lab):
    agent = await lab.connect("alpha")
    for _ in range(3):
        error = await refusal(agent.open(cluster_uid="another-cluster", instance_id="copy"))
        assert error.code is ErrorCode.DENIED
        assert "copy of its identity" in error.message
    alarms = await lab.rest.events("&kind=site.duplicate_identity")
    assert len(alarms) == 1, "one alarm, however often it tries"
    assert alarms[0]["facts"]["cluster_uid"] == "another-cluster"
    assert alarms[0]["facts"]["expected_cluster_uid"] == "cluster-alpha"
    await agent.live.beat()
    assert (await lab.rest.get("/api/v1/sites/alpha"))["cluster_uid"] == "cluster-alpha"


async def test_another_instance_waits_until_the_older_one_is_silent(timed_lab):
    lab, clock = timed_lab
    agent = await lab.connect("alpha")
    error = await refusal(agent.open(instance_id="reborn"))
    assert error.code is ErrorCode.UNAVAILABLE
    await agent.live.beat()
    clock.advance(21)
    second = await agent.open(instance_id="reborn")
    await agent.live.frame(lambda f: f.HasField("fenced"))
    await second.close()


async def test_two_hellos_at_once_leave_the_newer_one_alive(lab):
    agent = await lab.join("alpha")
    sessions = await asyncio.gather(*(agent.open() for _ in range(5)))
    newest = max(sessions, key=lambda one: one.epoch)
    for session in sessions:
        if session is not newest:
            await session.end()
    await newest.beat()
    assert len(lab.hub.registry) == 1
    await newest.close()


async def test_a_revoked_site_loses_its_stream_and_every_call(lab):
    agent = await lab.connect("alpha")
    await lab.rest.good("POST", "/api/v1/sites/alpha/revocation")
    await agent.live.frame(lambda f: f.go_away.reason == link_pb2.GO_AWAY_REASON_REVOKED)
    await agent.live.end()
    for call in (
        agent.open(),
        agent.renew(make_private_key()),
        agent.issue("any", "any"),
        fetch(agent, "0" * 64),
    ):
        assert (await refusal(call)).code is ErrorCode.DENIED
    assert (await lab.rest.get("/api/v1/sites/alpha"))["state"] == "Revoked"


async def fetch(agent, sha256, offset=0):
    try:
        call = agent.stub.FetchBlob(link_pb2.FetchBlobRequest(sha256=sha256, offset=offset))
        parts = [chunk.data async for chunk in call]
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None
    return b"".join(parts)


async def test_revoking_the_certificate_alone_cuts_the_stream_too(lab):
    agent = await lab.connect("alpha")
    found = await lab.rest.get("/api/v1/certificates?site=alpha")
    serial = found["items"][0]["serial"]
    await lab.rest.good("POST", f"/api/v1/certificates/{serial}/revocation")
    await agent.live.end()
    assert (await refusal(agent.open())).code is ErrorCode.DENIED


async def test_a_revoked_site_joins_again_after_a_new_invitation(lab):
    await lab.connect("alpha")
    await lab.rest.good("POST", "/api/v1/sites/alpha/revocation")
    agent = await lab.connect("alpha", cluster_uid="moved")
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert (site["state"], site["cluster_uid"]) == ("Online", "moved")
    await agent.live.beat()


async def issued(lab, profile, subject):
    key = make_private_key()
    certificate = await lab.hub.authority.issue(
        IssueRequest(
            profile=profile, subject=subject, csr_pem=make_csr_pem(key), requested_by="test"
        )
    )
    return private_key_pem(key), certificate.chain_pem


@pytest.mark.parametrize("profile", [one for one in ProfileName if one is not ProfileName.AGENT])
async def test_a_certificate_of_another_profile_opens_no_session(lab, profile):
    agent = await lab.join("alpha")
    subject = Subject(
        site_id=agent.site_id,
        site_name="alpha",
        federation_id=new_id(),
        domain="fed.example.com",
        party_id=9999,
    )
    if profile in {ProfileName.HUB, ProfileName.CONSOLE}:
        subject = Subject()
    key_pem, chain_pem = await issued(lab, profile, subject)
    agent.channel = agent.open_channel(key_pem=key_pem, chain_pem=chain_pem)
    assert (await refusal(agent.open())).code is not None
    assert len(lab.hub.registry) == 0


async def test_no_certificate_and_one_of_a_foreign_authority_open_no_session(
    lab, tmp_path, hub_template
):
    agent = await lab.join("alpha")
    credentials = grpc.ssl_channel_credentials(agent.roots_pem)
    agent.channel = grpc.aio.secure_channel(lab.place.link_address, credentials)
    assert (await refusal(agent.open())).code is not None
    await agent.close()
    async with running_test_hub(tmp_path / "other") as other:
        stranger = await other.join("alpha")
        agent.channel = agent.open_channel(
            key_pem=private_key_pem(stranger.key), chain_pem=stranger.chain_pem
        )
        assert (await refusal(agent.open())).code is not None
    assert len(lab.hub.registry) == 0


async def test_a_first_frame_that_is_no_hello_is_refused(lab):
    agent = await lab.join("alpha")
    stream = agent.stub.Session()
    await stream.write(link_pb2.AgentFrame(heartbeat=link_pb2.Heartbeat(sequence=1)))
    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_broken_stream_shows_at_once_and_offline_only_after_the_lease(timed_lab):
    lab, clock = timed_lab
    agent = await lab.connect("alpha")
    await agent.close()
    await lab.rest.until(
        "/api/v1/sites/alpha", lambda site: site["state"] == "Disconnected", "Disconnected"
    )
    sweeper = SessionSweeper(lab.hub)
    clock.advance(100)
    await sweeper.turn()
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert site["state"] == "Disconnected", "the grace period after a start of the hub"
    clock.advance(100)
    await sweeper.turn()
    assert (await lab.rest.get("/api/v1/sites/alpha"))["state"] == "Offline"
    await agent.connect()
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert site["state"] == "Online"
    kinds = await lab.rest.kinds("&site=alpha")
    assert kinds[-4:] == ["site.online", "site.disconnected", "site.offline", "site.online"]


async def test_a_stalled_loop_of_an_agent_is_a_named_finding_until_it_turns_again(lab):
    agent = await lab.connect("alpha")
    await agent.live.beat(1, loops=[link_pb2.LoopHealth(name="watch", stalled=True)])
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert [f["code"] for f in site["findings"]] == ["LoopStalled"]
    assert "watch" in site["findings"][0]["message"]
    await agent.live.beat(2, loops=[link_pb2.LoopHealth(name="watch")])
    assert (await lab.rest.get("/api/v1/sites/alpha"))["findings"] == []
    assert (await lab.rest.kinds("&site=alpha"))[-2:] == [
        "site.loop_stalled",
        "site.loop_recovered",
    ]


async def test_an_agent_that_leaves_with_goodbye_is_disconnected(lab):
    agent = await lab.connect("alpha")
    await agent.live.send(goodbye=link_pb2.Goodbye(reason="upgrade"))
    await agent.live.end()
    await lab.rest.until("/api/v1/sites/alpha", lambda site: site["state"] == "Disconnected")


async def test_a_deleted_site_cannot_come_back(lab):
    agent = await lab.connect("alpha")
    answer = await lab.rest.call("DELETE", "/api/v1/sites/alpha")
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    await lab.rest.good("POST", "/api/v1/sites/alpha/revocation")
    await lab.rest.good("DELETE", "/api/v1/sites/alpha")
    assert (await lab.rest.call("GET", "/api/v1/sites/alpha")).status == 404
    assert (await refusal(agent.open())).code is ErrorCode.DENIED


async def test_an_agent_that_joined_learns_roots_that_it_does_not_know(lab):
    agent = await lab.join("alpha")
    session = await agent.open(trust_version=7)
    frame = await session.frame(lambda f: f.HasField("trust"))
    assert frame.trust.roots_pem == lab.place.ca_pem
    await session.close()


async def test_an_end_is_noted_though_the_call_is_cancelled_while_it_ends(tmp_path, hub_template):
    # The sweep would mend it some seconds later.
    timing = HubTiming(sweep_s=3_600.0)
    async with running_test_hub(tmp_path, template=hub_template, timing=timing) as lab:
        agent = await lab.connect("alpha")
        async with lab.hub.database.begin():
            # The end waits for the database's only writer.
            await agent.live.stream.done_writing()
            await until(lambda: not len(lab.hub.registry))
            agent.live.stream.cancel()
            await agent.close()
            await asyncio.sleep(0.1)
        await lab.rest.until("/api/v1/sites/alpha", lambda site: site["state"] == "Disconnected")
