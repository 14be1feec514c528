"""The quickstart for real: started, changed, killed and started again; what people made stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.patience import time_limit, until

from fedctl.client import Client, connect, path_of
from fedctl.config import Overrides, load
from fedctl.lookup import list_all
from fedctl.resources import kind_of
from fedctl.timing import Timing

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "deploy" / "examples" / "federation.yaml"
LAST_LINE = "Ctrl-C stops everything"
Json = dict[str, Any]


class Quickstart:
    """One start on a state folder, up to the line that says how to stop it."""

    def __init__(self, state: Path, process: asyncio.subprocess.Process) -> None:
        self.state = state
        self._process = process
        self._reader = asyncio.create_task(self._read())
        self.lines: list[str] = []

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def is_settled(self) -> bool:
        if self._process.returncode is not None and self._reader.done():
            pytest.fail(f"the quickstart ended with {self._process.returncode}:\n{self.output}")
        return LAST_LINE in self.output

    async def stop(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        async with time_limit():
            await self._process.wait()
            await self._reader


@asynccontextmanager
async def quickstart(state: Path, how: signal.Signals, *options: str) -> AsyncIterator[Quickstart]:
    """Start it; at the end stop it by a signal, as a person or a power cut does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fedctl.quickstart", "--limit", "600"),
        *(f"--state={state}", f"--stock-example={EXAMPLE}", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    run = Quickstart(state, process)
    try:
        await until(run.is_settled, "the quickstart is up", describe=lambda: run.output)
        yield run
    finally:
        await run.stop(how)


@asynccontextmanager
async def client_of(state: Path) -> AsyncIterator[Client]:
    settings = load(Overrides(config=state / "fedctl.toml"))
    async with connect(settings, Timing()) as client:
        yield client


async def intents(client: Client) -> Json:
    """What people asked for: every intent with its revision, but what is on its way out."""
    federations = await list_all(client, kind_of("federations"))
    return {
        federation["name"]: [federation["revision"], federation["intent"]]
        for federation in federations
        if not federation["removing"]
    }


async def sites(client: Client) -> Json:
    """Which sites there are, and which of them are revoked."""
    items = await list_all(client, kind_of("sites"))
    return {item["name"]: item["state"] == "Revoked" for item in items}


async def apply(client: Client, **changes: Any) -> None:
    body = {**yaml.safe_load(EXAMPLE.read_text()), **changes}
    await client.request("PUT", path_of("federations", body["name"]), body=body)


def party(number: int, site: str) -> Json:
    return {"id": number, "site": site, "expose": "NodePort"}


async def change_all(client: Client) -> None:
    """Apply a changed file: a party less, another more, another policy."""
    await apply(client, repair="report", parties=[party(9999, "alpha"), party(7777, "beta")])


async def remove_federation(client: Client) -> None:
    await client.request("DELETE", path_of("federations", "credit-risk"), query={"cascade": True})


async def add_party(client: Client) -> None:
    parties = [party(9999, "alpha"), party(7777, "beta"), party(8888, "site-4")]
    await apply(client, repair="report", parties=parties)


async def remove_party(client: Client) -> None:
    await apply(client, repair="report", parties=[party(8888, "site-4")])


async def revoke_site(client: Client) -> None:
    await client.request("POST", path_of("sites", "beta", "revocation"))


async def delete_site(client: Client) -> None:
    await client.request("DELETE", path_of("sites", "beta"))


async def make_own_federation(client: Client) -> None:
    exchange = {"site": "hq", "namespace": "audit-exchange"}
    parties = [{**party(5555, "alpha"), "namespace": "audit-5555"}]
    await apply(
        client, name="audit", domain="audit.example.com", exchange=exchange, parties=parties
    )


async def change_policy(client: Client) -> None:
    await apply(client, repair="auto", parties=[party(8888, "site-4")])


async def invite_site(client: Client) -> None:
    await client.request("POST", path_of("sites"), body={"name": "gamma"})


async def change_nothing(client: Client) -> None:
    await client.get(path_of("federations"))


async def make_example_again(client: Client) -> None:
    await apply(client, parties=[party(9999, "alpha")])


Change = Callable[[Client], Awaitable[None]]


async def start_and_change(state: Path, change: Change, how: signal.Signals, *options: str) -> None:
    """Start for the first time, change something, and stop at once."""
    async with quickstart(state, how, *options) as run, client_of(state) as client:
        assert "Applying the example" in run.output
        assert "Ready after" in run.output
        await change(client)
        await write_expectation(state, client)


async def start_change_and_stop(state: Path, change: Change, how: signal.Signals) -> None:
    """Start again: everything is as it was left. Then change something and stop at once."""
    async with quickstart(state, how) as run, client_of(state) as client:
        assert "Started before: nothing is applied" in run.output
        assert "Applying" not in run.output
        assert await made_by_people(client) == json.loads(expectation(state).read_text())
        await change(client)
        await write_expectation(state, client)


async def made_by_people(client: Client) -> Json:
    return {"intents": await intents(client), "sites": await sites(client)}


def expectation(state: Path) -> Path:
    """What the next start must find, beside the state folder."""
    return state.with_suffix(".json")


async def write_expectation(state: Path, client: Client) -> None:
    expectation(state).write_text(json.dumps(await made_by_people(client)))


async def test_a_start_after_a_kill_finds_the_changed_federation_and_then_none(tmp_path):
    state = tmp_path / "state"
    await start_and_change(state, change_all, signal.SIGKILL)
    await start_change_and_stop(state, remove_federation, signal.SIGINT)
    async with quickstart(state, signal.SIGINT) as run, client_of(state) as client:
        assert await intents(client) == {}
        assert "not made again" in run.output
        assert f"apply -f {state / 'example.yaml'}" in run.output


@pytest.mark.slow
async def test_ten_starts_in_a_row_keep_what_people_made(tmp_path):
    state = tmp_path / "state"
    await start_and_change(state, change_all, signal.SIGKILL, "--sites", "4")
    changes = (
        add_party,
        remove_party,
        revoke_site,
        delete_site,
        make_own_federation,
        change_policy,
        invite_site,
        remove_federation,
        change_nothing,
        make_example_again,
    )
    stops = (signal.SIGINT, signal.SIGKILL)
    for number, change in enumerate(changes):
        await start_change_and_stop(state, change, stops[number % len(stops)])
    async with quickstart(state, signal.SIGINT) as run, client_of(state) as client:
        assert set(await intents(client)) == {"audit", "credit-risk"}
        assert await sites(client) == dict.fromkeys(("alpha", "gamma", "hq", "site-4"), False)
        assert "Site beta was deleted and stays out" in run.output
        assert "start their agents yourself): gamma" in run.output
