from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.support.patience import patient, until

from fedctl.errors import CliError, ExitCode
from fedctl.quickstart import site
from fedctl.quickstart.options import FIRST_SITES, parse_options, site_names
from fedctl.quickstart.ports import node_address, settle_ports
from fedctl.quickstart.processes import (
    ManagedProcess,
    ProcessSupervisor,
    dying_with_parent,
    process_environment,
)
from fedctl.quickstart.state_dir import locked
from fedctl.timing import Timing
from fedhub.domain.federation import FederationIntent

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "deploy" / "quickstart"
EXAMPLE = ROOT / "deploy" / "examples" / "federation.yaml"
SLEEPER = "import sys, time; print('hello'); sys.stdout.flush(); time.sleep(60)"
READY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('{}'); time.sleep(60)"
STUBBORN = (
    "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).write_text('{}'); time.sleep(60)"
)


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" not in status.read_text()


async def until_dead(pid: int) -> None:
    await until(lambda: not is_alive(pid))


@pytest.fixture
def timing() -> Timing:
    return Timing(process_restart_pause_s=0.0, port_release_limit_s=0.0)


@pytest.fixture
def reports() -> list[str]:
    """The sentences for people that the supervisor has reported."""
    return []


@pytest.fixture
async def supervisor(reports, timing):
    supervisor = ProcessSupervisor(reports.append, timing)
    yield supervisor
    supervisor.kill_now()
    await supervisor.stop()


def managed(tmp_path: Path, code: str = READY, name: str = "hub") -> ManagedProcess:
    ready_file = tmp_path / f"{name}.ready"
    return ManagedProcess(name, python(code, ready_file), tmp_path / f"{name}.log", ready_file)


def test_the_example_is_a_federation_of_the_first_sites():
    data = yaml.safe_load(EXAMPLE.read_text())
    intent = FederationIntent.model_validate(data)
    assert intent.sites() == frozenset(FIRST_SITES)
    assert [party.id for party in intent.parties] == [9999, 10000]


