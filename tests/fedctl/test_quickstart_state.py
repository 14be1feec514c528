"""What the quickstart decides from its state folder and the hub, and faults of that folder."""

from __future__ import annotations

import errno
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from fedctl.client import connect
from fedctl.config import Overrides, load
from fedctl.errors import CliError, ExitCode
from fedctl.quickstart import cli, later_start
from fedctl.quickstart.example import (
    ExampleNote,
    read_note,
    settle_example,
    with_party_at_each,
)
from fedctl.quickstart.membership import (
    Membership,
    SitePlan,
    check_count,
    check_same_hub,
    plan_site,
)
from fedctl.quickstart.options import parse_options, site_names
from fedctl.quickstart.readiness import Readiness
from fedctl.quickstart.run import names_of_all
from fedctl.quickstart.state_dir import StateDir, storage_errors
from fedctl.quickstart.step_log import StepLog
from fedctl.quickstart.summary import participant_lines, route_summary
from fedctl.wait_status import Verdict
from fedhub.domain.federation import FederationIntent

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "deploy" / "quickstart"
EXAMPLE = ROOT / "deploy" / "examples" / "federation.yaml"
FIRST = ("hq", "alpha", "beta")


def at_hub(state: str, cluster: str | None = "uid") -> dict[str, object]:
    return {"state": state, "cluster_uid": cluster}


@pytest.mark.parametrize(
    ("view", "has_identity", "runs"),
    [
        (None, False, "cluster, joins"),
        (None, True, ""),
        (at_hub("Invited", None), False, "cluster, joins"),
        (at_hub("Invited", None), True, "cluster, joins"),
        (at_hub("Invited"), False, "cluster, joins"),
        (at_hub("Invited"), True, "cluster, agent"),
        (at_hub("Revoked"), True, "cluster"),
        (at_hub("Revoked"), False, "cluster"),
        (at_hub("Offline"), True, "cluster, agent"),
        (at_hub("Online"), False, "cluster"),
    ],
)
def test_what_runs_of_a_site_follows_from_the_hub_and_from_its_identity(view, has_identity, runs):
    plan = plan_site("beta", view, has_identity=has_identity)
    agent = "joins" if plan.joins else "agent"
    assert runs == ", ".join(
        word for word, is_so in (("cluster", plan.has_cluster), (agent, plan.has_agent)) if is_so
    )
    assert bool(plan.cure) is not plan.has_agent


@pytest.mark.parametrize(
    ("kept", "count", "names"),
    [
        ((), None, FIRST),
        ((), 4, (*FIRST, "site-4")),
        (FIRST, None, FIRST),
        ((*FIRST, "site-4"), None, (*FIRST, "site-4")),
        (FIRST, 4, (*FIRST, "site-4")),
        ((*FIRST, "site-4"), 3, (*FIRST, "site-4")),
        (("hq",), None, ("hq",)),
    ],
)
def test_sites_are_those_of_last_time_and_what_is_added(kept, count, names):
    assert names_of_all(kept, count) == names


def membership(*plans: SitePlan) -> Membership:
    return Membership(plans, ())


def test_fewer_sites_than_there_are_is_refused_with_the_cure():
    with pytest.raises(CliError, match="would leave out site-4") as caught:
        check_count(3, membership(*map(SitePlan, (*FIRST, "site-4"))))
    assert "leave --sites out" in caught.value.hint


def test_a_deleted_site_does_not_count_as_left_out():
    deleted = SitePlan("site-4", has_cluster=False, left_out="was deleted")
    check_count(3, membership(*map(SitePlan, FIRST), deleted))
    check_count(None, membership(*map(SitePlan, (*FIRST, "site-4"))))


def test_agents_of_a_hub_whose_folder_is_gone_are_not_joined_to_a_new_one(tmp_path):
    state_dir = StateDir(tmp_path)
    check_same_hub(state_dir, FIRST)
    state_dir.identity("hq").parent.mkdir(parents=True)
    state_dir.identity("hq").touch()
    with pytest.raises(CliError, match="the agents of hq joined another hub"):
        check_same_hub(state_dir, FIRST)
    state_dir.hub.mkdir()
    state_dir.hub_root_certificate.touch()
    check_same_hub(state_dir, FIRST)


