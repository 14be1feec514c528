"""Whatever set of parties the planner is given, what it writes routes on the real proxies."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest
from tests.dataplane.federation import Bureau, Party
from tests.dataplane.probes import posted, presented, reached, to
from tests.dataplane.stage import NODES, node_of, staged
from tests.support.proxy_host import ProxyHost

from fedhub.planner.routes import TUNNEL_PORTS

pytestmark = pytest.mark.dataplane
SEEDS = range(40) if os.environ.get("FED_TEST_FULL") else range(4)


def some_parties(proxy_host: ProxyHost, seed: int) -> tuple[list[Party], list[int]]:
    """Return parties at random places, and those of them that stand in no table."""
    chance = random.Random(seed)
    count = chance.randint(1, NODES)
    ids = chance.sample([*range(1, 20), *range(9990, 10_010), 99_999, 999_999], count)
    ports = [port for low, high in TUNNEL_PORTS[1:] for port in range(low, high + 1)]
    nodes = [node_of(proxy_host, each) for each in range(1, NODES + 1)]
    places = chance.sample(list(itertools.product(nodes, ports)), 2 * count)
    parties = [Party(each, places[2 * n], places[2 * n + 1]) for n, each in enumerate(ids)]
    return parties, chance.sample(ids, chance.randint(0, count // 3))


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_set_of_parties_routes(
    seed: int, proxy_host: ProxyHost, tmp_path: Path, bureau: Bureau
) -> None:
    parties, silent = some_parties(proxy_host, seed)
    async with staged(proxy_host, tmp_path, bureau, parties, unreported=silent) as stage:
        asker = stage.deployed.parties[0]
        way = stage.way_of(asker.id)
        for party in stage.deployed.parties:
            if party.id in silent:
                assert await presented(way.ats, way.name(party.id)) == (f"proxy.{way.domain}",)
                assert await posted(way.nginx, to(party.id)) != (200, party.id)
            else:
                greeting = await reached(way.ats, way.name(party.id), bureau.roots_pem)
                assert greeting == f"party {party.id}"
                assert await posted(way.nginx, to(party.id)) == (200, party.id)
