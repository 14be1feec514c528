from __future__ import annotations

import io
import json
import sys

import pytest
from aiohttp import web
from tests.fedctl.answers import (
    applied,
    change,
    federation,
    operation,
    participant,
    participant_detail,
    site,
    step,
    target,
)

from fedctl.errors import ExitCode

pytestmark = pytest.mark.usefixtures("configured")


FED = "/api/v1/federations/credit-risk"
OP = "/api/v1/operations/op-1"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "federation.yaml"
    path.write_text("kind: Federation\nname: credit-risk\nparties:\n  - {id: 9999, site: alpha}\n")
    return str(path)


async def test_apply_sends_the_file_as_json_and_tells_what_changes_where(fedctl, hub, file):
    waiting = {"participant": "credit-risk/10000", "reason": "NoExchange", "message": "wait for it"}
    hub.on("PUT", FED, applied(waiting=[waiting]), 202)
    ended = await fedctl("apply", "-f", file)
    assert ended.code == ExitCode.OK
    assert json.loads(hub.bodies[0])["parties"] == [{"id": 9999, "site": "alpha"}]
    assert "federation/credit-risk created" in ended.out
    assert "credit-risk/9999 at alpha: created" in ended.out
    assert "credit-risk/10000 waits (NoExchange): wait for it" in ended.out
    assert "operation/op-1" in ended.out


async def test_apply_reads_standard_input(fedctl, hub, monkeypatch):

    hub.on("PUT", FED, applied(created=False, operation=None, changes=[]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"name: credit-risk\n")))
    ended = await fedctl("apply", "-f", "-")
    assert "federation/credit-risk unchanged" in ended.out


async def test_dry_run_shows_the_diff_and_asks_for_nothing_else(fedctl, hub, file):
    hub.on("PUT", FED, applied(dry_run=True, operation=None))
    ended = await fedctl("apply", "-f", file, "--dry-run")
    assert hub.calls() == [f"{FED}?dry_run=true"]
    assert "+namespace: fate-9999" in ended.out
    assert "(dry run)" in ended.out


async def test_errors_of_the_hub_carry_the_position_in_the_file(fedctl, hub, file):
    field_error = {"path": "parties.0.id", "message": "party id 0 is not between 1 and 999999"}
    hub.problem("PUT", FED, 422, "invalid", errors=[field_error], detail="cannot be applied")
    ended = await fedctl("apply", "-f", file)
    assert ended.code == ExitCode.INVALID
    assert f"{file}:4:10: parties.0.id: party id 0 is not between" in ended.err
    assert "fedctl explain federation" in ended.err


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name: x\nname: y\n", "written twice"),
        ("kind: Pod\nname: x\n", "must be Federation"),
        ("kind: Federation\n", "name the federation"),
        ("name: 5\n", "name the federation"),
        ("name: x\n---\nname: x\n", "in this file twice"),
    ],
)
async def test_a_bad_file_is_refused_before_anything_is_sent(fedctl, hub, tmp_path, text, part):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for command in ("apply", "diff"):
        ended = await fedctl(command, "-f", str(path))
        assert ended.code == ExitCode.INVALID
        assert part in ended.err
        assert "bad.yaml:" in ended.err
    assert hub.requests == []


async def test_a_file_that_is_not_there_is_a_usage_error(fedctl):
    ended = await fedctl("apply", "-f", "/no/such.yaml")
    assert ended.code == ExitCode.USAGE
    assert "No such file" in ended.err