@pytest.mark.parametrize("count", [3, 5, 50])
def test_each_further_site_gets_a_party_of_the_example(count):
    content = with_party_at_each(EXAMPLE.read_bytes(), site_names(count))
    intent = FederationIntent.model_validate(yaml.safe_load(content))
    assert intent.sites() == frozenset(site_names(count))
    assert len(intent.parties) == count - 1


def options_of(*arguments: str):
    return parse_options([f"--stock-example={EXAMPLE}", *arguments])


@pytest.fixture
async def client(configured, timing):
    async with connect(load(Overrides(config=configured)), timing) as client:
        yield client


@pytest.fixture
def state_dir(tmp_path) -> StateDir:
    return StateDir(tmp_path / "state")


FEDERATIONS = "/api/v1/federations"


def kept(*names: str) -> dict[str, object]:
    items = [{"name": name, "revision": 4, "party_count": 2, "removing": False} for name in names]
    return {"items": items, "next_cursor": None}


async def test_the_example_is_made_once_and_never_again(hub, client, state_dir):
    hub.on("GET", FEDERATIONS, kept())
    hub.on("POST", FEDERATIONS, {"federation": {"revision": 1}}, 202)
    sites = (*FIRST, "site-4")
    note = await settle_example(options_of(), state_dir, client, sites, lambda _: None)
    assert note == ExampleNote("credit-risk", 1)
    assert state_dir.example.read_bytes() == with_party_at_each(EXAMPLE.read_bytes(), sites)
    count = len(hub.requests)
    again = await settle_example(options_of(), state_dir, client, sites, lambda _: None)
    assert again == note == read_note(state_dir.example_note)
    assert len(hub.requests) == count


async def test_an_apply_that_was_cut_off_before_its_note_is_not_repeated(hub, client, state_dir):
    hub.on("GET", FEDERATIONS, kept("credit-risk"))
    note = await settle_example(options_of(), state_dir, client, FIRST, lambda _: None)
    assert note == ExampleNote("credit-risk", 0)
    assert hub.calls("POST") == []


async def test_no_example_at_the_first_start_is_none_at_the_next(hub, client, state_dir):
    for options in (options_of("--no-example"), options_of()):
        note = await settle_example(options, state_dir, client, FIRST, lambda _: None)
        assert note == ExampleNote()
    assert hub.requests == []


