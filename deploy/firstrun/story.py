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
from fedctl.failure import ExitCode, Failure
from fedctl.kinds import kind_of
from fedctl.manifest import parse
from fedctl.progress import LineDisplay, LiveDisplay, wait
from fedctl.render import console, say, show_failure
from fedctl.standing import Goal, Source, Standing, Verdict, resource_source
from fedctl.text import moment_of, span

from . import site, summary
from .children import Child, Crew
from .options import EXAMPLE, Options
from .place import Place
from .ports import LOOPBACK, Ports, settle


async def run(options: Options, place: Place, crew: Crew) -> int:
    """Tell the whole story; return the exit code. The caller stops the crew."""
    began, began_at = time.monotonic(), datetime.now(UTC)
    ports = await asyncio.to_thread(settle, place.ports, options.sites, options.port)
    await _step("Hub and clusters", _first_processes(crew, place, ports))
    place.write_config(f"https://{LOOPBACK}:{ports.hub}")
    async with connect(load(Overrides(config=place.config))) as client:
        invitations = {name: await site.invite(place, client, name) for name in ports.sites}
        code, name = ExitCode.OK, ""
        if options.has_example:
            code, name = await _apply(options, client)
        await _step(f"Agents of {', '.join(options.sites)}", _agents(crew, place, invitations))
        if name:
            code = await _federation(options, crew, client, name, began_at)
        if code is ExitCode.OK:
            say(f"Ready after {span(time.monotonic() - began)}.", style="green")
        if options.is_script:
            return code
        summary.how_to_look_around(options, place, ports)
    await crew.watch()
    return code


def _hub(place: Place, ports: Ports) -> Child:
    command = [
        site.program("fedhub"),
        "serve",
        f"--state={place.hub}",
        f"--listen={LOOPBACK}:{ports.hub}",
        f"--enrol-listen={LOOPBACK}:{ports.enrol}",
        f"--link-listen={LOOPBACK}:{ports.link}",
        f"--public-host={LOOPBACK}",
        f"--ready-file={place.ready('hub')}",
    ]
    return Child("hub", command, place.log("hub"), place.ready("hub"))


async def _first_processes(crew: Crew, place: Place, ports: Ports) -> None:
    async with _together() as group:
        group.create_task(crew.start(_hub(place, ports)))
        for name, own in ports.sites.items():
            group.create_task(site.start(crew, place, name, own))


async def _agents(crew: Crew, place: Place, invitations: dict[str, site.Invitation]) -> None:
    async with _together() as group:
        for name, invitation in invitations.items():
            group.create_task(crew.start(site.agent(place, name, invitation)))


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
    except Failure as failure:
        return _fail(options, failure), ""
    return ExitCode.OK, name


async def _federation(
    options: Options, crew: Crew, client: Client, name: str, began: datetime
) -> ExitCode:
    try:
        async with _guarding(crew):
            await _wait(client, name, options.limit_s, began)
        await summary.show(client, name)
    except Failure as failure:
        return _fail(options, failure)
    return ExitCode.OK


def _fail(options: Options, failure: Failure) -> ExitCode:
    """Show a failure of the federation, which is kept to look at unless for a script."""
    show_failure(failure)
    say(f"The logs are in {options.state / 'log'}", is_error=True)
    return failure.code


async def _wait(client: Client, name: str, limit_s: float, began: datetime) -> None:
    out = console()
    shown = LiveDisplay(out) if out.is_terminal else LineDisplay(say)
    source = reported_since(began, name)
    await wait(client, source, limit_s=limit_s, shown=shown, subject=f"federation {name}")


def reported_since(began: datetime, name: str) -> Source:
    """Follow a federation; what was reported in an earlier run does not count as Ready now."""
    is_ready = resource_source(kind_of("federations"), name, Goal.READY)

    async def read(client: Client) -> Standing:
        standing = await is_ready(client)
        if standing.verdict is not Verdict.REACHED:
            return standing
        for row in standing.rows:
            detail = await client.get(path_of("participants", *row.name.split("/")))
            reported = moment_of(detail["reported_at"])
            if reported is None or reported < began:
                return replace(standing, verdict=Verdict.OPEN, note="waiting for fresh reports")
        return standing

    return read


@asynccontextmanager
async def _guarding(crew: Crew) -> AsyncIterator[None]:
    """Fail at once if a process ends that is needed."""
    async with _together() as group:
        guard = group.create_task(crew.expect_alive())
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