def test_more_sites_have_numbers_for_names():
    assert site_names(5) == ("hq", "alpha", "beta", "site-4", "site-5")
    assert site_names(1) == ("hq",)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--sites", "2"], "--sites must be"),
        (["--sites", "51"], "--sites must be"),
        (["--port", "70000"], "--port must be"),
        (["--limit", "0"], "--limit must be"),
        (["--nonsense"], "unrecognized"),
    ],
)
def test_wrong_options_end_with_a_sentence(arguments, part, capsys):
    with pytest.raises(SystemExit) as ended:
        parse_options(["--example", str(EXAMPLE), *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "error:" in error
    assert part in error


def test_without_the_launcher_the_example_must_be_named(capsys):
    with pytest.raises(SystemExit) as ended:
        parse_options([])
    assert ended.value.code == 2
    assert "--example" in capsys.readouterr().err


def test_without_the_example_one_site_will_do():
    options = parse_options(["--example", str(EXAMPLE), "--no-example", "--sites", "1"])
    assert options.site_count == 1
    assert options.example is None


def test_ports_are_kept_over_starts_and_a_site_that_comes_later_gets_its_own(tmp_path, timing):
    path = tmp_path / "ports.json"
    first = settle_ports(path, ("hq", "alpha"), first_port=None, timing=timing)
    again = settle_ports(path, ("hq", "alpha", "beta"), first_port=None, timing=timing)
    assert again.hub == first.hub
    assert again.sites["alpha"] == first.sites["alpha"]
    every = [again.hub, again.enrol, again.link]
    every += [port for ports in again.sites.values() for port in (ports.kube, ports.kubefate)]
    assert len(set(every)) == len(every)
    fewer = settle_ports(path, ("hq",), first_port=None, timing=timing)
    assert set(fewer.sites) == {"hq"}
    assert set(json.loads(path.read_text())["sites"]) == {"hq", "alpha", "beta"}


def test_ports_given_once_may_not_change_because_agents_know_the_hub_there(tmp_path, timing):
    path = tmp_path / "ports.json"
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    first = min(free, 65_000)
    assert settle_ports(path, ("hq",), first_port=first, timing=timing).link == first + 2
    with pytest.raises(CliError, match="was made with --port"):
        settle_ports(path, ("hq",), first_port=first + 10, timing=timing)


def test_a_taken_port_of_the_hub_is_named(tmp_path, timing):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(CliError, match=f"port {taken} is taken") as caught:
            settle_ports(tmp_path / "ports.json", ("hq",), first_port=taken, timing=timing)
    assert caught.value.code is ExitCode.UNAVAILABLE


def test_a_port_file_that_is_torn_says_what_to_remove(tmp_path, timing):
    (tmp_path / "ports.json").write_text('{"hub": 1}')
    with pytest.raises(CliError) as caught:
        settle_ports(tmp_path / "ports.json", ("hq",), first_port=None, timing=timing)
    assert "start afresh" in caught.value.hint


def test_each_site_has_node_ports_on_an_address_of_its_own():
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems have one loopback address")
    assert node_address(7, 2) == "127.7.2.1"


def test_a_state_folder_belongs_to_one_quickstart_at_a_time(tmp_path):
    root = tmp_path / "state"
    with locked(root) as state_dir:
        assert state_dir.root == root
        with pytest.raises(CliError) as caught, locked(root):
            pass
        assert caught.value.code is ExitCode.CONFLICT
        assert str(os.getpid()) in caught.value.message
    with locked(root):
        pass


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CliError, match="something else"), locked(tmp_path):
        pass


def test_a_folder_of_a_start_that_was_killed_early_is_taken(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".ports.json.0123").touch()
    with locked(tmp_path) as state_dir:
        assert state_dir.root == tmp_path


def test_processes_see_no_settings_of_other_hubs_and_no_proxies():
    surroundings = {
        "PATH": "/bin",
        "FEDHUB_DATABASE_URL": "x",
        "FEDAGENT_STATE": "y",
        "https_proxy": "z",
        "HTTPS_PROXY": "z",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert process_environment(surroundings) == {"PATH": "/bin", "PYTHONUNBUFFERED": "1"}


async def test_a_process_is_ready_when_its_file_is_there(supervisor, tmp_path):
    process = managed(tmp_path)
    process.ready_file.write_text("left over from the last start")
    await supervisor.start(process)
    assert process.is_running
    assert process.ready_file.read_text() == "{}"


async def test_a_process_that_dies_early_is_shown_with_its_last_lines(supervisor, tmp_path):
    code = "import sys; print('one'); sys.exit('no such \\x1b[31mdatabase')"
    with pytest.raises(CliError, match="hub ended with code 1") as caught:
        await supervisor.start(managed(tmp_path, code))
    assert [error.message for error in caught.value.errors] == [
        "one",
        "no such \\x1b[31mdatabase",
    ]
    assert "hub.log" in caught.value.hint


async def test_a_process_that_ends_on_a_full_disk_is_one_line(supervisor, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(CliError, match=r"hub ended with code 1: the disk .* is full") as caught:
        await supervisor.start(managed(tmp_path, "raise SystemExit('sqlite3: disk is full')"))
    assert caught.value.errors == ()


async def test_a_process_that_is_never_ready_ends_the_start(reports, tmp_path):
    supervisor = ProcessSupervisor(reports.append, Timing(process_start_limit_s=0.3))
    with pytest.raises(CliError, match="hub is not ready after"):
        await supervisor.start(managed(tmp_path, SLEEPER))
    supervisor.kill_now()
    await supervisor.stop()


async def test_stopping_leaves_no_process_not_even_a_stubborn_one(reports, tmp_path):
    supervisor = ProcessSupervisor(reports.append, Timing(process_stop_limit_s=0.3))
    easy, stubborn = managed(tmp_path), managed(tmp_path, STUBBORN, "stubborn")
    await supervisor.start(easy)
    await supervisor.start(stubborn)
    await supervisor.stop()
    assert easy.process.returncode == -signal.SIGTERM
    assert stubborn.process.returncode == -signal.SIGKILL
    assert reports == ["stubborn did not stop in time and was killed"]


async def test_a_process_that_is_killed_later_is_started_again(supervisor, reports, tmp_path):
    process = managed(tmp_path)
    await supervisor.start(process)
    watching = asyncio.create_task(supervisor.keep_running())
    first_pid = process.process.pid
    os.kill(first_pid, signal.SIGKILL)
    await until(lambda: process.process.pid != first_pid and process.ready_file.exists())
    assert "hub was ended by SIGKILL; starting it again" in reports[0]
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


async def test_a_process_that_will_not_stay_ends_the_run(supervisor, tmp_path):
    process = managed(tmp_path)
    await supervisor.start(process)
    process.command = python("raise SystemExit(3)")
    os.kill(process.process.pid, signal.SIGKILL)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(supervisor.keep_running(), patient())
    assert caught.group_contains(CliError, match="again and again")


async def test_before_everything_is_ready_the_end_of_a_process_is_an_error(supervisor, tmp_path):
    process = managed(tmp_path)
    await supervisor.start(process)
    os.kill(process.process.pid, signal.SIGKILL)
    with pytest.raises(CliError, match="SIGKILL"):
        await asyncio.wait_for(supervisor.fail_on_exit(), patient())


async def test_a_secret_is_handed_over_by_the_environment_of_one_process(supervisor, tmp_path):
    code = "import os, pathlib, sys; new = pathlib.Path(sys.argv[1] + '.new')"
    code += "; new.write_text(os.environ['WORD']); new.replace(sys.argv[1])"
    process = managed(tmp_path, f"{code}; import time; time.sleep(60)")
    process.variables = {"WORD": "tok"}
    await supervisor.start(process)
    assert process.ready_file.read_text() == "tok"
    assert "tok" not in repr(process)
    assert "WORD" not in os.environ


def test_an_agent_that_joined_needs_no_invitation(tmp_path):
    with locked(tmp_path / "state") as state_dir:
        again = site.agent(state_dir, "hq", site.Invitation())
        first = site.agent(
            state_dir, "hq", site.Invitation(("--join=h:1",), {"FEDAGENT_TOKEN": "t"})
        )
    assert set(first.command) - set(again.command) == {"--join=h:1"}
    assert again.variables == {}


@pytest.mark.parametrize("mode", ["exec", "watch"])
async def test_no_process_outlives_its_parent_however_that_ends(tmp_path, mode):
    if mode == "exec" and sys.platform != "linux":
        pytest.skip("asks the Linux kernel")
    script = tmp_path / "parent.py"
    command = dying_with_parent(python(SLEEPER))
    command[5] = mode
    script.write_text(
        "import os, subprocess, sys, time\n"
        f"command = {command!r}\n"
        "command[4] = str(os.getpid())\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,"
        " start_new_session=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-S", str(script), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), patient()))
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    await until_dead(pid)


def test_the_launcher_is_plain_posix_shell():
    subprocess.run(["sh", "-n", str(LAUNCHER)], check=True)  # noqa: S603, S607 - whichever sh
    assert os.access(LAUNCHER, os.X_OK)


def test_a_machine_without_a_fit_python_is_told_so(tmp_path):
    root = tmp_path / "checkout"
    (root / "deploy").mkdir(parents=True)
    (root / "deploy" / "quickstart").write_text(LAUNCHER.read_text())
    for name in ("uv.lock", "pyproject.toml"):
        (root / name).write_text("")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "cksum", "cat", "date", "mktemp", "rm"):
        tool = next(Path(d) / name for d in os.defpath.split(":") if (Path(d) / name).exists())
        (tools / name).symlink_to(tool)
    ended = subprocess.run(  # noqa: S603 - the launcher itself
        [str(tools / "sh"), str(root / "deploy" / "quickstart")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert "Python >= 3.11 is needed" in ended.stderr
