"""Random walks: people change their minds while processes die and lines break.

When things calm down, everything is as the last intent says.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from tests.support.federation import Federation
from tests.support.hubapi import Refused
from tests.support.lifecycle import impatient_timing

from fedagent.kube.kinds import NAMESPACES
from fedagent.kube.objects import list_all

SITES = ("hq", "alpha")
POOL = (1, 2, 3)
STEPS = 10
log = structlog.get_logger()
Json = dict[str, Any]


def seeds() -> range:
    """Two hundred in the full suite."""
    return range(200 if os.environ.get("FED_TEST_FULL") else 2)


@dataclass
class Walk:
    """A federation and what was last asked of it."""

    fed: Federation
    rng: random.Random
    parties: dict[int, Json] = field(default_factory=dict)
    exists: bool = False
    trail: list[str] = field(default_factory=list)

    async def step(self) -> None:
        """Do one thing at random."""
        choices: list[Callable[[], Awaitable[str]]] = [
            self.join,
            self.join,
            self.leave,
            self.move,
            self.remove,
            self.kill_agent,
            self.kill_hub,
            self.kill_kubefate,
            self.cut,
            self.heal,
        ]
        self.trail.append(await self.rng.choice(choices)())

    async def join(self) -> str:
        party = self.rng.choice(POOL)
        self.parties[party] = {"id": party, "site": SITES[party % 2]}
        return f"join {party}: {await self._apply()}"

    async def leave(self) -> str:
        if not self.parties:
            return "nobody leaves"
        party = self.rng.choice(sorted(self.parties))
        del self.parties[party]
        return f"leave {party}: {await self._apply()}"

    async def move(self) -> str:
        if not self.parties:
            return "nobody moves"
        party = self.rng.choice(sorted(self.parties))
        host = f"203.0.113.{self.rng.randint(1, 250)}"
        self.parties[party]["advertise"] = {"pulsar": f"{host}:30109", "nginx": f"{host}:30103"}
        return f"move {party}: {await self._apply()}"

    async def remove(self) -> str:
        if not self.exists or self.rng.random() < 0.5:
            return "no removal"
        await self.fed.remove()
        self.parties, self.exists = {}, False
        return "remove all"

    async def kill_agent(self) -> str:
        site = self.rng.choice(SITES)
        await self.fed.agents[site].kill()
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        await self.fed.start_agent(site)
        return f"kill agent of {site}"

    async def kill_hub(self) -> str:
        await self.fed.hub.kill()
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        await self.fed.start_hub()
        return "kill hub"

    async def kill_kubefate(self) -> str:
        site = self.rng.choice(SITES)
        service = self.fed.place(site).service
        await service.kill()
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        await service.start()
        return f"kill KubeFATE of {site}"

    async def cut(self) -> str:
        site = self.rng.choice(SITES)
        cutter = self.fed.cutters[site]
        self.rng.choice((cutter.cut, cutter.freeze, cutter.drop))()
        return f"cut {site}"

    async def heal(self) -> str:
        for cutter in self.fed.cutters.values():
            cutter.heal()
        return "heal"

    async def _apply(self) -> str:
        """Apply what is wished; a refusal (still going, say) is tried again when all is calm."""
        try:
            await self.fed.apply(self.intent())
        except Refused as refusal:
            if refusal.status != 409:
                raise
            return "refused for now"
        self.exists = True
        return "applied"

    def intent(self) -> Json:
        return self.fed.intent(()) | {
            "parties": [self.parties[key] for key in sorted(self.parties)]
        }

    async def calm(self) -> None:
        """Mend what was broken, and say the last wish again until it is taken."""
        await self.heal()
        if not self.parties and not self.exists:
            return

        async def is_taken() -> bool:
            return not (await self._apply()).startswith("refused")

        await self.fed.until(is_taken, "the last wish is taken")


async def check_end(walk: Walk) -> None:
    """Everything is as the last intent says."""
    fed = walk.fed
    wanted = {str(party) for party in walk.parties}
    if not walk.exists:
        await fed.wait_gone()
    else:
        await fed.wait_keys("exchange", *wanted)
        await fed.wait_ready()
        data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
        table = {
            row["fqdn"]: row["tunnel_route"] for row in yaml.safe_load(data["sni.yaml"])["sni"]
        }
        assert {name.partition(".")[0] for name in table} - {"sentinel"} == wanted
        for party, row in walk.parties.items():
            if "advertise" in row:
                assert table[f"{party}.credit.example.com"] == row["advertise"]["pulsar"]
    for site in SITES:
        kube = fed.places[site].kube
        spaces = {row["metadata"]["name"] for row in await list_all(kube, NAMESPACES)}
        should = {f"fate-{party}" for party in walk.parties if SITES[party % 2] == site}
        if walk.exists and site == "hq":
            should.add("fate-exchange")
        assert {name for name in spaces if name.startswith("fate-")} == should
    await fed.check_events()


@pytest.mark.parametrize("seed", seeds())
async def test_a_walk_ends_as_the_last_intent_says(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    opened = Federation(
        tmp_path, sites=SITES, cuttable=True, heartbeat_s=0.4, timing=impatient_timing()
    )
    async with opened as fed:
        walk = Walk(fed, rng)
        for _ in range(STEPS):
            await walk.step()
            await asyncio.sleep(rng.uniform(0.0, 1.0))
        log.info("walk.calms", trail=walk.trail)
        await walk.calm()
        await check_end(walk)
