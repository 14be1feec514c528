"""Removals that are refused, undone or forced, and changes that follow by themselves."""

from __future__ import annotations

import pytest
from tests.fedctl.answers import applied, change, federation, operation, participant, target

from fedctl.errors import ExitCode

pytestmark = pytest.mark.usefixtures("configured")

FED = "/api/v1/federations/credit-risk"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "federation.yaml"
    path.write_text("kind: Federation\nname: credit-risk\nparties:\n  - {id: 9999, site: alpha}\n")
    return str(path)


async def test_a_refused_removal_names_the_party_the_reason_and_the_next_act(fedctl, hub):
    hub.on("DELETE", FED, applied(created=False, changes=[change("removed")]), 202)
    cause = "credit-risk/9999 at alpha is Refused: actions.remove: remove is denied"
    progress = [
        target("Refused", reason="actions.remove", message="remove is denied"),
        target("Ready", name="credit-risk/exchange", site="hq"),
    ]
    failed = {"operation": operation("Failed", message=cause), "progress": progress}
    hub.on("GET", "/api/v1/operations/op-1", failed)
    ended = await fedctl("delete", "fed", "credit-risk", "--cascade", "--wait")
    assert ended.code == ExitCode.NOT_REACHED
    assert f"federation/credit-risk failed: {cause}" in ended.err
    assert "allow it in the policy of site alpha" in ended.err
    assert "takes the removal back" in ended.err


async def test_wait_for_a_federation_to_go_names_who_is_refused(fedctl, hub):
    hub.on("GET", FED, federation(removing=True))
    refused = participant(
        phase="Refused", reason="actions.remove", message="remove is denied", removing=True
    )
    waiting = participant("credit-risk/exchange", "Ready", removing=True, site="hq")
    hub.on("GET", "/api/v1/participants", {"items": [waiting, refused], "next_cursor": None})
    ended = await fedctl("wait", "fed/credit-risk", "--for", "gone")
    assert ended.code == ExitCode.NOT_REACHED
    assert "failed: credit-risk/9999 at alpha is Refused: actions.remove: remove is denied" in (
        ended.err
    )
    assert "allow it in the policy of site alpha" in ended.err


async def test_what_is_taken_back_from_its_removal_is_printed(fedctl, hub, file):
    back = applied(
        created=False,
        changes=[change("taken back", lines=[])],
        restored=["credit-risk/9999", "credit-risk/exchange"],
    )
    hub.on("PUT", FED, back, 202)
    for more in ((), ("--dry-run",)):
        ended = await fedctl("apply", "-f", file, *more)
        assert "credit-risk/9999 at alpha: taken back" in ended.out
        assert "credit-risk/exchange: taken back from its removal" in ended.out
        assert ended.out.count("credit-risk/9999") == 1


async def test_a_preview_says_at_its_end_what_follows_when_addresses_are_known(fedctl, hub, file):
    waits = {
        "participant": "credit-risk/10000",
        "reason": "ExchangeHasNoAddress",
        "message": "the exchange has no address yet",
    }
    unrouted = {
        "participant": "credit-risk/9999",
        "reason": "AddressNotReported: pulsar is missing",
    }
    preview = applied(dry_run=True, operation=None, waiting=[waits], unrouted=[unrouted])
    hub.on("PUT", FED, preview)
    hub.on("GET", FED, federation())
    for command in (("diff", "-f", file), ("apply", "-f", file, "--dry-run")):
        ended = await fedctl(*command)
        assert "more follows" in ended.out
        follows = ended.out.partition("more follows")[2]
        assert "credit-risk/10000 gets its document when the exchange has an address" in follows
        assert "credit-risk/9999 comes into the route tables when its site reports" in follows
        assert "AddressNotReported" in follows
    hub.on("PUT", FED, applied(dry_run=True, operation=None))
    assert "more follows" not in (await fedctl("diff", "-f", file)).out


async def test_what_is_at_a_lost_site_is_removed_by_force(fedctl, hub):
    path = "/api/v1/participants/credit-risk/9999"
    removed = {
        "participant": "credit-risk/9999",
        "site": "alpha",
        "namespace": "fate-9999",
        "leftovers": ["Namespace/fate-9999", "Secret/pulsar-cert"],
    }
    hub.on("DELETE", path, {"items": [removed]})
    ended = await fedctl("delete", "participant", "credit-risk/9999", "--force")
    assert ended.code == ExitCode.OK
    assert hub.calls("DELETE") == [f"{path}?force=true"]
    assert "participant/credit-risk/9999 removed by force" in ended.out
    assert "at alpha there may be left: Namespace/fate-9999, Secret/pulsar-cert" in ended.out
    assert (await fedctl("delete", "site", "alpha", "--force")).code == ExitCode.USAGE


async def test_errors_of_an_invitation_name_the_option(fedctl, hub):
    field_errors = [
        {"path": "name", "message": "must be a DNS-1123 label"},
        {"path": "life_s", "message": "a token lives 1 s to 24 h"},
    ]
    hub.problem(
        "POST", "/api/v1/sites", 422, "invalid", errors=field_errors, detail="name: must be"
    )
    ended = await fedctl("site", "invite", "Alpha_1", "--life", "99d")
    assert ended.code == ExitCode.INVALID
    assert "NAME: must be a DNS-1123 label" in ended.err
    assert "--life: a token lives 1 s to 24 h" in ended.err
    assert "life_s" not in ended.err
