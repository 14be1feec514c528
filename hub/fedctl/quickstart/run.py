"""The run: hub, sites, federation, then wait for Ctrl-C; whatever happens, all is stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fedctl.client import Client, connect, path_of
from fedctl.config import Overrides, load
from fedctl.errors import CliError, ExitCode
from fedctl.manifest import parse
from fedctl.progress import LineDisplay, LiveDisplay, wait
from fedctl.quickstart import site, summary
from fedctl.quickstart.options import EXAMPLE, Options
from fedctl.quickstart.ports import LOOPBACK, Ports, settle
from fedctl.quickstart.processes import ManagedProcess, ProcessSupervisor
from fedctl.quickstart.state_dir import StateDir
from fedctl.render import console, say, show_error
from fedctl.resources import kind_of
from fedctl.text import moment_of, span
from fedctl.wait_status import Goal, StatusSource, Verdict, WaitStatus, resource_source


async def run(options: Options, state_dir: StateDir, supervisor: ProcessSupervisor) -> int:
    """Tell the whole run; return the exit code. The caller stops the supervisor."""
    began, began_at = time.monotonic(), datetime.now(UTC)
    ports = await asyncio.to_thread(settle, state_dir.ports, options.sites, options.port)
    await _step("Hub and clusters", _first_processes(supervisor, state_dir, ports))
    state_dir.write_config(f"https://{LOOPBACK}:{ports.hub}")
    async with connect(load(Overrides(config=state_dir.config))) as client:
        invitations = {name: await site.invite(state_dir, client, name) for name in ports.sites}
        code, name = ExitCode.OK, ""
        if options.has_example:
            code, name = await _apply(options, client)
        await _step(
            f"Agents of {', '.join(options.sites)}", _agents(supervisor, state_dir, invitations)
        )
        if name:
            code = await _federation(options, supervisor, client, name, began_at)
        if code is ExitCode.OK:
            say(f"Ready after {span(time.monotonic() - began)}.", style="green")
        if options.is_script:
            return code
        summary.how_to_look_around(options, state_dir, ports)
    await supervisor.watch()
    return code


def _hub(state_dir: StateDir, ports: Ports) -> ManagedProcess:
    command = [
        site.program("fedhub"),
        "serve",
        f"--state={state_dir.hub}",
        f"--listen={LOOPBACK}:{ports.hub}",
        f"--enrol-listen={LOOPBACK}:{ports.enrol}",
        f"--link-listen={LOOPBACK}:{ports.link}",
        f"--public-host={LOOPBACK}",
        f"--ready-file={state_dir.ready('hub')}",
    ]
    return ManagedProcess("hub", command, state_dir.log("hub"), state_dir.ready("hub"))


async def _first_processes(
    supervisor: ProcessSupervisor, state_dir: StateDir, ports: Ports
) -> None:
    async with _together() as group:
        group.create_task(supervisor.start(_hub(state_dir, ports)))
        for name, own in ports.sites.items():
            group.create_task(site.start(supervisor, state_dir, name, own))


async def _agents(
    supervisor: ProcessSupervisor, state_dir: StateDir, invitations: dict[str, site.Invitation]
) -> None:
    async with _together() as group:
        for name, invitation in invitations.items():
            group.create_task(supervisor.start(site.agent(state_dir, name, invitation)))


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Run things side by side; the first failure ends them all and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise _first_of(errors) from errors


async def _apply(options: Options, client: Client) -> tuple[ExitCode, str]:
    """Apply the example, before the agents are there: each begins when it comes."""
    content = await asyncio.to_thread(EXAMPLE.read_bytes)
    (manifest,) = parse(content, str(EXAMPLE))
    name = str(manifest.data["name"])
    say(f"Applying {EXAMPLE.name}: federation {name}")
    try:
        await client.request("PUT", path_of("federations", name), body=manifest.data)
    except CliError as failure:
        return _fail(options, failure), ""
    return ExitCode.OK, name


async def _federation(
    options: Options, supervisor: ProcessSupervisor, client: Client, name: str, began: datetime
) -> ExitCode:
    try:
        async with _guarding(supervisor):
            await _wait(client, name, options.limit_s, began)
        await summary.show(client, name)
    except CliError as failure:
        return _fail(options, failure)
    return ExitCode.OK


def _fail(options: Options, failure: CliError) -> ExitCode:
    """Show a failure of the federation, which is kept to look at unless for a script."""
    show_error(failure)
    say(f"The logs are in {options.state / 'log'}", is_error=True)
    return failure.code


async def _wait(client: Client, name: str, limit_s: float, began: datetime) -> None:
    out = console()
    shown = LiveDisplay(out) if out.is_terminal else LineDisplay(say)
    source = reported_since(began, name)
    await wait(client, source, limit_s=limit_s, shown=shown, subject=f"federation {name}")


def reported_since(began: datetime, name: str) -> StatusSource:
    """Follow a federation; what was reported in an earlier run does not count as Ready now."""
    is_ready = resource_source(kind_of("federations"), name, Goal.READY)

    async def read(client: Client) -> WaitStatus:
        status = await is_ready(client)
        if status.verdict is not Verdict.REACHED:
            return status
        for row in status.rows:
            detail = await client.get(path_of("participants", *row.name.split("/")))
            reported = moment_of(detail["reported_at"])
            if reported is None or reported < began:
                return replace(status, verdict=Verdict.OPEN, note="waiting for fresh reports")
        return status

    return read


@asynccontextmanager
async def _guarding(supervisor: ProcessSupervisor) -> AsyncIterator[None]:
    """Fail at once if a process ends that is needed."""
    async with _together() as group:
        guard = group.create_task(supervisor.expect_alive())
        yield
        guard.cancel()


def _first_of(errors: ExceptionGroup[Any]) -> Exception:
    first: Exception = errors
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first


async def _step(title: str, work: Awaitable[None]) -> None:
    began = time.monotonic()
    await work
    say(f"{title}: up after {time.monotonic() - began:.1f} s")
