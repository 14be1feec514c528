from __future__ import annotations

import asyncio

import pytest
from tests.support.clock import ManualClock
from tests.support.fakeagent import FakeAgent
from tests.support.hub import running_test_hub

from fedcore.errors import ErrorCode, FedError


async def refused(agent, token, **more):
    with pytest.raises(FedError) as caught:
        await agent.enrol(token, **more)
    return caught.value


async def test_an_invited_site_joins_and_is_online_once_its_agent_connects(lab):
    agent = await lab.join("alpha")
    assert (await lab.rest.get("/api/v1/sites/alpha"))["state"] == "Invited"
    session = await agent.connect()
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert site["state"] == "Online"
    assert (site["agent_id"], site["cluster_uid"]) == (agent.agent_id, "cluster-alpha")
    assert (site["kubernetes_version"], site["node_count"], site["simulated"]) == (
        "v1.30.0",
        3,
        True,
    )
    assert session.welcome.site_name == "alpha"
    kinds = await lab.rest.kinds("&site=alpha")
    assert kinds == ["site.invited", "site.enrolled", "site.online"]


async def test_a_retry_with_the_same_key_gets_the_same_agent_again(lab):
    token = (await lab.rest.invite("alpha"))["token"]
    agent = FakeAgent(lab.place, "alpha")
    first = await agent.enrol(token)
    second = await agent.enrol(token)
    assert second.agent_id == first.agent_id
    assert second.certificate_chain_pem == first.certificate_chain_pem
    assert (await lab.rest.kinds("&site=alpha")).count("site.enrolled") == 1


async def test_a_used_token_with_another_key_is_refused_and_raises_the_alarm(lab):
    token = (await lab.rest.invite("alpha"))["token"]
    await FakeAgent(lab.place, "alpha").enrol(token)
    error = await refused(FakeAgent(lab.place, "thief"), token)
    assert error.code is ErrorCode.UNAUTHENTICATED
    alarm = (await lab.rest.events("&kind=site.token_misused"))[0]
    assert (alarm["severity"], "another key" in alarm["message"]) == ("error", True)
    assert alarm["site_id"] == (await lab.rest.get("/api/v1/sites/alpha"))["id"]


async def test_of_fifty_that_race_for_a_token_exactly_one_wins(lab):
    token = (await lab.rest.invite("alpha"))["token"]
    agents = [FakeAgent(lab.place, f"racer-{n}") for n in range(50)]
    outcomes = await asyncio.gather(
        *(agent.enrol(token) for agent in agents), return_exceptions=True
    )
    winners = [one for one in outcomes if not isinstance(one, BaseException)]
    losers = [one for one in outcomes if isinstance(one, FedError)]
    assert (len(winners), len(losers)) == (1, 49)
    assert {error.code for error in losers} == {ErrorCode.UNAUTHENTICATED}
    site = await lab.rest.get("/api/v1/sites/alpha")
    assert site["agent_id"] == winners[0].agent_id


async def test_unknown_expired_and_voided_tokens_are_refused_with_the_same_words(
    tmp_path, hub_template
):
    clock = ManualClock()
    async with running_test_hub(tmp_path, template=hub_template, clock=clock) as lab:
        agent = FakeAgent(lab.place, "alpha")
        expired = (await lab.rest.invite("alpha", life_s=60))["token"]
        voided = (await lab.rest.invite("alpha", life_s=600))["token"]
        await lab.rest.invite("alpha")
        clock.advance(61)
        errors = [
            await refused(agent, token) for token in (expired, voided, "flm_join_x", "", "\x00ä")
        ]
        assert {(e.code, e.message) for e in errors} == {(errors[0].code, errors[0].message)}
        assert errors[0].code is ErrorCode.UNAUTHENTICATED
        assert (await lab.rest.get("/api/v1/sites/alpha"))["agent_id"] is None


async def test_a_bad_request_names_the_field_and_burns_no_token(lab):
    token = (await lab.rest.invite("alpha"))["token"]
    agent = FakeAgent(lab.place, "alpha", cluster_uid="x" * 65)
    error = await refused(agent, token)
    assert (error.code, "cluster_uid" in error.message) == (ErrorCode.INVALID, True)
    agent.cluster_uid = "cluster-alpha"
    await agent.enrol(token)


async def test_an_agent_that_joins_anew_takes_the_place_of_the_one_before(lab):
    old = await lab.join("alpha")
    token = (await lab.rest.invite("alpha"))["token"]
    await FakeAgent(lab.place, "alpha").enrol(token)
    with pytest.raises(FedError) as caught:
        await old.connect()
    assert caught.value.code is ErrorCode.DENIED
    assert "join again" in caught.value.message


async def test_tokens_and_keys_are_nowhere_in_the_database(lab, tmp_path):
    headers = {"Idempotency-Key": "one"}
    body = {"name": "alpha"}
    path = "/api/v1/sites"
    token = (await lab.rest.good("POST", path, body=body, headers=headers))["token"]
    again = (await lab.rest.good("POST", path, body=body, headers=headers))["token"]
    assert again != token, "an answer with a secret is not kept, but made again"
    await FakeAgent(lab.place, "alpha", cluster_uid="c").enrol(again)
    stored = b"".join(file.read_bytes() for file in (tmp_path / "hub").glob("hub.sqlite*"))
    assert b"PRIVATE KEY" not in stored
    for secret in (token, again, lab.place.token):
        assert secret.encode() not in stored


@pytest.mark.parametrize("csr", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"x" * 20_000])
async def test_a_senseless_csr_is_refused_and_burns_no_token(lab, csr):
    token = (await lab.rest.invite("alpha"))["token"]
    error = await refused(FakeAgent(lab.place, "alpha"), token, csr_pem=csr)
    assert error.code is ErrorCode.INVALID
    await FakeAgent(lab.place, "alpha").enrol(token)
