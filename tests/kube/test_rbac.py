"""The roles in deploy/rbac suffice for all that an agent does, and for no Secret elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from tests.support.controlplane import ControlPlane, Planes
from tests.support.federation import Federation
from tests.support.kubeapi import RBAC, ApiError, KubeApi, kubeconfig
from tests.support.kubetier import HOME, RealPlace, Service, real_place, sweep
from tests.support.lifecycle import Json

pytestmark = [
    pytest.mark.kube,
    pytest.mark.asyncio(loop_scope="session"),
]

FILES = Path(__file__).parents[2] / "deploy" / "rbac"
COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{namespace}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{namespace}}/rolebindings",
}


def documents(name: str) -> list[Json]:
    return list(yaml.safe_load_all((FILES / name).read_text()))


async def apply(plane: ControlPlane, name: str) -> None:
    """Apply a file as `kubectl apply` does."""
    for body in documents(name):
        meta = body["metadata"]
        collection = COLLECTIONS[body["kind"]].format(namespace=meta.get("namespace", ""))
        await plane.api.apply(f"{collection}/{meta['name']}", body)


async def agent_of(plane: ControlPlane, namespace: str, folder: Path) -> tuple[Path, KubeApi]:
    """Return the kubeconfig of the ServiceAccount `fedagent`, and the API as it sees it."""
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/fedagent/token"
    token = str((await plane.api.post(account, {"spec": {}}))["status"]["token"])
    api = KubeApi(plane.url, token, plane.api.ca)
    path = folder / f"{namespace}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(kubeconfig(api))
    return path, api


@asynccontextmanager
async def federation(
    plane: ControlPlane, folder: Path, config: Path, *, namespaced: bool = False
) -> AsyncIterator[tuple[Federation, RealPlace]]:
    """One site whose agent is a ServiceAccount, which installs KubeFATE itself."""

    @asynccontextmanager
    async def opener(name: str, path: Path) -> AsyncIterator[RealPlace]:
        async with real_place(name, path, plane, Service.INSTALLED) as place:
            place.agent_kubeconfig = config
            place.namespaced = namespaced
            yield place

    async with AsyncExitStack() as stack:
        opened = Federation(folder, sites=("hq",), open_place=opener)
        running = await stack.enter_async_context(opened)
        place = running.places["hq"]
        assert isinstance(place, RealPlace)
        yield running, place


@pytest_asyncio.fixture(loop_scope="session")
async def plane(planes: Planes) -> ControlPlane:
    """A cluster of this file's own, with nothing on it, whatever became of the test before."""
    found = await planes.get(3)
    await sweep(found)
    return found


async def test_the_agents_role_is_enough_for_a_whole_life_and_for_no_secret_elsewhere(
    plane: ControlPlane, tmp_path: Path
):
    await apply(plane, "agent-role.yaml")
    await plane.api.create_namespace("theirs")
    config, api = await agent_of(plane, "fate-lifecycle-manager", tmp_path)
    async with federation(plane, tmp_path, config) as (running, place):
        await place.allow_exec("fate-exchange", "theirs")
        party = {"id": 9999, "site": "hq", "namespace": "theirs"}
        await running.apply(running.intent() | {"parties": [party]})
        await running.wait_ready()
        # Whether nginx is told as well depends on whether the party or the exchange came first.
        told = set(place.commands("fate-exchange"))
        assert (
            "traffic_ctl config reload" in told <= {"traffic_ctl config reload", "nginx -s reload"}
        )

        await api.get("/api/v1/namespaces/theirs/secrets/pulsar-cert")
        for path in ("/api/v1/secrets", "/api/v1/namespaces/default/secrets"):
            with pytest.raises(ApiError, match="403"):
                await api.get(path)

        await running.remove()
        await running.wait_gone()
        await running.api.delete("endpoints/hq")
        await plane.api.wait_gone(f"/api/v1/namespaces/{HOME}")

    # What was there is handed back without the agent's rights, and nothing else is left.
    assert await place.namespaces() == {"fate-lifecycle-manager", "theirs"}
    assert not (await plane.api.get(f"{RBAC}/namespaces/theirs/rolebindings"))["items"]
    with pytest.raises(ApiError, match="403"):
        await api.get("/api/v1/namespaces/theirs/secrets")
    roles = (await plane.api.get(f"{RBAC}/clusterroles"))["items"]
    assert not [role for role in roles if role["metadata"]["name"].startswith("kubefate")]


async def test_a_role_in_one_namespace_is_enough_for_kubefate_and_a_participant(
    plane: ControlPlane, tmp_path: Path
):
    await plane.api.create_namespace(HOME)
    await apply(plane, "agent-role-namespaced.yaml")
    config, api = await agent_of(plane, HOME, tmp_path)
    async with federation(plane, tmp_path, config, namespaced=True) as (running, place):
        await place.allow_exec(HOME)
        await running.apply(running.intent([], exchange={"site": "hq", "namespace": HOME}))
        await running.wait_ready()
        with pytest.raises(ApiError, match="403"):
            await api.get("/api/v1/namespaces")

        await running.remove()
        await running.wait_gone()
        found = (await plane.api.get(f"/apis/apps/v1/namespaces/{HOME}/deployments"))["items"]
        assert {body["metadata"]["name"] for body in found} == {"kubefate", "mariadb"}
        labels = (await plane.api.get(f"/api/v1/namespaces/{HOME}"))["metadata"]["labels"]
        assert not [key for key in labels if key.startswith("fate-lifecycle-manager.io/")]
