from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.clock import ManualClock
from tests.support.hub import running_test_hub

from fedca.authority import Authority
from fedca.ledger import MemoryLedger
from fedca.names import ProfileName
from fedca.sealing import Sealer
from fedca.settings import AuthoritySettings
from fedcore.errors import Unavailable
from fedhub.server_identity import GrpcCertificates, ServerIdentity
from fedhub.settings import HubSettings, bind_address


@pytest.fixture
async def identity(tmp_path):
    clock = ManualClock()
    authority = await Authority.open(
        ledger=MemoryLedger(),
        sealer=Sealer.from_key_file(tmp_path / "ca.key"),
        clock=clock,
        settings=AuthoritySettings(hub_dns_names=("localhost",)),
    )
    identity = ServerIdentity(authority, clock, Path(tmp_path), ProfileName.HUB)
    await identity.renew_if_due()
    return identity, clock


async def test_a_port_is_given_a_configuration_only_when_it_changed(identity):
    """gRPC crashes when it is given a new one at each of many handshakes at once."""
    hub, clock = identity
    certificates = GrpcCertificates(hub, hub.authority.agents_anchor_pem)
    assert certificates.first() is not None
    assert certificates.fetch() is None
    await hub.renew_if_due()
    assert certificates.fetch() is None
    clock.advance(25 * 24 * 3600)
    await hub.renew_if_due()
    assert certificates.fetch() is not None
    assert certificates.fetch() is None


@pytest.mark.parametrize("field", ["listen", "enrol_listen", "link_listen"])
async def test_a_port_that_is_taken_is_named_with_the_cure(tmp_path, hub_template, field):
    async with running_test_hub(tmp_path / "one", template=hub_template) as lab:
        taken = lab.place.url.removeprefix("https://")
        with pytest.raises(Unavailable) as caught:
            async with running_test_hub(tmp_path / "two", template=hub_template, **{field: taken}):
                pass
    assert taken in caught.value.message
    assert "choose another" in caught.value.message


@pytest.mark.parametrize("text", ["", "8443", "host", "host:", ":1", "host:70000", "host:x"])
def test_a_listen_address_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"no host:port|not between"):
        HubSettings(listen=text)


def test_listen_addresses_may_leave_the_port_to_the_system():
    assert bind_address("[::1]:0") == ("::1", 0)
    assert bind_address("127.0.0.1:8443") == ("127.0.0.1", 8443)
