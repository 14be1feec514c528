"""Many at once: ten parties that join together, two hubs on one cluster, certificates that age."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from tests.support.clock import running_clock
from tests.support.federation import Federation
from tests.support.lifecycle import Json
from tests.support.place import SimulatedPlace

from fedagent.kube.kinds import NAMESPACES
from fedagent.kube.objects import find, list_all
from fedca.names import ProfileName
from fedca.profiles import PROFILES

TEN = tuple((party, ("hq", "alpha")[party % 2]) for party in range(11, 21))
WATCH_S = 0.05


async def tables(fed: Federation) -> tuple[set[str], set[str]]:
    """Return the parties in the exchange's two tables, as its ConfigMaps hold them."""
    data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
    rows = (yaml.safe_load(data["sni.yaml"]) or {}).get("sni") or []
    sni = {row["fqdn"].partition(".")[0] for row in rows} - {"sentinel"}
    data = await fed.config_map("hq", "fate-exchange", "nginx-config")
    nginx = {str(key) for key in yaml.safe_load(data["route_table.yaml"])} - {"default", "0"}
    return sni, nginx


async def test_ten_join_at_once_and_no_working_route_is_ever_missing(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq", "alpha")) as fed:
        first = ((1, "hq"), (2, "alpha"))
        await fed.apply(fed.intent(first))
        await fed.wait_ready()
        gaps: list[Json] = []
        looks = 0

        async def watch() -> None:
            nonlocal looks
            while True:
                for table in await tables(fed):
                    looks += 1
                    if missing := {"1", "2"} - table:
                        gaps.append({"missing": missing, "table": table})
                await asyncio.sleep(WATCH_S)

        watching = asyncio.create_task(watch())
        await fed.apply(fed.intent((*first, *TEN)))
        await fed.wait_keys("exchange", 1, 2, *(party for party, _ in TEN))
        await fed.wait_ready()
        watching.cancel()
        wanted = {str(party) for party, _ in (*first, *TEN)}
        assert await tables(fed) == (wanted, wanted)
        assert gaps == []
        assert looks > 20
        probes = (await fed.participant("exchange"))["probes"]
        assert {row["state"] for row in probes} == {"Reachable"}
        assert len(probes) == len(wanted)
        updates = await fed.places["hq"].submissions("ClusterUpdate")
        assert sum(name.startswith("fate-exchange") for name in updates) <= 12
        before = await fed.generations()
        assert {before[str(party)] for party, _ in (*first, *TEN)} == {1}


async def test_two_hubs_on_one_cluster_leave_each_others_things_alone(tmp_path: Path) -> None:
    async with Federation(tmp_path / "one", sites=("hq",)) as one:
        place = one.place("hq")
        await one.apply(one.intent(((9999, "hq"),)))
        await one.wait_ready()
        async with Federation(
            tmp_path / "two", sites=("hq",), open_place=lambda _name, _at: Lent(place)
        ) as two:
            kube = place.kube
            before = await list_all(kube, NAMESPACES)
            await two.apply(two.intent(((9999, "hq"),), domain="other.example.com"))
            row = await two.wait_phase("exchange", "Refused", reason="OwnedByAnother")
            owner = (await one.participant("exchange"))["id"]
            assert f"{one.running_hub.hub.hub_id}/{owner}" in row["message"]
            (end,) = await two.api.items("endpoints")
            assert one.running_hub.hub.hub_id in end["message"]
            applied = await two.remove()
            await two.wait_gone()
            assert (await two.wait_operation(applied))["state"] == "Succeeded"
            after = await list_all(kube, NAMESPACES)
            assert [row["metadata"]["uid"] for row in before] == [
                row["metadata"]["uid"] for row in after
            ]
        rows = await one.wait_ready()
        assert {row["phase"] for row in rows.values()} == {"Ready"}
        assert await find(place.kube, NAMESPACES, "fate-9999") is not None


class Lent:
    """A place that another federation opened and will close."""

    def __init__(self, place: SimulatedPlace) -> None:
        self._place = place

    async def __aenter__(self) -> SimulatedPlace:
        return self._place

    async def __aexit__(self, *_: object) -> None:
        """Leave it to its owner."""


async def test_certificates_are_renewed_at_two_thirds_of_their_life_with_a_new_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (ProfileName.PULSAR, ProfileName.ATS):
        monkeypatch.setitem(PROFILES, name, replace(PROFILES[name], life=timedelta(days=6)))
    # TLS goes by the machine's clock: so the days before are the ones that are made up.
    clock = running_clock(timedelta(days=-5))
    async with Federation(tmp_path, sites=("hq",), clock=clock) as fed:
        await fed.apply(fed.intent(((9999, "hq"),)))
        await fed.wait_ready()
        old = {name: await leaf(fed, *name) for name in SECRETS}
        agent = fed.agent("hq").identity.value.certificate
        clock.advance(timedelta(days=3))
        await fed.agents["hq"].stop()
        await fed.start_agent("hq")
        await fed.wait_ready()
        assert {name: await leaf(fed, *name) for name in SECRETS} == old, "half of life is early"
        clock.advance(timedelta(days=2))
        await fed.agents["hq"].stop()
        await fed.start_agent("hq")

        async def are_new() -> bool:
            new = {name: await leaf(fed, *name) for name in SECRETS}
            return all(new[name].serial_number != old[name].serial_number for name in SECRETS)

        await fed.until(are_new, "both certificates are renewed")
        await fed.wait_ready()
        for name in SECRETS:
            new = await leaf(fed, *name)
            assert new.public_key() != old[name].public_key()
            assert new.not_valid_after_utc > old[name].not_valid_after_utc + timedelta(days=4)
        renewed = fed.agent("hq").identity.value.certificate
        assert renewed.serial_number != agent.serial_number
        assert renewed.public_key() != agent.public_key()
        rows = await fed.api.items("certificates")
        live = [row for row in rows if row["profile"] == "pulsar" and not row["superseded"]]
        assert len(live) == 1


SECRETS = (
    ("fate-9999", "pulsar-cert", "broker.cert.pem"),
    ("fate-exchange", "traffic-server-cert", "proxy.cert.pem"),
)


async def leaf(fed: Federation, namespace: str, name: str, key: str) -> x509.Certificate:
    body = await fed.secret("hq", namespace, name)
    assert body is not None
    return x509.load_pem_x509_certificates(base64.b64decode(body["data"][key]))[0]
