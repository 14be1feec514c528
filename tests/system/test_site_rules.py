"""What a site's own people decide: its policy, its consent, its KubeFATE, its repairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.federation import Federation
from tests.support.place import HOME, simulated_place

from fedagent.kube.kinds import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, SECRETS
from fedagent.kube.objects import delete, find, list_all, patch
from fedagent.kube.ownership import Owner, OwnerRole
from fedagent.kubefate.manifests import Scope, ServicePlan
from fedagent.kubefate.service import install_service
from fedagent.run import approve, list_approvals
from fedcore.errors import Invalid
from fedsim.faults import FaultName

PARTIES = ((9999, "hq"),)
Json = dict[str, Any]


def with_policy(folder: Path, policy: Json) -> Json:
    """Write a policy file and return the agent's setting of it."""
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy))
    return {"policy": path}


REFUSALS = (
    ({"namespaces": ["kube-fate", "fate-exchange"]}, "namespaces", "fate-9999"),
    ({"charts": [{"name": "fate-exchange"}]}, "charts", "fate v1.8.0"),
    ({"charts": [{"name": "fate-exchange"}, {"name": "fate", "version": "v1.9.*"}]}, "charts", ""),
    (
        {"charts": [{"name": "fate-exchange"}, {"name": "fate", "digests": ["0" * 64]}]},
        "charts.digests",
        "",
    ),
)


@pytest.mark.parametrize(("policy", "rule", "word"), REFUSALS)
async def test_what_a_policy_forbids_is_refused_with_the_rules_name(
    tmp_path: Path, policy: Json, rule: str, word: str
) -> None:
    settings = {"hq": with_policy(tmp_path, policy)}
    async with Federation(tmp_path, sites=("hq",), agent_settings=settings) as fed:
        applied = await fed.apply(fed.intent(PARTIES))
        row = await fed.wait_phase(9999, "Refused", reason=rule)
        assert word in row["message"]
        assert (await fed.wait_operation(applied))["state"] == "Failed"
        await fed.wait_phase("exchange", "Ready")
        assert await find(fed.places["hq"].kube, NAMESPACES, "fate-9999") is None


async def test_a_kind_of_action_that_a_policy_denies_is_not_done(tmp_path: Path) -> None:
    settings = {"hq": with_policy(tmp_path, {"actions": {"remove": "deny"}})}
    async with Federation(tmp_path, sites=("hq",), agent_settings=settings) as fed:
        await fed.apply(fed.intent(()))
        await fed.wait_ready()
        await fed.remove()
        await fed.wait_phase("exchange", "Refused", reason="actions.remove")
        assert await find(fed.places["hq"].kube, NAMESPACES, "fate-exchange") is not None


async def test_an_action_that_needs_a_person_waits_for_one_and_goes_on(tmp_path: Path) -> None:
    settings = {"hq": with_policy(tmp_path, {"approval": {"install": "manual"}})}
    async with Federation(tmp_path, sites=("hq",), agent_settings=settings) as fed:
        await fed.apply(fed.intent(()))
        await fed.wait_phase("exchange", "AwaitingApproval", reason="Approval.install")
        assert await find(fed.places["hq"].kube, NAMESPACES, "fate-exchange") is None
        agent = fed.settings_of("hq")

        async def all_is_approved() -> bool:
            for line in await list_approvals(agent):
                if " install " in line:
                    await approve(agent, line.split()[0], by="anna")
            rows = await fed.participants()
            return rows["exchange"]["phase"] == "Ready"

        await fed.until(all_is_approved, "approved, the exchange becomes Ready")
        assert "participant.awaiting_approval" in {event["kind"] for event in await fed.events()}


async def test_a_policy_that_is_not_valid_names_its_field(tmp_path: Path) -> None:
    settings = {"hq": with_policy(tmp_path, {"actions": {"instal": "deny"}})}
    with pytest.raises(Invalid, match=r"actions\.instal"):
        async with Federation(tmp_path, sites=("hq",), agent_settings=settings):
            pass