async def test_several_documents_are_all_checked_before_the_first_is_applied(fedctl, hub, tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("name: one\n---\nname: two\n")
    hub.on("PUT", "/api/v1/federations/one", applied(federation=federation("one")))
    hub.problem("PUT", "/api/v1/federations/two", 422, "invalid")
    ended = await fedctl("apply", "-f", str(path))
    assert ended.code == ExitCode.INVALID
    assert all("dry_run=true" in call for call in hub.calls("PUT"))


async def test_diff_exits_0_without_changes_1_with_some_and_above_on_errors(fedctl, hub, file):
    hub.on("GET", FED, federation())
    hub.on("PUT", FED, applied(created=False, dry_run=True, operation=None, changes=[]))
    assert (await fedctl("diff", "-f", file)).code == ExitCode.OK
    hub.on("PUT", FED, applied(created=False, dry_run=True, operation=None))
    ended = await fedctl("diff", "-f", file)
    assert ended.code == ExitCode.NOT_REACHED
    assert "credit-risk/9999 at alpha: created" in ended.out
    changed = federation(intent={"name": "credit-risk", "repair": "report"})
    hub.on("PUT", FED, applied(created=False, operation=None, changes=[], federation=changed))
    assert (await fedctl("diff", "-f", file)).code == ExitCode.NOT_REACHED
    hub.problem("PUT", FED, 409, "conflict")
    assert (await fedctl("diff", "-f", file)).code > 1


def operations(hub, *details):
    """Answer an operation's states one after the other, the last one for ever."""
    answers = list(details)

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(answers.pop(0) if len(answers) > 1 else answers[0])

    hub.handle("GET", OP, answer)


def detail(state: str, *targets, **more):
    return {"operation": operation(state, **more), "progress": list(targets)}


async def test_apply_waits_with_steps_until_every_participant_is_there(fedctl, hub, file):
    hub.on("PUT", FED, applied(), 202)
    steps = [step("namespace", "Done"), step("install", "Running"), step("verify", "Pending")]
    operations(
        hub,
        detail("Running", target("Waiting", reason="NoExchange", message="no address yet")),
        detail("Running", target("Deploying", steps=steps)),
        detail("Stalled", target(site_state="Offline"), message="waiting for site alpha"),
        detail("Succeeded", target("Ready", done=True)),
    )
    ended = await fedctl("apply", "-f", file, "--wait")
    assert ended.code == ExitCode.OK
    assert "credit-risk/9999 at alpha: Waiting - NoExchange: no address yet" in ended.err
    assert "Deploying 1/3 - install" in ended.err
    assert "(site Offline)" in ended.err
    assert "stalled: waiting for site alpha" in ended.err
    assert "credit-risk/9999 at alpha: Ready" in ended.err


async def test_a_failed_operation_ends_with_its_cause_and_the_hint(fedctl, hub):
    operations(
        hub,
        detail(
            "Failed",
            target("Failed", reason="InstallFailed", message="job failed"),
            message="InstallFailed: job failed",
        ),
    )
    finding = {
        "code": "ImagePullFailed",
        "severity": "error",
        "message": "no tag",
        "hint": "fix it",
    }
    hub.on(
        "GET",
        "/api/v1/participants/credit-risk/9999",
        participant_detail(participant(phase="Failed"), findings=[finding]),
    )
    ended = await fedctl("wait", "--operation", "op-1")
    assert ended.code == ExitCode.NOT_REACHED
    assert "credit-risk/9999 at alpha is Failed: InstallFailed: job failed" in ended.err
    assert "ImagePullFailed: no tag -> fix it" in ended.err
    assert "`fedagent retry id-9999` at alpha" in ended.err


async def test_an_old_failure_is_not_taken_for_the_outcome_of_a_new_change(fedctl, hub):
    operations(
        hub,
        detail("Running", target("Failed", generation=2, observed_generation=1, message="old")),
        detail("Succeeded", target("Ready", generation=2, observed_generation=2, done=True)),
    )
    ended = await fedctl("wait", "--operation", "operation/op-1")
    assert ended.code == ExitCode.OK
    assert "old" not in ended.err
    assert "Pending" in ended.err


async def test_a_superseded_operation_is_not_a_success(fedctl, hub):
    operations(hub, detail("Superseded"))
    ended = await fedctl("wait", "--operation", "op-1")
    assert ended.code == ExitCode.NOT_REACHED
    assert "superseded" in ended.err


async def test_the_time_limit_ends_a_wait_with_what_stands_out(fedctl, hub):
    operations(hub, detail("Running", target("Deploying", reason="PullingImage")))
    ended = await fedctl("wait", "--operation", "op-1", "--timeout", "1s")
    assert ended.code == ExitCode.TIMEOUT
    assert "credit-risk/9999 at alpha is Deploying: PullingImage" in ended.err


async def test_a_hub_that_restarts_during_a_wait_is_waited_for(fedctl, hub):
    calls = []

    async def answer(_request: web.Request) -> web.Response:
        calls.append(1)
        if len(calls) <= 8:
            return web.json_response(
                {"code": "unavailable", "detail": "starting", "retryable": True}, status=503
            )
        return web.json_response(detail("Succeeded"))

    hub.handle("GET", OP, answer)
    ended = await fedctl("wait", "--operation", "op-1")
    assert ended.code == ExitCode.OK
    assert "starting; trying again" in ended.err


async def test_wait_for_a_federation_needs_every_participant_at_its_present_generation(fedctl, hub):
    hub.on("GET", FED, federation())
    answers = [
        participant(generation=2, observed_generation=1),
        participant("credit-risk/exchange", "Degraded"),
        participant(generation=2, observed_generation=2),
    ]

    async def answer(_request: web.Request) -> web.Response:
        item = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.json_response({"items": [item], "next_cursor": None})

    hub.handle("GET", "/api/v1/participants", answer)
    ended = await fedctl("wait", "federation/credit-risk")
    assert ended.code == ExitCode.OK
    assert len(answers) == 1


async def test_wait_for_a_refused_participant_ends_with_the_rule(fedctl, hub):
    item = participant(phase="Refused", reason="NamespaceNotAllowed", message="rule namespaces")
    hub.on("GET", "/api/v1/participants/credit-risk/9999", participant_detail(item))
    ended = await fedctl("wait", "participant", "credit-risk/9999")
    assert ended.code == ExitCode.NOT_REACHED
    assert "NamespaceNotAllowed: rule namespaces" in ended.err
    assert "the site's own policy forbids it" in ended.err


async def test_wait_until_gone_succeeds_when_there_is_nothing(fedctl):
    assert (await fedctl("wait", "federation/credit-risk", "--for", "gone")).code == ExitCode.OK
    ended = await fedctl("wait", "federation/credit-risk")
    assert ended.code == ExitCode.NOT_FOUND


async def test_wait_needs_something_that_can_become_ready(fedctl):
    assert (await fedctl("wait")).code == ExitCode.USAGE
    assert (await fedctl("wait", "chart/x")).code == ExitCode.USAGE
    assert (await fedctl("wait", "site/a", "--timeout", "0s")).code == ExitCode.USAGE


async def test_delete_with_cascade_waits_until_everything_is_gone(fedctl, hub):
    removal = applied(created=False, changes=[change("removed")])
    hub.on("DELETE", FED, removal, 202)
    operations(hub, detail("Running", target("Removing")), detail("Succeeded", target(done=True)))
    ended = await fedctl("delete", "federation", "credit-risk", "--cascade", "--wait")
    assert ended.code == ExitCode.OK
    assert hub.calls("DELETE") == [f"{FED}?cascade=true&dry_run=false"]
    assert "federation/credit-risk is being removed" in ended.out
    assert "Removing" in ended.err


async def test_delete_without_cascade_shows_what_would_go(fedctl, hub):
    hub.problem(
        "DELETE", FED, 409, "conflict", detail="removing credit-risk removes party 9999 at alpha"
    )
    ended = await fedctl("delete", "fed/credit-risk")
    assert ended.code == ExitCode.CONFLICT
    assert "party 9999 at alpha" in ended.err


async def test_sites_endpoints_and_charts_are_deleted_by_their_names(fedctl, hub):
    async def nothing(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    digest = "ab" * 32
    chart = {"sha256": digest, "name": "fate", "version": "v1.8.0"}
    hub.on("GET", "/api/v1/charts", {"items": [chart], "next_cursor": None})
    for path in ("sites/alpha", "endpoints/alpha", f"charts/{digest}"):
        hub.handle("DELETE", f"/api/v1/{path}", nothing)
    assert (await fedctl("delete", "site", "alpha")).out == "site/alpha removed\n"
    assert (await fedctl("delete", "endpoint/alpha")).code == ExitCode.OK
    assert (await fedctl("delete", "chart", "abab")).code == ExitCode.OK
    ended = await fedctl("delete", "participant", "credit-risk/9999")
    assert ended.code == ExitCode.USAGE
    assert "participants leave when the file" in ended.err
    assert "--force" in ended.err


async def test_an_invitation_shows_the_command_of_the_site(fedctl, hub):
    body = {
        "site": site(state="Invited"),
        "token": "tok",
        "expires_at": "2026-11-24T08:15:00Z",
        "enrol_address": "127.0.0.1:8444",
        "ca_fingerprint": "sha256:ab",
        "join_command": "fedagent join 127.0.0.1:8444 --token tok --ca-fingerprint sha256:ab"
        " --state fedagent-state --kubeconfig ~/.kube/config",
    }
    hub.on("POST", "/api/v1/sites", body, 201)
    ended = await fedctl("site", "invite", "alpha", "--life", "1h", "--label", "region=north")
    assert ended.code == ExitCode.OK
    assert body["join_command"] in ended.out
    assert "fedagent run --state fedagent-state --kubeconfig ~/.kube/config" in ended.out
    assert "--state" in ended.out.partition(body["join_command"])[2]
    assert "inside the cluster" in ended.out
    request_body = {"name": "alpha", "life_s": 3600, "labels": {"region": "north"}}
    assert json.loads(hub.bodies[0]) == request_body
    assert (await fedctl("site", "invite", "alpha", "--label", "x")).code == ExitCode.USAGE
    assert (await fedctl("site", "invite", "alpha", "--life", "x")).code == ExitCode.USAGE


async def test_a_chart_is_sent_as_it_is(fedctl, hub, tmp_path):
    archive = tmp_path / "fate.tgz"
    archive.write_bytes(b"\x1f\x8b rest")
    answer = {"sha256": "ab", "name": "fate", "version": "v1.8.0"}
    hub.on("POST", "/api/v1/charts", answer, 201)
    ended = await fedctl("chart", "upload", str(archive))
    assert "chart/ab uploaded: fate v1.8.0" in ended.out
    assert hub.bodies[0] == b"\x1f\x8b rest"
    assert hub.requests[0].headers["Content-Type"] == "application/gzip"
    archive.write_bytes(b"plain")
    ended = await fedctl("chart", "upload", str(archive))
    assert ended.code == ExitCode.INVALID
    assert "no gzip archive" in ended.err


async def test_what_goes_on_the_way_keeps_its_name_in_the_progress(fedctl, hub):
    gone = target("Gone", name="id-9999", site="", site_state="", done=True)
    operations(hub, detail("Running", target("Removing")), detail("Succeeded", gone))
    ended = await fedctl("wait", "--operation", "op-1")
    assert "credit-risk/9999 at alpha: Gone" in ended.err
    assert "id-9999" not in ended.err


async def test_apply_of_an_unchanged_file_waits_for_what_still_goes_on(fedctl, hub, file):
    hub.on("PUT", FED, applied(created=False, operation=None, changes=[]))
    hub.on("GET", FED, federation())
    answers = [participant(phase="Deploying"), participant()]
    hub.on("GET", "/api/v1/participants/credit-risk/9999", participant_detail(answers[0]))

    async def answer(_request: web.Request) -> web.Response:
        item = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.json_response({"items": [item], "next_cursor": None})

    hub.handle("GET", "/api/v1/participants", answer)
    ended = await fedctl("apply", "-f", file, "--wait")
    assert ended.code == ExitCode.OK
    assert "credit-risk/9999 at alpha: Deploying" in ended.err
    assert "federation/credit-risk is ready" in ended.out


@pytest.fixture
def terminal(monkeypatch):
    """Let the command take its streams for a terminal, and answer its question."""

    def answer(text: str) -> None:
        class Keyboard(io.TextIOWrapper):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stdin", Keyboard(io.BytesIO(text.encode())))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    return answer


async def test_on_a_terminal_what_removes_something_is_asked_for_and_a_no_changes_nothing(
    fedctl, hub, file, terminal
):
    hub.on("PUT", FED, applied(created=False, changes=[change("removed")]))
    hub.on("GET", FED, federation(), ETag='"3"')
    terminal("n\n")
    ended = await fedctl("apply", "-f", file)
    assert ended.code == ExitCode.NOT_REACHED
    assert "credit-risk/9999 at alpha: removed" in ended.out
    assert "nothing was changed" in ended.err
    assert hub.calls("PUT") == [f"{FED}?dry_run=true"]


async def test_a_yes_holds_for_the_revision_that_was_shown(fedctl, hub, file, terminal):
    hub.on("PUT", FED, applied(created=False, changes=[change("removed")]))
    hub.on("GET", FED, federation(), ETag='"3"')
    terminal("y\n")
    assert (await fedctl("apply", "-f", file)).code == ExitCode.OK
    assert hub.calls("PUT") == [f"{FED}?dry_run=true", f"{FED}?dry_run=false"]
    assert hub.requests[-1].headers["If-Match"] == '"3"'


async def test_what_removes_nothing_or_is_given_y_is_not_asked_for(fedctl, hub, file, terminal):
    hub.on("PUT", FED, applied(created=False, changes=[change("removed")]))
    terminal("")
    assert (await fedctl("apply", "-f", file, "-y")).code == ExitCode.OK
    hub.on("PUT", FED, applied(created=False, changes=[change("changed")]))
    assert (await fedctl("apply", "-f", file)).code == ExitCode.OK


async def test_a_removal_on_a_terminal_is_asked_for(fedctl, hub, terminal):
    terminal("n\n")
    ended = await fedctl("delete", "site", "alpha")
    assert ended.code == ExitCode.NOT_REACHED
    assert hub.calls("DELETE") == []
