from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from tests.support.hub import federation, party

from fedca.keys import make_private_key
from fedca.names import ProfileName
from fedcore import limits
from fedcore.errors import ErrorCode, FedError
from fedhub.domain.models import SiteCertificate
from fedhub.store import certificates


@pytest.fixture
async def party_site(lab):
    await lab.good_site("hq")
    alpha = await lab.good_site("alpha")
    applied = await lab.rest.apply(federation([party(9999, "alpha")]))
    await lab.rest.operation_ends(applied["operation"]["id"])
    return alpha


def own(site):
    return next(d for d in site.agent.held.values() if d.HasField("participant"))


async def refusal(call):
    with pytest.raises(FedError) as caught:
        await call
    return caught.value


async def test_a_certificate_that_the_document_lists_is_issued_with_the_documents_names(
    lab, party_site
):
    document = own(party_site)
    wish = document.participant.certificates[0]
    answer = await party_site.agent.issue(document.resource_id, wish.secret_name)
    leaf = x509.load_pem_x509_certificates(answer.certificate_chain_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(wish.dns_names)
    listed = await lab.rest.get("/api/v1/certificates?participant=credit-risk/9999")
    assert [(c["serial"], c["secret_name"], c["superseded"]) for c in listed["items"]] == [
        (answer.serial, wish.secret_name, False)
    ]
    assert (await lab.rest.kinds("&kind=certificate.issued")) == ["certificate.issued"]


async def test_the_next_certificate_of_a_secret_supersedes_the_one_before(lab, party_site):
    document = own(party_site)
    name = document.participant.certificates[0].secret_name
    first = await party_site.agent.issue(document.resource_id, name)
    second = await party_site.agent.issue(document.resource_id, name)
    listed = await lab.rest.get("/api/v1/certificates?participant=credit-risk/9999")
    assert {c["serial"]: c["superseded"] for c in listed["items"]} == {
        first.serial: True,
        second.serial: False,
    }


async def test_what_the_document_does_not_list_is_not_issued(lab, party_site):
    document = own(party_site)
    for resource_id, name in (
        (document.resource_id, "another-secret"),
        (document.resource_id, ""),
        (next(k for k in party_site.agent.held if k != document.resource_id), "pulsar-cert"),
    ):
        error = await refusal(party_site.agent.issue(resource_id, name))
        assert error.code is ErrorCode.DENIED
    listed = await lab.rest.get("/api/v1/certificates?participant=credit-risk/9999")
    assert listed["items"] == []


async def test_a_participant_that_is_to_go_gets_no_certificate(lab, party_site):
    document = own(party_site)
    await party_site.stop()
    await lab.rest.apply(federation([]))
    name = document.participant.certificates[0].secret_name
    await party_site.agent.live.document(document.resource_id, document.generation + 1)
    error = await refusal(party_site.agent.issue(document.resource_id, name))
    assert error.code is ErrorCode.DENIED


async def test_a_key_serves_one_purpose_only(lab, party_site):
    document = own(party_site)
    name = document.participant.certificates[0].secret_name
    error = await refusal(party_site.agent.issue(document.resource_id, name, party_site.agent.key))
    assert error.code is ErrorCode.DENIED


async def test_an_agent_renews_with_a_new_key_and_never_with_the_old_one(lab):
    agent = await lab.connect("alpha")
    error = await refusal(agent.renew(agent.key))
    assert error.code is ErrorCode.DENIED
    key = make_private_key()
    answer = await agent.renew(key)
    agent.key, agent.chain_pem = key, answer.certificate_chain_pem
    await agent.reconnect()
    await agent.live.beat()
    assert "certificate.renewed" in await lab.rest.kinds("&site=alpha")


async def test_an_old_key_used_an_hour_after_the_new_one_is_a_clone_and_raises_the_alarm(timed_lab):
    lab, clock = timed_lab
    agent = await lab.connect("alpha")
    old = (agent.key, agent.chain_pem)
    key = make_private_key()
    clock.advance(10)
    answer = await agent.renew(key)
    agent.key, agent.chain_pem = key, answer.certificate_chain_pem
    await agent.reconnect()
    clock.advance(3_700)
    await agent.close()
    agent.key, agent.chain_pem = old
    for call in (agent.open(), agent.renew(make_private_key())):
        error = await refusal(call)
        assert error.code is ErrorCode.DENIED
    assert len(await lab.rest.events("&kind=site.superseded_key")) == 1


async def test_a_renewal_whose_answer_got_lost_locks_nobody_out(timed_lab):
    lab, clock = timed_lab
    agent = await lab.connect("alpha")
    await agent.renew(make_private_key())
    clock.advance(7_200)
    await agent.reconnect()
    answer = await agent.renew(make_private_key())
    assert answer.serial


def test_profiles_are_those_that_documents_may_name():
    assert {"pulsar", "ats"} <= {profile.value for profile in ProfileName}


async def test_a_site_gets_so_many_certificates_a_day_and_no_more(lab, party_site):
    document = own(party_site)
    agent = party_site.agent
    now = lab.hub.clock.now()
    async with lab.hub.database.begin() as db:
        for number in range(limits.MAX_SITE_CERTIFICATES_PER_DAY):
            await certificates.add(
                db,
                SiteCertificate(
                    serial=f"{number:x}",
                    profile="pulsar",
                    site_id=agent.site_id,
                    resource_id=document.resource_id,
                    secret_name="pulsar-cert",
                    dns_names=(),
                    not_before=now,
                    not_after=now + timedelta(days=1),
                    issued_at=now - timedelta(hours=25 if number == 0 else 1),
                ),
            )
    name = document.participant.certificates[0].secret_name
    for call in (
        agent.issue(document.resource_id, name),
        agent.renew(make_private_key()),
    ):
        error = await refusal(call)
        assert error.code is ErrorCode.TOO_MANY


async def test_what_a_gone_participant_had_is_revoked_and_known_by_its_name(lab, party_site):
    document = own(party_site)
    name = document.participant.certificates[0].secret_name
    issued = await party_site.agent.issue(document.resource_id, name)
    await lab.rest.apply(federation([]))
    listing = "/api/v1/certificates?participant=credit-risk/9999"
    listed = await lab.rest.until(listing, lambda found: found["items"][0]["revoked_at"])
    assert [(c["serial"], c["resource"]) for c in listed["items"]] == [
        (issued.serial, "credit-risk/9999")
    ]
    assert await lab.hub.authority.is_revoked(issued.serial)
    (revoked,) = await lab.rest.events("&kind=certificate.revoked")
    assert revoked["facts"]["reason"] == "cessation_of_operation"
    assert "credit-risk/9999" in revoked["message"]
    in_force = (await lab.rest.get("/api/v1/certificates"))["items"]
    assert {c["profile"] for c in in_force if c["revoked_at"] is None} == {"agent"}