async def test_an_example_that_is_refused_is_tried_again_by_the_next_start(hub, client, state_dir):
    hub.on("GET", FEDERATIONS, kept())
    hub.problem("POST", FEDERATIONS, 422, "invalid")
    with pytest.raises(CliError):
        await settle_example(options_of(), state_dir, client, FIRST, lambda _: None)
    assert read_note(state_dir.example_note) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [("kind: A\n---\nkind: B\n", "holds 2 documents"), (None, "cannot be read")],
)
async def test_an_example_that_is_none_is_named(client, state_dir, tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    options = options_of(f"--example={path}")
    with pytest.raises(CliError, match=message):
        await settle_example(options, state_dir, client, FIRST, lambda _: None)


async def test_an_example_of_ones_own_gets_no_further_parties(hub, client, state_dir):
    hub.on("GET", FEDERATIONS, kept())
    hub.on("POST", FEDERATIONS, {"federation": {"revision": 1}}, 202)
    options = options_of(f"--example={EXAMPLE}")
    await settle_example(options, state_dir, client, (*FIRST, "site-4"), lambda _: None)
    assert state_dir.example.read_bytes() == EXAMPLE.read_bytes()


def federation(**more: object) -> dict[str, object]:
    return {"name": "credit-risk", "revision": 1, "party_count": 2, "removing": False, **more}


@pytest.mark.parametrize(
    ("federations", "part", "has_way_back"),
    [
        ([federation()], "revision 1, 2 parties, as the example made it", False),
        ([federation(revision=3)], "revision 3, 2 parties (the example was revision 1)", True),
        ([federation(removing=True)], "being removed and not made again", True),
        ([federation(name="mine", party_count=1)], "mine: revision 1, 1 party", True),
        ([], "credit-risk was removed and is not made again", True),
    ],
)
def test_a_later_start_says_what_it_leaves_and_the_way_back(
    state_dir, capsys, federations, part, has_way_back
):
    later_start.print_kept(state_dir, ExampleNote("credit-risk", 1), federations)
    out = capsys.readouterr().out
    assert part in out
    assert (f"apply -f {state_dir.example}" in out) is has_way_back


NOW = datetime.now(UTC)


def standing(name: str, site: str, phase: str) -> dict[str, object]:
    return {"name": name, "site": site, "phase": phase, "observed_generation": 1, "generation": 1}


class StoppedClock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def participants(hub):
    """Set the participants of federation f, each with the time of its last report."""

    def set_them(*items: dict[str, object], reported_at: datetime = NOW) -> None:
        hub.on("GET", "/api/v1/federations/f", {})
        hub.on("GET", "/api/v1/participants", {"items": list(items), "next_cursor": None})
        for item in items:
            detail = {"reported_at": reported_at.isoformat(), "steps": []}
            hub.on("GET", f"/api/v1/participants/{item['name']}", detail)

    return set_them


async def test_what_was_reported_in_an_earlier_run_is_not_ready_now(client, participants):
    readiness = Readiness(["f"], FIRST, NOW)
    participants(standing("f/1", "hq", "Ready"), reported_at=NOW - timedelta(seconds=9))
    status = await readiness(client)
    assert (status.verdict, status.note) == (Verdict.OPEN, "waiting for fresh reports")
    participants(standing("f/1", "hq", "Ready"))
    assert (await readiness(client)).verdict is Verdict.REACHED


async def test_a_failure_of_an_earlier_run_does_not_end_the_wait(client, participants):
    readiness = Readiness(["f"], FIRST, NOW)
    participants(standing("f/1", "hq", "Failed"), reported_at=NOW - timedelta(seconds=9))
    assert (await readiness(client)).verdict is Verdict.OPEN
    participants(standing("f/1", "hq", "Failed"))
    assert (await readiness(client)).verdict is Verdict.FAILED


async def test_participants_at_sites_that_do_not_run_here_are_not_waited_for(client, participants):
    participants(standing("f/1", "hq", "Ready"), standing("f/2", "gamma", "Unknown"))
    status = await Readiness(["f"], FIRST, NOW)(client)
    assert status.verdict is Verdict.REACHED
    assert [resource.name for resource in status.resources] == ["f/1"]


async def test_a_later_start_ends_when_what_people_left_stands_still(client, participants):
    clock = StoppedClock()
    readiness = Readiness(["f"], FIRST, NOW, standing_limit_s=15.0, now=clock)
    participants(standing("f/1", "hq", "Ready"), standing("f/2", "beta", "Degraded"))
    assert (await readiness(client)).verdict is Verdict.OPEN
    clock.now_s = 10.0
    participants(standing("f/1", "hq", "Ready"), standing("f/2", "beta", "Refused"))
    assert (await readiness(client)).verdict is Verdict.OPEN
    clock.now_s = 20.0
    assert (await readiness(client)).verdict is Verdict.OPEN
    clock.now_s = 25.0
    status = await readiness(client)
    assert status.verdict is Verdict.REACHED
    assert [resource.is_done for resource in status.resources] == [True, False]


async def test_a_federation_that_goes_away_meanwhile_is_nothing_to_wait_for(client, hub):
    assert (await Readiness(["f"], FIRST, NOW)(client)).verdict is Verdict.REACHED


ROWS = [
    ["credit-risk/exchange", "hq", "Ready", "fate-exchange", "ats 127.1.1.1:1\nnginx 127.1.1.1:2"],
    ["credit-risk/9999", "alpha", "Ready", "fate-9999", "pulsar 127.1.2.1:3"],
]


@pytest.mark.parametrize(("width", "line_count"), [(200, 3), (72, 4), (62, 4), (20, 4)])
def test_the_table_of_participants_cuts_no_name_at_any_width(width, line_count):
    lines = [line.plain for line in participant_lines(ROWS, width)]
    assert len(lines) == line_count
    assert width == 20 or max(map(len, lines)) <= width
    text = "\n".join(lines)
    for name in ("credit-risk/exchange", "credit-risk/9999", "127.1.1.1:2", "127.1.2.1:3"):
        assert name in text
    assert ("NAMESPACE" in text) is (width > 62)


def route(table: str, key: str, probe: str = "") -> dict[str, object]:
    return {"table": table, "key": key, "deployed": True, "probe": probe}


def test_routes_that_cannot_be_probed_do_not_look_bad():
    routes = [
        route("sni", "sentinel.f.example.com"),
        route("sni", "1.f.example.com", "Reachable"),
        route("sni", "2.f.example.com", "NotServed"),
        route("nginx", "1"),
    ]
    assert route_summary(routes) == (
        "4 of 4 routes are in the sites' tables.",
        "1 of 2 routes that can be probed are reachable.",
    )


def test_steps_begin_with_the_time_since_the_command_was_typed():
    lines: list[str] = []
    steps = StepLog(lines.append, 100.0, lambda: 165.0)
    steps.add("hub is up")
    StepLog(lines.append, 200.0, lambda: 165.0).add("the clock was set back")
    assert lines == ["  1m5s  hub is up", "    0s  the clock was set back"]


def state_fault(capsys, state: Path) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([f"--stock-example={EXAMPLE}", f"--state={state}"])
    assert ended.value.code == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.count("\n") == 2, error
    assert "next: name a new or an empty folder" in error
    return error


def test_a_state_that_is_a_file_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert "is no folder" in state_fault(capsys, tmp_path / "file")
    assert "Not a directory" in state_fault(capsys, tmp_path / "file" / "below")


def test_a_state_that_cannot_be_made_is_one_line(tmp_path, capsys):
    assert "No such file" in state_fault(capsys, Path("/proc/nope"))
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "far")
    assert "is no folder" in state_fault(capsys, tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_without_the_right_to_write_is_one_line(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "Permission denied" in state_fault(capsys, tmp_path / "state")


@pytest.mark.parametrize("name", [None, "state/ports.json"])
def test_a_full_disk_is_one_line(tmp_path, name):
    path = str(tmp_path / name) if name else None
    with pytest.raises(CliError, match="No space left on device"), storage_errors(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def test_faults_elsewhere_are_not_taken_for_faults_of_the_state(tmp_path):
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path / "state"):
        (tmp_path / "other").read_bytes()


def test_a_note_that_is_torn_says_what_to_remove(tmp_path):
    (tmp_path / "example.json").write_text("{")
    with pytest.raises(CliError, match="cannot be read") as caught:
        read_note(tmp_path / "example.json")
    assert "start afresh" in caught.value.hint


def test_when_no_package_index_answers_the_cure_comes_before_the_noise(tmp_path):
    root = tmp_path / "checkout"
    programs = root / ".venv" / "bin"
    (root / "deploy").mkdir(parents=True)
    programs.mkdir(parents=True)
    (root / "deploy" / "quickstart").write_text(LAUNCHER.read_text())
    for name in ("uv.lock", "pyproject.toml"):
        (root / name).write_text("")
    python = programs / "python"
    python.write_text("#!/bin/sh\n[ $1 = -c ] && exit 0\necho 'WARNING: Retrying' >&2\nexit 1\n")
    python.chmod(0o755)
    ended = subprocess.run(  # noqa: S603 - the launcher itself
        ["/bin/sh", str(root / "deploy" / "quickstart")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "  Installing uv" in ended.stdout
    cure, noise = ended.stderr.splitlines()
    assert cure.endswith("could not be installed; is a package index reachable?")
    assert noise == "  WARNING: Retrying"


def test_help_tells_the_range_and_the_default_of_sites(capsys):
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "how many sites, 3 to 50" in text
    assert "those of last time; 3 at the first start" in text
