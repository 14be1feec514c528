"""A whole federation for a test: hub, agents and their places, over real sockets and real mTLS.

    async with Federation(tmp_path) as fed:
        await fed.apply(fed.intent())
        await fed.wait_ready()

Everything runs in the test's process unless a test says otherwise (`support/forks.py` for what a
SIGKILL must hit), and every part can be stopped, killed and started again on the same state.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from tests.support.clock import running_clock
from tests.support.hubapi import (
    HubApi,
    journal_position,
    spooled_events,
    spooled_events_in,
    tables_naming,
)
from tests.support.lifecycle import DEFAULT_TIMING, Json, Part
from tests.support.patience import until
from tests.support.place import SimulatedPlace, SitePlace, simulated_place
from tests.support.processes import free_ports
from tests.support.tcp_proxy import Cutter

from fedagent.kube.kinds import CONFIGMAPS, SECRETS
from fedagent.kube.objects import find, get
from fedagent.run import RunningAgent, join, running_agent
from fedagent.settings import AgentSettings
from fedagent.timing import AgentTiming
from fedcore.clock import Clock
from fedhub.run import RunningHub, running_hub
from fedhub.settings import HubSettings
from fedhub.store.engine import open_database
from fedhub.timing import HubTiming

DOMAIN = "credit.example.com"
NAME = "credit"
PARTIES = ((9999, "alpha"), (10000, "beta"))


class Lifecycle(Protocol):
    """What runs in this process (`Part`) or in another (`forks.Fork`)."""

    async def start(self) -> object:
        """Start it and wait until it serves."""

    async def stop(self) -> None:
        """Stop it in good order."""

    async def kill(self) -> None:
        """Stop it where it stands."""


OpenPlace = Callable[[str, Path], AbstractAsyncContextManager[SitePlace]]


class Federation:
    """One hub and its sites. `sites` are opened by `open_place`; agents join and start by default.

    `clock` is the hub's and the agents'. `cuttable` puts a `Cutter` between each agent and the hub.
    `hub_settings` go beyond the addresses: a database, a catalogue. `timing` is that of the agents.
    """

    def __init__(  # noqa: PLR0913 - what tests vary
        self,
        folder: Path,
        *,
        sites: Sequence[str] = ("hq", "alpha", "beta"),
        open_place: OpenPlace = simulated_place,
        clock: Clock | None = None,
        cuttable: bool = False,
        heartbeat_s: float = 15.0,
        agent_settings: Mapping[str, Json] | None = None,
        hub_settings: Mapping[str, Any] | None = None,
        timing: AgentTiming = DEFAULT_TIMING,
    ) -> None:
        self.timing = timing
        self.folder = folder
        self.clock = clock or running_clock()
        self.places: dict[str, SitePlace] = {}
        self.agents: dict[str, Lifecycle] = {}
        self.cutters: dict[str, Cutter] = {}
        self._names = tuple(sites)
        self._open_place = open_place
        self._cuttable = cuttable
        self._agent_settings = dict(agent_settings or {})
        self._stack = AsyncExitStack()
        self._opened = AsyncExitStack()
        self._api: HubApi | None = None
        rest, enrol, link = free_ports(3)
        self.link_port = link
        self.hub_settings = HubSettings(
            state=folder / "hub",
            listen=f"127.0.0.1:{rest}",
            enrol_listen=f"127.0.0.1:{enrol}",
            link_listen=f"127.0.0.1:{link}",
            **{"timing": HubTiming(heartbeat_interval_s=heartbeat_s), **(hub_settings or {})},
        )
        self.hub: Lifecycle = Part("hub", lambda: running_hub(self.hub_settings, clock=self.clock))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._opened)
            # Before the places: one that closes waits for whoever still talks to it.
            stack.push_async_callback(self._stop_all)
            await asyncio.gather(self.start_hub(), self._open_places())
            for name in self._names:
                await self.join(name)
            await asyncio.gather(*(self.start_agent(name) for name in self._names))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open_places(self) -> None:
        for name in self._names:
            await self._open(name)

    async def _open(self, name: str) -> None:
        place = self._open_place(name, self.folder / name)
        self.places[name] = await self._opened.enter_async_context(place)
        if self._cuttable:
            cutter = Cutter(self.link_port)
            self.cutters[name] = await self._opened.enter_async_context(cutter)

    async def _stop_all(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.hub.stop)
            if self._api is not None:
                stack.push_async_callback(self._api.__aexit__)
            for agent in self.agents.values():
                stack.push_async_callback(agent.stop)

    # --- parts ---------------------------------------------------------------------------------

    @property
    def api(self) -> HubApi:
        """The hub's REST interface."""
        if self._api is None:
            raise RuntimeError("the hub was never started")
        return self._api

    async def start_hub(self) -> None:
        """Start the hub, at first or again on its state."""
        await self.hub.start()
        if self._api is None:
            api = HubApi(f"https://{self.hub_settings.listen}", self.hub_settings.state)
            self._api = await api.__aenter__()

    @property
    def running_hub(self) -> RunningHub:
        """The hub's insides, where it runs in this process."""
        assert isinstance(self.hub, Part)
        running: RunningHub = self.hub.value
        return running

    def place(self, site: str) -> SimulatedPlace:
        """Return a simulated site's place."""
        place = self.places[site]
        assert isinstance(place, SimulatedPlace)
        return place

    def settings_of(self, site: str) -> AgentSettings:
        """Return the settings of a site's agent."""
        common: Json = {"state": self.folder / site / "agent", "timing": self.timing}
        settings = common | self.places[site].agent_settings()
        return AgentSettings(**(settings | self._agent_settings.get(site, {})))

    async def join(self, site: str) -> None:
        """Invite a site and let its agent join."""
        invited = await self.api.post("sites", {"name": site})
        settings = self.settings_of(site)
        await join(settings, invited["enrol_address"], invited["token"], invited["ca_fingerprint"])
        if site in self.cutters:
            self.redirect(site, self.cutters[site].port)
        self.agents[site] = Part(f"agent.{site}", lambda: running_agent(settings, clock=self.clock))

    def redirect(self, site: str, port: int) -> None:
        """Have a site's agent dial another port of this machine."""
        file = self.folder / site / "agent" / "identity.json"
        identity = json.loads(file.read_text()) | {"link_address": f"127.0.0.1:{port}"}
        file.write_text(json.dumps(identity))

    async def start_agent(self, site: str) -> None:
        """Start a site's agent, at first or again on its state."""
        await self.agents[site].start()

    def agent(self, site: str) -> RunningAgent:
        """Return an agent's insides, where it runs in this process."""
        agent = self.agents[site]
        assert isinstance(agent, Part)
        running: RunningAgent = agent.value
        return running

    async def add_site(self, site: str) -> None:
        """Open one more site with a running agent."""
        await self._open(site)
        await self.join(site)
        await self.start_agent(site)

    # --- intent --------------------------------------------------------------------------------

    def intent(self, parties: Sequence[tuple[int, str]] = PARTIES, **changes: Any) -> Json:
        """Return an intent: an exchange at hq, parties as (id, site); `changes` are added."""
        rows = [{"id": party, "site": site} for party, site in parties]
        basis = {"name": NAME, "domain": DOMAIN, "exchange": {"site": "hq"}, "parties": rows}
        return basis | changes

    async def apply(self, intent: Json) -> Json:
        """Apply an intent and return the hub's answer."""
        return await self.api.put(f"federations/{intent['name']}", intent)

    async def remove(self, name: str = NAME) -> Json:
        """Remove a federation with all that is in it."""
        return await self.api.delete(f"federations/{name}", cascade="true")

    # --- what the hub says ---------------------------------------------------------------------

    async def participants(self, name: str = NAME) -> dict[str, Json]:
        """Return the participants of a federation by their key."""
        rows = await self.api.items("participants", federation=name)
        return {row["key"]: row for row in rows}

    async def participant(self, key: int | str, name: str = NAME) -> Json:
        """Return all that the hub tells of a participant; its row is among it."""
        found = await self.api.get(f"participants/{name}/{key}")
        row: Json = found["participant"]
        return found | row

    async def wait_ready(self, name: str = NAME) -> dict[str, Json]:
        """Wait until every participant is Ready at its document's generation; return them."""

        async def are_ready() -> dict[str, Json] | None:
            rows = await self.participants(name)
            good = all(
                row["phase"] == "Ready" and row["observed_generation"] == row["generation"] > 0
                for row in rows.values()
            )
            return rows if rows and good else None

        found: dict[str, Json] = await until(
            are_ready, f"federation {name} is Ready", describe=lambda: self.tell(name)
        )
        return found

    async def wait_keys(self, *keys: int | str) -> None:
        """Wait until the participants are exactly these."""
        wanted = {str(key) for key in keys}

        async def are_these() -> bool:
            return (await self.participants()).keys() == wanted

        await until(are_these, f"participants {wanted}", describe=self.tell)

    async def until(self, check: Callable[[], Awaitable[Any]], what: str) -> Any:
        """Wait until the answer is true; fail with how everything stands."""
        return await until(check, what, describe=self.tell)

    async def wait_phase(self, key: int | str, phase: str, *, reason: str = "") -> Json:
        """Wait until a participant is in a phase, and for a reason; return it."""

        async def is_there() -> Json | None:
            row = await self.participant(key)
            return row if row["phase"] == phase and reason in {"", row["reason"]} else None

        what = f"{key} is {phase} {reason}"
        found: Json = await until(is_there, what, describe=self.tell)
        return found

    async def wait_gone(self, *keys: int | str, name: str = NAME) -> None:
        """Wait until the hub knows these participants no more; without keys: the federation."""

        async def is_gone() -> bool:
            if not keys:
                return (await self.api.call("GET", f"federations/{name}"))[0] == 404
            return not {str(key) for key in keys} & (await self.participants(name)).keys()

        await until(is_gone, f"{keys or name} gone", describe=lambda: self.tell(name))

    async def wait_operation(self, applied: Json) -> Json:
        """Wait until the operation of an answer has ended; return it."""
        path = f"operations/{applied['operation']['id']}"

        async def has_ended() -> Json | None:
            row: Json = (await self.api.get(path))["operation"]
            return row if row["ended_at"] else None

        found: Json = await until(has_ended, path, describe=self.tell)
        return found

    async def wait_site(self, site: str, state: str) -> Json:
        """Wait until a site is in a state; return it."""

        async def is_there() -> Json | None:
            row = await self.api.get(f"sites/{site}")
            return row if row["state"] == state else None

        found: Json = await until(is_there, f"site {site} is {state}")
        return found

    async def events(self, **query: str) -> list[Json]:
        """Return the events that the hub keeps, in order."""
        found: list[Json] = []
        while True:
            after = str(found[-1]["id"]) if found else "0"
            page = await self.api.get("events", after=after, limit="1000", **query)
            if not page["items"]:
                return found
            found += page["items"]

    async def tell(self, name: str = NAME) -> str:
        """Say how everything stands, for a test that fails."""
        rows = await self.api.items("participants", federation=name)
        ends = await self.api.items("endpoints")
        return "\n".join(
            f"{row['name']} at {row['site']}: {row['phase']} {row['reason']} {row['message']!r} "
            f"{row['observed_generation']}/{row['generation']}"
            for row in (*rows, *ends)
        )

    async def generations(self) -> dict[str, int]:
        """Return the generation of every document, by participant and as `endpoint/<site>`."""
        rows = await self.participants()
        ends = await self.api.items("endpoints")
        return {key: row["generation"] for key, row in rows.items()} | {
            f"endpoint/{row['site']}": row["generation"] for row in ends
        }

    # --- what is at the sites ------------------------------------------------------------------

    async def config_map(self, site: str, namespace: str, name: str) -> Json:
        """Return the data of a ConfigMap."""
        body = await get(self.places[site].kube, CONFIGMAPS, name, namespace=namespace)
        data: Json = body["data"]
        return data

    async def secret(self, site: str, namespace: str, name: str) -> Json | None:
        """Return a Secret, or None."""
        return await find(self.places[site].kube, SECRETS, name, namespace=namespace)

    def rows_naming(self, text: str) -> set[str]:
        """Return the tables of the hub's database in which a value occurs."""
        return tables_naming(self.hub_settings.state, text)

    async def check_events(self) -> None:
        """Wait until every spool is drained; no event of an agent is lost or doubled then."""
        for site in self.agents:
            journal = self.settings_of(site).journal_path

            async def is_drained(journal: Path = journal) -> bool:
                return journal_position(journal)[2] == 0

            await until(is_drained, f"the spool of {site} is empty")
            spool_id, last, _ = journal_position(journal)
            kept = (await self._spooled_events()).get(spool_id, [])
            assert kept == list(range(1, last + 1)), f"events of {site}"

    async def _spooled_events(self) -> dict[str, list[int]]:
        url = self.hub_settings.database_url
        if not url:
            return spooled_events(self.hub_settings.state)
        database = open_database(url)
        try:
            return await spooled_events_in(database)
        finally:
            await database.dispose()


@asynccontextmanager
async def ready_federation(folder: Path, **settings: Any) -> AsyncIterator[Federation]:
    """Open a federation with an exchange and two parties that are Ready."""
    async with Federation(folder, **settings) as federation:
        await federation.apply(federation.intent())
        await federation.wait_ready()
        yield federation
