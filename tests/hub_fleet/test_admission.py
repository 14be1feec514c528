from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fedcore import limits
from fedcore.errors import Denied, ErrorCode, FedError, Invalid
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedhub.fleet.admission import (
    CurrentSession,
    PeerIdentity,
    Verdict,
    check_hello,
    decide_admission,
)
from fedproto.agent.v1 import link_pb2

ALIVE_S = 20.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def hello(**changes):
    return link_pb2.Hello(
        **{
            "protocol_min": 1,
            "protocol_max": 1,
            "instance_id": "i1",
            "boot_id": "b1",
            "cluster_uid": "c1",
            "spool_id": "s1",
            **changes,
        }
    )


def site(**changes):
    return Site(
        **{
            "id": "site-1",
            "name": "alpha",
            "state": SiteState.ONLINE,
            "state_since": NOW,
            "created_at": NOW,
            "agent_id": "a1",
            "cluster_uid": "c1",
            "instance_id": "i1",
            **changes,
        }
    )


ME = PeerIdentity(site_id="site-1", agent_id="a1", serial="01")


def admit(hello, identity, site, current_session):
    return decide_admission(hello, identity, site, current_session, alive_limit_s=ALIVE_S)


def test_the_first_session_is_admitted():
    assert admit(hello(), ME, site(cluster_uid=None), None) is Verdict.ADMIT


def test_the_same_instance_takes_over_at_once():
    assert admit(hello(), ME, site(), CurrentSession("i1", 0.0)) is Verdict.ADMIT


def test_another_instance_waits_while_the_older_one_lives():
    newcomer = hello(instance_id="i2")
    assert admit(newcomer, ME, site(), CurrentSession("i1", ALIVE_S)) is Verdict.WAIT


def test_another_instance_takes_over_from_a_silent_one():
    newcomer = hello(instance_id="i2")
    current_session = CurrentSession("i1", ALIVE_S + 0.1)
    assert admit(newcomer, ME, site(), current_session) is Verdict.ADMIT


def test_the_same_identity_from_another_cluster_is_a_duplicate_even_if_nobody_is_connected():
    assert admit(hello(cluster_uid="c2"), ME, site(), None) is Verdict.DUPLICATE


def test_a_revoked_site_is_denied():
    with pytest.raises(Denied):
        admit(hello(), ME, site(state=SiteState.REVOKED), None)


def test_an_agent_that_was_replaced_is_denied():
    with pytest.raises(Denied):
        admit(hello(), ME, site(agent_id="a2"), None)


@pytest.mark.parametrize("field", ["instance_id", "cluster_uid", "spool_id", "boot_id"])
@pytest.mark.parametrize("text", ["", "x" * 65, "a\nb", "ä"])
def test_a_hello_with_a_bad_identifier_is_refused(field, text):
    with pytest.raises(Invalid):
        check_hello(hello(**{field: text}))


def test_protocols_without_overlap_are_refused_with_the_cure():
    newer = limits.PROTOCOL_MAX + 1
    with pytest.raises(FedError) as caught:
        check_hello(hello(protocol_min=newer, protocol_max=newer))
    assert caught.value.code is ErrorCode.PRECONDITION_FAILED
    assert "upgrade" in caught.value.message


def test_the_highest_common_protocol_is_spoken():
    assert check_hello(hello(protocol_max=99)) == limits.PROTOCOL_MAX
