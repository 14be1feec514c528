from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from dataclasses import replace

import grpc
import pytest
from tests.support.hub import federation, party
from tests.support.principals import administrator

from fedcore.errors import ErrorCode
from fedhub.services import federations
from fedproto.agent.v1 import command_pb2, link_pb2, status_pb2


def document_frames(session):
    return [frame.documents for frame in session.frames if frame.HasField("documents")]


def sent(session):
    """Resource ids in the order in which the hub sent them, with generations."""
    return [
        (one.resource_id, one.generation)
        for frame in document_frames(session)
        for one in frame.documents
    ]


async def test_an_agent_gets_the_documents_of_its_site_and_no_others(lab):
    hq = await lab.connect("hq")
    alpha = await lab.connect("alpha")
    await lab.rest.apply(federation([party(9999, "alpha")]))
    await hq.live.holds(lambda held: len(held) == 2)
    await alpha.live.beat()
    found = await lab.rest.get("/api/v1/participants?site=hq")
    assert found["items"][0]["id"] in hq.held
    assert not set(hq.held) & set(alpha.held)
    spec = hq.held[found["items"][0]["id"]].participant
    assert (spec.federation_name, spec.participant_name) == ("credit-risk", "credit-risk/exchange")


async def test_after_a_reconnect_only_what_differs_is_sent(lab):
    alpha = await lab.good_site("alpha")
    hq = await lab.good_site("hq")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    session = await alpha.agent.reconnect()
    await session.beat()
    assert document_frames(session) == []
    await alpha.agent.close()
    await hq.move("10.9.9.9")
    key = await lab.rest.until(
        "/api/v1/participants/credit-risk/9999",
        lambda one: one["participant"]["generation"] == 2,
    )
    session = await alpha.agent.connect()
    await session.document(key["participant"]["id"], 2)
    assert sent(session) == [(key["participant"]["id"], 2)]


async def test_a_document_that_the_agent_holds_with_another_digest_is_sent_again(lab):
    hq = await lab.connect("hq")
    await lab.connect("alpha")
    await lab.rest.apply(federation([party(9999, "alpha")]))
    await hq.live.holds(lambda held: len(held) == 2)
    tampered = next(iter(hq.held))
    hq.held[tampered].digest = "0" * 64
    session = await hq.reconnect()
    await session.holds(lambda held: held[tampered].digest != "0" * 64)
    assert [one for one, _ in sent(session)] == [tampered]


async def test_what_is_gone_is_forgotten_at_the_agent_also_after_a_reconnect(lab):
    alpha = await lab.good_site("alpha")
    await lab.good_site("hq")
    applied = await lab.rest.apply(federation([party(9999, "alpha"), party(7, "hq")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    stale = dict(alpha.agent.held)
    applied = await lab.rest.apply(federation([party(7, "hq")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    await alpha.agent.live.holds(lambda held: len(held) == 1, "the endpoint alone")
    alpha.agent.held = stale
    session = await alpha.agent.reconnect()
    await session.holds(lambda held: len(held) == 1, "the endpoint alone")


class DeafNotifier:
    """That of a replica to which the sites are not connected."""

    def mark_stale(self, site_ids):
        pass


async def test_a_document_changed_while_no_session_lived_is_found_by_the_poll(lab):
    """The wake-up gets lost: a commit of another replica."""
    hq = await lab.connect("hq")
    await lab.connect("alpha")
    other_replica = replace(lab.hub, notifier=DeafNotifier())
    await federations.apply(other_replica, administrator(), federation([party(9999, "alpha")]))
    await hq.live.holds(lambda held: len(held) == 2)


async def test_an_agent_that_reads_nothing_holds_up_nobody(lab):
    hq = await lab.connect("hq")
    alpha = await lab.connect("alpha")
    session = lab.hub.registry.of_site(hq.site_id)
    while session.stream.offer(link_pb2.HubFrame()):
        pass
    await lab.rest.apply(federation([party(9999, "alpha")]))
    await alpha.live.holds(lambda held: len(held) == 1)


def chart_archive(name="fate-own", version="v9.9.9"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        text = f"apiVersion: v1\nname: {name}\nversion: {version}\n".encode()
        entry = tarfile.TarInfo(f"{name}/Chart.yaml")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
        filler = tarfile.TarInfo(f"{name}/README.md")
        body = bytes(range(256)) * 3_000
        filler.size = len(body)
        archive.addfile(filler, io.BytesIO(body))
    return buffer.getvalue()


async def upload(lab, archive):
    return await lab.rest.call(
        "POST", "/api/v1/charts", data=archive, headers={"Content-Type": "application/gzip"}
    )


async def fetch(agent, sha256, offset=0):
    call = agent.stub.FetchBlob(link_pb2.FetchBlobRequest(sha256=sha256, offset=offset))
    return [chunk async for chunk in call]


async def test_a_chart_is_served_by_its_digest_from_any_offset(lab):
    archive = chart_archive()
    answer = await upload(lab, archive)
    assert answer.status == 201
    digest = hashlib.sha256(archive).hexdigest()
    assert answer.body["sha256"] == digest
    agent = await lab.connect("alpha")
    whole = await fetch(agent, digest)
    assert b"".join(chunk.data for chunk in whole) == archive
    assert {chunk.total for chunk in whole} == {len(archive)}
    rest = await fetch(agent, digest, offset=len(archive) - 10)
    assert b"".join(chunk.data for chunk in rest) == archive[-10:]
    assert (await upload(lab, archive)).status == 201, "the same again changes nothing"
    await lab.rest.good("DELETE", f"/api/v1/charts/{digest}")
    for sha256, offset in ((digest, 0), ("x", 0), (digest, 2**64 - 1)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fetch(agent, sha256, offset)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_catalogued_chart_with_another_digest_is_refused(lab):
    answer = await upload(lab, chart_archive("fate", "v1.8.0"))
    assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert "must have digest" in answer.body["detail"]
    assert (await lab.rest.get("/api/v1/charts"))["items"] == []


async def test_a_command_goes_to_the_exchanges_site_and_its_answer_comes_back(lab):
    hq = await lab.good_site("hq")
    await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    asked = asyncio.create_task(
        lab.rest.good("POST", "/api/v1/participants/credit-risk/exchange/probes")
    )
    frame = await hq.agent.live.frame(lambda f: f.HasField("command"))
    result = command_pb2.CommandResult(command_id=frame.command.command_id, succeeded=True)
    result.routes_probed.probes.add(
        key="9999.credit-risk.example.com", state=status_pb2.PROBE_STATE_REACHABLE
    )
    stray = command_pb2.CommandResult(command_id="nobody-asked", succeeded=True)
    await hq.agent.live.send(command_result=stray)
    await hq.agent.live.send(command_result=result)
    answer = await asked
    assert [(p["key"], p["state"]) for p in answer["probes"]] == [
        ("9999.credit-risk.example.com", "Reachable")
    ]


async def test_a_command_to_a_site_that_goes_away_is_answered_at_once(lab):
    hq = await lab.good_site("hq")
    await lab.rest.apply(federation([]))
    await lab.rest.until(
        "/api/v1/participants/credit-risk/exchange",
        lambda one: one["participant"]["phase"] == "Ready",
    )
    asked = asyncio.create_task(
        lab.rest.call("POST", "/api/v1/participants/credit-risk/exchange/probes")
    )
    await hq.agent.live.frame(lambda f: f.HasField("command"))
    await hq.agent.close()
    answer = await asked
    assert (answer.status, answer.body["code"]) == (503, ErrorCode.UNAVAILABLE.value)
