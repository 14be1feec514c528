"""Watch over an exchange's two tables: which route was missing, and when."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

import yaml
from tests.support.kubeapi import KubeApi
from tests.support.patience import patient

LOOK_S = 0.05
END_LIMIT_S = 20.0
Routes = dict[str, Any]


def tunnels(data: Mapping[str, str]) -> Routes:
    """Return Traffic Server's routes by party."""
    rows = (yaml.safe_load(data["sni.yaml"]) or {}).get("sni") or []
    found = {row["fqdn"].partition(".")[0]: row["tunnel_route"] for row in rows}
    return {key: value for key, value in found.items() if key.isdigit()}


def ways(data: Mapping[str, str]) -> Routes:
    """Return nginx's routes by party."""
    rows = yaml.safe_load(data["route_table.yaml"]) or {}
    return {str(key): row for key, row in rows.items() if str(key) not in {"default", "0"}}


TABLES = {"traffic-server-sni": tunnels, "nginx-config": ways}


@dataclass
class Unplannable:
    """What the tables have shown, in the order of one observer: no route of it may go or change.

    `leaving` are the parties whose routes may. `longest_s` is the longest time between two looks.
    """

    routes: dict[str, Routes] = field(default_factory=lambda: {name: {} for name in TABLES})
    gaps: list[str] = field(default_factory=list)
    seen: int = 0
    longest_s: float = 0.0
    leaving: frozenset[str] = frozenset()
    last: dict[str, Mapping[str, str] | None] = field(default_factory=dict)

    def take(self, table: str, data: Mapping[str, str] | None) -> None:
        """Note a state of a table; None where the whole ConfigMap is not there."""
        self.seen += 1
        if table in self.last and self.last[table] == data:
            return
        self.last[table] = data
        now = TABLES[table](data) if data is not None else {}
        held = self.routes[table]
        self.gaps += [
            f"{table} {self.seen}: {party} was {held[party]}, is {now.get(party)}"
            for party in sorted(held.keys() - self.leaving)
            if now.get(party) != held[party]
        ]
        held |= now


@dataclass
class Vigil:
    """Two observers: one looks every 50 ms, one misses no change. Read them after the end."""

    changes: Unplannable = field(default_factory=Unplannable)
    looks: Unplannable = field(default_factory=Unplannable)
    leave: Event = field(default_factory=multiprocessing.get_context("spawn").Event)

    def let_go(self, parties: frozenset[str]) -> None:
        """Let parties leave: from now on their routes may go."""
        self.changes.leaving = parties
        self.leave.set()

    async def follow(self, api: KubeApi, path: str) -> None:
        """Take every state that the tables were in."""
        version = (await api.get(path))["metadata"]["resourceVersion"]
        async for event in api.watch(path, version):
            body = event["object"]
            if body["metadata"]["name"] in TABLES:
                data = None if event["type"] == "DELETED" else body["data"]
                self.changes.take(body["metadata"]["name"], data)


@dataclass(frozen=True)
class Errand:
    """What the looking process is told."""

    api: KubeApi
    path: str
    parties: frozenset[str]
    """Those that leave once `leave` is set."""
    leave: Event
    begun: Event
    end: Event
    answer: Connection


def look(errand: Errand) -> None:
    """Look at both tables, again and again, until the end; answer with what was seen."""
    errand.answer.send(asyncio.run(_look(errand)))


async def _look(errand: Errand) -> Unplannable:
    held, before = Unplannable(), time.monotonic()
    async with errand.api.connected() as ask:
        while not errand.end.is_set():
            found = {
                row["metadata"]["name"]: row["data"] for row in (await ask(errand.path))["items"]
            }
            if held.seen:
                held.longest_s = max(held.longest_s, time.monotonic() - before)
            before = time.monotonic()
            held.leaving = errand.parties if errand.leave.is_set() else frozenset()
            for table in TABLES:
                held.take(table, found.get(table))
            errand.begun.set()
            await asyncio.sleep(max(0.0, before + LOOK_S - time.monotonic()))
    return held


@asynccontextmanager
async def vigil(api: KubeApi, namespace: str, parties: frozenset[str]) -> AsyncIterator[Vigil]:
    """Watch the tables in a namespace meanwhile; a watcher that fails, fails the test.

    `parties` are those that `let_go` may be told. Who looks has a process to himself: he shall not
    wait for hub, agents and services, which share this one.
    """
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = Vigil()
    spawn = multiprocessing.get_context("spawn")
    begun, end = spawn.Event(), spawn.Event()
    here, there = spawn.Pipe(duplex=False)
    errand = Errand(api, path, parties, made.leave, begun, end, there)
    looking = spawn.Process(target=look, args=(errand,), daemon=True)
    looking.start()
    there.close()
    following = asyncio.create_task(made.follow(api, path))
    try:
        assert await asyncio.to_thread(begun.wait, END_LIMIT_S)
        yield made
        end.set()
        made.looks = await asyncio.wait_for(asyncio.to_thread(here.recv), patient())
        assert not following.done() or following.result()
    finally:
        end.set()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await asyncio.to_thread(looking.join, END_LIMIT_S)
        looking.kill()
        here.close()
