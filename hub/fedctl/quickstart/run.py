"""The run: the hub, its sites' clusters, a federation, their agents; then wait for Ctrl-C.

What was made in earlier starts stays: ``example`` says when a federation is applied,
``membership`` which sites run, ``readiness`` what is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from fedcore.exceptions import first_leaf
from fedcore.terminal_text import escape
from fedctl.client import Client, connect
from fedctl.config import Overrides, load
from fedctl.durations import format_duration
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import list_all
from fedctl.progress import LineDisplay, LiveDisplay, wait
from fedctl.quickstart import later_start, site, summary
from fedctl.quickstart.example import ExampleNote, read_note, settle_example
from fedctl.quickstart.membership import (
    Membership,
    SitePlan,
    check_count,
    check_same_hub,
    read_membership,
)
from fedctl.quickstart.options import FIRST_SITES, Options, site_names
from fedctl.quickstart.paths import program, short
from fedctl.quickstart.ports import LOOPBACK, Ports, kept_sites, settle_ports
from fedctl.quickstart.processes import ManagedProcess, ProcessSupervisor
from fedctl.quickstart.readiness import Readiness
from fedctl.quickstart.state_dir import StateDir
from fedctl.quickstart.step_log import StepLog
from fedctl.render import console, print_error, print_line
from fedctl.resources import kind_of
from fedctl.timing import Timing
from fedctl.wait_status import read_causes


async def run(
    options: Options, state_dir: StateDir, supervisor: ProcessSupervisor, timing: Timing
) -> ExitCode:
    """Start everything, report each step, return the exit code. The caller stops the processes."""
    start = Start(options, state_dir, supervisor, timing, StepLog(print_line, options.started_at))
    code = await start.run()
    if not options.exit_when_ready:
        await supervisor.keep_running()
    return code


def names_of_all(kept: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    """Return the sites of earlier starts, and after them those that ``--sites`` adds."""
    asked = site_names(count or (len(FIRST_SITES) if not kept else 0))
    return (*kept, *(name for name in asked if name not in kept))


@dataclass(frozen=True, slots=True)
class Fleet:
    """The sites of one start; ``with_cluster`` are those whose clusters run already."""

    ports: Ports
    membership: Membership
    with_cluster: frozenset[str]


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the quickstart, with what all of its steps need."""

    options: Options
    state_dir: StateDir
    supervisor: ProcessSupervisor
    timing: Timing
    steps: StepLog

    async def run(self) -> ExitCode:
        """Take every step up to the federations that are ready."""
        since = datetime.now(UTC)
        kept = kept_sites(self.state_dir.ports)
        names = names_of_all(kept, self.options.site_count)
        check_same_hub(self.state_dir, names)
        ports = await asyncio.to_thread(
            settle_ports,
            self.state_dir.ports,
            names,
            first_port=self.options.port,
            timing=self.timing,
        )
        with_cluster = await self._start_hub_and_new_clusters(ports)
        self.state_dir.write_config(f"https://{LOOPBACK}:{ports.hub}")
        async with connect(load(Overrides(config=self.state_dir.config)), self.timing) as client:
            membership = await read_membership(client, self.state_dir, names)
            check_count(self.options.site_count, membership)
            if kept:
                self.steps.add(_sites_of(membership, kept))
            later_start.print_left_out(membership)
            return await self._finish(client, Fleet(ports, membership, with_cluster), since)

    async def _start_hub_and_new_clusters(self, ports: Ports) -> frozenset[str]:
        """Start the hub and, beside it, the clusters of sites that have not joined.

        A site that has joined may have been deleted since: the hub is asked first.
        """
        self.steps.add("Starting the hub")
        hub = _hub(self.state_dir, ports)
        new_sites = frozenset(name for name in ports.sites if not self.state_dir.has_identity(name))
        async with _side_by_side() as group:
            group.create_task(self._start(hub, "hub is up"))
            for name in new_sites:
                group.create_task(self._start_cluster(name, ports))
        return new_sites

    async def _start(self, process: ManagedProcess, sentence: str) -> None:
        await self.supervisor.start(process)
        self.steps.add(sentence)

    async def _start_cluster(self, name: str, ports: Ports) -> None:
        await site.start(self.supervisor, self.state_dir, name, ports.sites[name])
        self.steps.add(f"{name}: cluster is up")

    async def _finish(self, client: Client, fleet: Fleet, since: datetime) -> ExitCode:
        membership = fleet.membership
        is_later = read_note(self.state_dir.example_note) is not None
        code = ExitCode.OK
        invitations = {
            plan.name: await site.invite(self.state_dir, client, plan.name)
            for plan in membership.plans
            if plan.joins
        }
        try:
            # Before the agents are there, so that each begins as soon as it has joined.
            note = await settle_example(
                self.options, self.state_dir, client, membership.running, self.steps.add
            )
        except CliError as error:
            note, code = ExampleNote(), self._report(error)
        federations = await list_all(client, kind_of("federations"))
        if is_later:
            later_start.print_kept(self.state_dir, note, federations)
            later_start.print_empty(membership, await list_all(client, kind_of("participants")))
        await self._start_sites(fleet, invitations)
        names = tuple(str(federation["name"]) for federation in federations)
        if names:
            limit_s = self.timing.standing_limit_s if is_later else None
            readiness = Readiness(names, membership.running, since, limit_s)
            code = max(code, await self._follow(client, readiness))
        if code is ExitCode.OK:
            elapsed = format_duration(self.steps.elapsed_s)
            print_line(f"Ready after {elapsed}.", style="green")
        if not self.options.exit_when_ready:
            summary.print_next_steps(self.state_dir, fleet.ports, names)
        return code

    async def _start_sites(self, fleet: Fleet, invitations: Mapping[str, site.Invitation]) -> None:
        """Start what is to run of each site and does not yet; sites side by side."""
        async with _side_by_side() as group:
            for plan in fleet.membership.plans:
                invitation = invitations.get(plan.name, site.Invitation())
                group.create_task(self._start_site(plan, invitation, fleet))

    async def _start_site(self, plan: SitePlan, invitation: site.Invitation, fleet: Fleet) -> None:
        if plan.has_cluster and plan.name not in fleet.with_cluster:
            await self._start_cluster(plan.name, fleet.ports)
        if plan.has_agent:
            agent = site.agent(self.state_dir, plan.name, invitation)
            await self._start(agent, f"{plan.name}: agent is up")

    async def _follow(self, client: Client, readiness: Readiness) -> ExitCode:
        """Wait until the federations are ready, or stand still, and print their tables."""
        names = ", ".join(readiness.federations)
        out = console()
        is_live = out.is_terminal and not out.is_dumb_terminal
        started = time.monotonic() - self.steps.elapsed_s
        display = (
            LiveDisplay(out, client.timing, started=started)
            if is_live
            else LineDisplay(print_line, started=started)
        )
        try:
            async with self._failing_on_exit():
                status = await wait(
                    client,
                    readiness,
                    limit_s=self.options.limit_s,
                    display=display,
                    subject=f"federation {names}",
                )
                await self._await_probes(client, readiness.federations)
            for federation in await list_all(client, kind_of("federations")):
                await summary.print_federation(client, str(federation["name"]))
            causes = await read_causes(client, status)
        except CliError as error:
            return self._report(error)
        if not causes:
            return ExitCode.OK
        print_line("Not all is ready, and it stands still:")
        for line in causes:
            print_line(f"  {escape(line)}")
        return ExitCode.NOT_REACHED

    async def _await_probes(self, client: Client, federations: Sequence[str]) -> None:
        """Give the routes some time to be probed: that follows when a party has become ready."""
        waiting = list(federations)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.timing.probe_wait_limit_s):
                while waiting:
                    waiting = [
                        federation
                        for federation in waiting
                        if not summary.all_reachable(await summary.read_routes(client, federation))
                    ]
                    await asyncio.sleep(self.timing.poll_interval_s if waiting else 0)

    def _report(self, error: CliError) -> ExitCode:
        """Print what went wrong with a federation; the run goes on, for people to look at it."""
        print_error(error)
        print_line(f"The logs are in {short(self.state_dir.root / 'log')}", is_error=True)
        return error.code

    @asynccontextmanager
    async def _failing_on_exit(self) -> AsyncIterator[None]:
        """Fail at once if a process ends that the work inside needs."""
        async with _side_by_side() as group:
            guard = group.create_task(self.supervisor.fail_on_exit())
            yield
            guard.cancel()


def _sites_of(membership: Membership, kept: tuple[str, ...]) -> str:
    before = [name for name in membership.running if name in kept]
    new = [name for name in membership.running if name not in kept]
    added = f"; new: {', '.join(new)}" if new else ""
    return f"Sites as last time: {', '.join(before) or 'none'}{added}"


def _hub(state_dir: StateDir, ports: Ports) -> ManagedProcess:
    ready_file = state_dir.ready_file("hub")
    command = [
        program("fedhub"),
        "serve",
        f"--state={state_dir.hub}",
        f"--listen={LOOPBACK}:{ports.hub}",
        f"--enrol-listen={LOOPBACK}:{ports.enrol}",
        f"--link-listen={LOOPBACK}:{ports.link}",
        f"--public-host={LOOPBACK}",
        f"--ready-file={ready_file}",
    ]
    return ManagedProcess("hub", command, state_dir.log("hub"), ready_file)


@asynccontextmanager
async def _side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks side by side; the first error ends them all and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise first_leaf(errors) from errors