async def test_a_kubefate_that_is_there_is_adopted_and_left(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq",)) as fed:
        kube = fed.places["hq"].kube
        plan = ServicePlan(
            HOME, "federatedai/kubefate:v1.4.5", "mariadb:10", "", "1Gi", Scope.CLUSTER
        )
        stranger = Owner("nobody", "nobody", OwnerRole.ENDPOINT)
        await install_service(kube, plan, stranger)
        await strip_owner(fed)
        await fed.apply(fed.intent(()))
        await fed.wait_ready()
        (row,) = await fed.api.items("endpoints")
        assert row["adopted"] is True
        await fed.remove()
        await fed.wait_gone()
        await fed.api.delete("endpoints/hq")

        async def is_forgotten() -> bool:
            return not await fed.api.items("endpoints")

        await fed.until(is_forgotten, "the endpoint is given back")
        assert await find(kube, NAMESPACES, HOME) is not None
        assert fed.place("hq").service.value.is_up


async def strip_owner(fed: Federation) -> None:
    """Make a service look like one that a person installed: without our labels."""
    kube = fed.places["hq"].kube
    bare = {"metadata": {"labels": dict.fromkeys(Owner("x", "y", OwnerRole.ENDPOINT).labels())}}
    await patch(kube, NAMESPACES, HOME, bare)
    for body in await list_all(kube, DEPLOYMENTS, namespace=HOME):
        await patch(kube, DEPLOYMENTS, body["metadata"]["name"], bare, namespace=HOME)


async def test_a_kubefate_elsewhere_is_reached_by_url_and_credentials(tmp_path: Path) -> None:
    async with Federation(
        tmp_path,
        sites=("hq",),
        open_place=lambda name, at: simulated_place(
            name, at, service_settings={"credentials_secret": None}
        ),
    ) as fed:
        await fed.apply(fed.intent(PARTIES))
        await fed.wait_ready()
        (row,) = await fed.api.items("endpoints")
        assert row["access"] == "url"
        assert await find(fed.places["hq"].kube, NAMESPACES, HOME) is None
        await fed.remove()
        await fed.wait_gone()


async def spoil(fed: Federation) -> None:
    """Delete the exchange's certificate and write a foreign route by hand."""
    kube = fed.places["hq"].kube
    await delete(kube, SECRETS, "traffic-server-cert", namespace="fate-exchange")
    table = "sni:\n  - fqdn: evil.example.com\n    tunnel_route: 10.0.0.1:443\n"
    await patch(
        kube,
        CONFIGMAPS,
        "traffic-server-sni",
        {"data": {"sni.yaml": table}},
        namespace="fate-exchange",
    )


async def test_drift_is_put_right(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq",)) as fed:
        await fed.apply(fed.intent(PARTIES))
        await fed.wait_ready()
        await spoil(fed)

        async def is_right() -> bool:
            data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
            secret = await fed.secret("hq", "fate-exchange", "traffic-server-cert")
            return secret is not None and "9999.credit" in data["sni.yaml"]

        await fed.until(is_right, "certificate and table come back")
        await fed.wait_ready()
        assert "drift.found" in {event["kind"] for event in await fed.events()}


async def test_drift_is_only_reported_where_the_federation_says_so(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq",)) as fed:
        await fed.apply(fed.intent(PARTIES, repair="report"))
        await fed.wait_ready()
        await spoil(fed)
        row = await fed.wait_phase("exchange", "Degraded", reason="Drift")
        assert "left to you" in row["message"]
        data = await fed.config_map("hq", "fate-exchange", "traffic-server-sni")
        assert "evil.example.com" in data["sni.yaml"]
        assert await fed.secret("hq", "fate-exchange", "traffic-server-cert") is None


async def test_what_a_site_may_not_do_is_named_until_it_may(tmp_path: Path) -> None:
    async with Federation(tmp_path, sites=("hq",)) as fed:
        faults = fed.place("hq").simulated.faults
        faults.set(FaultName.FORBIDDEN, "create/namespaces")
        await fed.apply(fed.intent(()))

        async def is_named() -> bool:
            (row,) = await fed.api.items("endpoints")
            return "orbidden" in row["message"] or row["reason"] == "PermissionMissing"

        await fed.until(is_named, "the missing right is named")
        faults.clear(FaultName.FORBIDDEN)
        await fed.wait_ready()
