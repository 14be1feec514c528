"""Our KubeFATE manifests on the real API server: taken, run, and removed to nothing."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from tests.support.bare import wait_service
from tests.support.controlplane import ControlPlane, Planes
from tests.support.patience import patient

from fedagent.kube import objects
from fedagent.kube.client import connect
from fedagent.kube.errors import Forbidden
from fedagent.kube.kinds import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    DEPLOYMENTS,
    NAMESPACES,
    PVCS,
    ROLES,
)
from fedagent.kube.ownership import Owner, OwnerRole
from fedagent.kubefate.access import Access, AccessMode, AccessSettings, read_credentials
from fedagent.kubefate.manifests import Scope, ServicePlan
from fedagent.kubefate.service import install_service, uninstall_service

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session")]

OWNER = Owner("hub-1", "endpoint-1", OwnerRole.ENDPOINT)
ALL = ["get", "list", "watch", "create", "patch", "delete"]


def plan(namespace: str, scope: Scope = Scope.CLUSTER) -> ServicePlan:
    return ServicePlan(namespace, "registry.example/kubefate:v1.4.5", "mariadb:10", scope=scope)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(planes: Planes) -> ControlPlane:
    return await planes.get()


async def test_the_service_runs_on_a_claim_and_goes_without_a_trace(plane: ControlPlane) -> None:
    async with connect(plane.kubeconfig) as kube:
        await install_service(kube, plan("kf-one"), OWNER)
        assert await wait_service(kube, "kf-one")
        assert await objects.wait_until(
            kube,
            PVCS,
            "mariadb-data",
            lambda body: body is not None and body["status"].get("phase") == "Bound",
            namespace="kf-one",
            limit_s=patient(),
        )
        before = await objects.get(kube, DEPLOYMENTS, "kubefate", namespace="kf-one")
        await install_service(kube, plan("kf-one"), OWNER)
        after = await objects.get(kube, DEPLOYMENTS, "kubefate", namespace="kf-one")
        assert before["metadata"]["generation"] == after["metadata"]["generation"]
        credentials = await read_credentials(kube, "kf-one")
        assert len(credentials.username) <= 16
        assert len(credentials.password) == 32
        access = Access(kube, AccessSettings(AccessMode.PORT_FORWARD))
        assert await uninstall_service(kube, access, "kf-one", OWNER, limit_s=patient()) == ()
        for kind, name in (
            (NAMESPACES, "kf-one"),
            (CLUSTERROLES, "kubefate-kf-one"),
            (CLUSTERROLEBINDINGS, "kubefate-kf-one"),
        ):
            assert not await objects.exists(kube, kind, name)


async def test_one_namespace_is_enough_for_an_agent_that_has_no_more(
    plane: ControlPlane,
) -> None:
    await plane.api.create_namespace("kf-two")
    config = await plane.create_service_account("agent", namespace="kf-two", rules=RULES)
    async with connect(config) as kube:
        with pytest.raises(Forbidden):
            await objects.list_all(kube, NAMESPACES)
        await install_service(kube, plan("kf-two", Scope.NAMESPACE), OWNER)
        assert await wait_service(kube, "kf-two")
        access = Access(kube, AccessSettings(AccessMode.PORT_FORWARD))
        assert await uninstall_service(kube, access, "kf-two", OWNER, limit_s=patient()) == ()
        assert not await objects.exists(kube, ROLES, "kubefate-kf-two", namespace="kf-two")
    assert (await plane.api.get("/api/v1/namespaces/kf-two"))["status"]["phase"] == "Active"


RULES: list[dict[str, Any]] = [
    {
        "apiGroups": [""],
        "resources": [
            "secrets",
            "services",
            "configmaps",
            "persistentvolumeclaims",
            "serviceaccounts",
            "pods",
        ],
        "verbs": ALL,
    },
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ALL},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings"],
        "verbs": [*ALL, "bind", "escalate"],
    },
]
