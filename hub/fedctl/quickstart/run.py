"""The run: hub and clusters, a federation, agents that join; then wait for Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fedcore.exceptions import first_leaf
from fedctl.client import Client, connect, path_of
from fedctl.config import Overrides, load
from fedctl.durations import format_duration, parse_time
from fedctl.errors import CliError, ExitCode
from fedctl.manifest import parse
from fedctl.progress import LineDisplay, LiveDisplay, wait
from fedctl.quickstart import site, summary
from fedctl.quickstart.options import Options
from fedctl.quickstart.ports import LOOPBACK, Ports, settle_ports
from fedctl.quickstart.processes import ManagedProcess, ProcessSupervisor
from fedctl.quickstart.state_dir import StateDir
from fedctl.render import console, print_error, print_line
from fedctl.resources import kind_of
from fedctl.timing import Timing
from fedctl.wait_status import Goal, StatusSource, Verdict, WaitStatus, resource_source


async def run(
    options: Options, state_dir: StateDir, supervisor: ProcessSupervisor, timing: Timing
) -> ExitCode:
    """Start everything, report each step, return the exit code. The caller stops the processes."""
    started, started_at = time.monotonic(), datetime.now(UTC)
    ports = await asyncio.to_thread(
        settle_ports, state_dir.ports, options.sites, first_port=options.port, timing=timing
    )
    await _step("Hub and clusters", _start_hub_and_clusters(supervisor, state_dir, ports))
    state_dir.write_config(f"https://{LOOPBACK}:{ports.hub}")
    settings = load(Overrides(config=state_dir.config))
    async with connect(settings, timing) as client:
        invitations = {name: await site.invite(state_dir, client, name) for name in ports.sites}
        code, federation = ExitCode.OK, ""
        if options.example is not None:
            # Before the agents are there, so that each begins as soon as it has joined.
            code, federation = await _apply(options, options.example, client)
        await _step(
            f"Agents of {', '.join(options.sites)}",
            _start_agents(supervisor, state_dir, invitations),
        )
        if federation:
            code = await _follow(options, supervisor, client, federation, started_at)
        if code is ExitCode.OK:
            elapsed = format_duration(time.monotonic() - started)
            print_line(f"Ready after {elapsed}.", style="green")
        if options.exit_when_ready:
            return code
        summary.print_next_steps(state_dir, ports, federation)
    await supervisor.keep_running()
    return code


async def _step(title: str, work: Awaitable[None]) -> None:
    started = time.monotonic()
    await work
    print_line(f"{title}: up after {time.monotonic() - started:.1f} s")


def _hub(state_dir: StateDir, ports: Ports) -> ManagedProcess:
    ready_file = state_dir.ready_file("hub")
    command = [
        site.program("fedhub"),
        "serve",
        f"--state={state_dir.hub}",
        f"--listen={LOOPBACK}:{ports.hub}",
        f"--enrol-listen={LOOPBACK}:{ports.enrol}",
        f"--link-listen={LOOPBACK}:{ports.link}",
        f"--public-host={LOOPBACK}",
        f"--ready-file={ready_file}",
    ]
    return ManagedProcess("hub", command, state_dir.log("hub"), ready_file)


async def _start_hub_and_clusters(
    supervisor: ProcessSupervisor, state_dir: StateDir, ports: Ports
) -> None:
    async with _side_by_side() as group:
        group.create_task(supervisor.start(_hub(state_dir, ports)))
        for name, site_ports in ports.sites.items():
            group.create_task(site.start(supervisor, state_dir, name, site_ports))


async def _start_agents(
    supervisor: ProcessSupervisor, state_dir: StateDir, invitations: dict[str, site.Invitation]
) -> None:
    async with _side_by_side() as group:
        for name, invitation in invitations.items():
            group.create_task(supervisor.start(site.agent(state_dir, name, invitation)))


@asynccontextmanager
async def _side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks side by side; the first error ends them all and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise first_leaf(errors) from errors


async def _apply(options: Options, example: Path, client: Client) -> tuple[ExitCode, str]:
    """Apply the example; return the exit code, and the federation's name where it was taken."""
    content = await asyncio.to_thread(example.read_bytes)
    (manifest,) = parse(content, str(example))
    name = str(manifest.data["name"])
    print_line(f"Applying {example.name}: federation {name}")
    try:
        await client.request("PUT", path_of("federations", name), body=manifest.data)
    except CliError as error:
        return _report(options, error), ""
    return ExitCode.OK, name


async def _follow(
    options: Options,
    supervisor: ProcessSupervisor,
    client: Client,
    federation: str,
    started_at: datetime,
) -> ExitCode:
    """Wait until the federation is ready and print its table."""
    out = console()
    display = LiveDisplay(out, client.timing) if out.is_terminal else LineDisplay(print_line)
    source = reported_since(started_at, federation)
    subject = f"federation {federation}"
    try:
        async with _failing_on_exit(supervisor):
            await wait(client, source, limit_s=options.limit_s, display=display, subject=subject)
        await summary.print_federation(client, federation)
    except CliError as error:
        return _report(options, error)
    return ExitCode.OK


def _report(options: Options, error: CliError) -> ExitCode:
    """Print what went wrong with the federation; the run goes on, for people to look at it."""
    print_error(error)
    print_line(f"The logs are in {options.state / 'log'}", is_error=True)
    return error.code


def reported_since(started_at: datetime, federation: str) -> StatusSource:
    """Follow a federation; what sites reported in an earlier run does not count as ready now."""
    read_federation = resource_source(kind_of("federations"), federation, Goal.READY)

    async def read(client: Client) -> WaitStatus:
        status = await read_federation(client)
        if status.verdict is not Verdict.REACHED:
            return status
        for resource in status.resources:
            detail = await client.get(path_of("participants", *resource.name.split("/")))
            reported_at = parse_time(detail["reported_at"])
            if reported_at is None or reported_at < started_at:
                return replace(status, verdict=Verdict.OPEN, note="waiting for fresh reports")
        return status

    return read


@asynccontextmanager
async def _failing_on_exit(supervisor: ProcessSupervisor) -> AsyncIterator[None]:
    """Fail at once if a process ends that the work inside needs."""
    async with _side_by_side() as group:
        guard = group.create_task(supervisor.fail_on_exit())
        yield
        guard.cancel()
