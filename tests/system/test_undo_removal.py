"""Removals that are taken back, in whatever state they are found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.federation import Federation
from tests.support.place import simulated_place

from fedagent.kube.kinds import NAMESPACES, PODS
from fedagent.kube.objects import find, list_all
from fedhub.services import liveness
from fedsim.kube import Delays

PARTIES = ((9999, "hq"),)
"""Of waits for deployments: generous, for they end as soon as they can."""
Json = dict[str, Any]


def denying_removals(folder: Path) -> Json:
    """Write the policy of a site that lets nothing go; return its agent's setting."""
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump({"actions": {"remove": "deny"}}))
    return {"policy": path}


async def pods(fed: Federation, namespace: str, site: str = "hq") -> set[str]:
    """Return the identities of the pods in a namespace."""
    found = await list_all(fed.places[site].kube, PODS, namespace=namespace)
    return {row["metadata"]["uid"] for row in found}


async def routed(fed: Federation) -> set[str]:
    """Return the parties in the exchange's table, as its ConfigMap has it."""
    data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
    rows = yaml.safe_load(data["sni.yaml"])["sni"]
    return {row["fqdn"].partition(".")[0] for row in rows} - {"sentinel"}


async def wait_routed(fed: Federation, parties: Iterable[int]) -> None:
    """Wait until the exchange's table names exactly these parties."""
    wanted = {str(party) for party in parties}

    async def are_these() -> bool:
        return await routed(fed) == wanted

    await fed.until(are_these, f"routes of {wanted}")


async def jobs(fed: Federation, method: str, namespace: str = "fate-9999") -> int:
    """Count the jobs of a method in a namespace."""
    counted = await fed.places["hq"].submissions(method)
    return sum(count for key, count in counted.items() if key.startswith(f"{namespace} "))


async def test_a_refused_removal_is_taken_back_and_nothing_is_reinstalled(tmp_path: Path) -> None:
    settings = {"hq": denying_removals(tmp_path)}
    async with Federation(tmp_path, sites=("hq",), agent_settings=settings) as fed:
        await fed.apply(fed.intent(PARTIES))
        before = await fed.wait_ready()
        running = await pods(fed, "fate-9999")
        await fed.apply(fed.intent(()))
        await fed.wait_phase(9999, "Refused", reason="actions.remove")
        await wait_routed(fed, ())

        applied = await fed.apply(fed.intent(PARTIES))
        assert applied["restored"] == ["credit/9999"]
        ended = await fed.wait_operation(applied)
        assert ended["state"] == "Succeeded", ended
        after = await fed.wait_ready()
        await wait_routed(fed, (9999,))
        assert after["9999"]["id"] == before["9999"]["id"]
        assert running
        assert await pods(fed, "fate-9999") == running
        assert await jobs(fed, "ClusterInstall") == 1


SLOW_PODS = {"kube_settings": {"delays": replace(Delays.none(), stop_s=3.0)}}
SLOW_HELM = {"service_settings": {"helm_delay_s": 20.0}}


@pytest.mark.parametrize(
    ("slow", "reasons"),
    [
        pytest.param(SLOW_HELM, {"JobRunning", "Uninstalling"}, id="while-helm-works"),
        pytest.param(SLOW_PODS, {"PodsEnding", "NamespaceGoing"}, id="while-pods-end"),
    ],
)
async def test_a_removal_is_taken_back_in_the_middle_of_its_uninstall(
    tmp_path: Path, slow: Json, reasons: set[str]
) -> None:
    async with Federation(
        tmp_path,
        sites=("hq",),
        open_place=lambda name, at: simulated_place(name, at, **slow),
    ) as fed:
        await fed.apply(fed.intent(PARTIES))
        before = await fed.wait_ready()
        await fed.apply(fed.intent(()))

        async def is_uninstalling() -> bool:
            return (await fed.participant(9999))["reason"] in reasons

        await fed.until(is_uninstalling, "the uninstall is under way")
        applied = await fed.apply(fed.intent(PARTIES))
        assert applied["restored"] == ["credit/9999"]
        ended = await fed.wait_operation(applied)
        assert ended["state"] == "Succeeded", ended
        after = await fed.wait_ready()
        await wait_routed(fed, (9999,))
        assert after["9999"]["id"] == before["9999"]["id"]
        assert await jobs(fed, "ClusterInstall") == 2


async def test_the_removal_of_a_federation_is_taken_back(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq", "alpha")) as fed:
        parties = ((9999, "hq"), (10000, "alpha"))
        await fed.apply(fed.intent(parties))
        before = await fed.wait_ready()
        removed = await fed.remove()
        applied = await fed.apply(fed.intent(parties))
        assert applied["federation"]["removing"] is False
        assert (await fed.wait_operation(removed))["state"] == "Superseded"
        ended = await fed.wait_operation(applied)
        assert ended["state"] == "Succeeded", ended
        after = await fed.wait_ready()
        await wait_routed(fed, (9999, 10000))
        assert {key: row["id"] for key, row in after.items()} == {
            key: row["id"] for key, row in before.items()
        }
        await fed.remove()
        await fed.wait_gone()
        assert await find(fed.places["hq"].kube, NAMESPACES, "fate-9999") is None


async def test_a_party_given_up_runs_on_untouched_when_its_site_comes_back(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq", "alpha"), heartbeat_s=1.0) as fed:
        await fed.apply(fed.intent(((9999, "alpha"),)))
        rows = await fed.wait_ready()
        running = await pods(fed, "fate-9999", "alpha")
        await fed.agents["alpha"].stop()

        async def is_offline() -> bool:
            await liveness.mark_offline(fed.running_hub.hub)
            return bool((await fed.api.get("sites/alpha"))["state"] == "Offline")

        await fed.until(is_offline, "alpha is Offline")
        await fed.remove()
        answer = await fed.api.delete("participants/credit/9999", force="true")
        assert answer["items"][0]["namespace"] == "fate-9999"
        await fed.wait_gone()

        async def are_revoked() -> bool:
            rows = await fed.api.items("certificates")
            revoked = {row["resource"] for row in rows if row["revoked_at"]}
            return revoked == {"credit/9999", "credit/exchange"}

        await fed.until(are_revoked, "the certificates of both are revoked")
        await fed.start_agent("alpha")
        await fed.wait_site("alpha", "Online")
        status = await fed.agent("alpha").journal.documents.get(rows["9999"]["id"])
        assert status is not None, "what does not leave is not forgotten"
        assert running
        assert await pods(fed, "fate-9999", "alpha") == running
        assert await find(fed.places["alpha"].kube, NAMESPACES, "fate-9999") is not None
        told = await fed.events(participant="credit/9999")
        assert "participant.force_removed" in {row["kind"] for row in told}
