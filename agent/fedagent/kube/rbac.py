"""The agent's own role in a namespace: Secrets are read where it works, and nowhere else.

Its cluster-wide role gives none. In a namespace that it works in it binds one more role to itself
(``deploy/rbac/agent-role.yaml``), which everybody can see there and which goes with the namespace.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from fedagent.kube.client import Json, Kube
from fedagent.kube.errors import Forbidden, NotFound
from fedagent.kube.inventory import Permission, may
from fedagent.kube.kinds import ROLEBINDINGS, SECRETS
from fedagent.kube.objects import apply, delete, find
from fedagent.kube.ownership import Owner, owner_of

log = structlog.get_logger()

DEFAULT_ROLE: Final = "fate-lifecycle-manager-namespace"
_BINDING: Final = "fate-lifecycle-manager-agent"
_GROUP: Final = "rbac.authorization.k8s.io"
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_ACCOUNT: Final = "system:serviceaccount:"


class NamespaceAccess:
    """Where the agent may read Secrets; ``role`` is the ClusterRole that it binds to itself."""

    def __init__(self, kube: Kube, role: str = DEFAULT_ROLE) -> None:
        self._kube = kube
        self._role = role
        self._granted: set[str] = set()

    async def is_granted(self, namespace: str) -> bool:
        """Return whether Secrets of the namespace may be read; once true it is not asked again."""
        if namespace not in self._granted and await may(
            self._kube, Permission("list", SECRETS, namespace)
        ):
            self._granted.add(namespace)
        return namespace in self._granted

    def invalidate(self, namespace: str) -> None:
        """Ask the server again at the next time: something was forbidden."""
        self._granted.discard(namespace)

    async def grant(self, namespace: str, owner: Owner) -> None:
        """Bind the role to the agent in a namespace and wait until it takes effect.

        Raises Forbidden, with the cure, when the agent may not bind it.
        """
        if await self.is_granted(namespace):
            return
        cure = f"bind ClusterRole {self._role} to the agent there, see deploy/rbac"
        try:
            await apply(self._kube, ROLEBINDINGS, await self._binding(owner), namespace=namespace)
        except (Forbidden, NotFound) as error:
            raise Forbidden(
                f"the agent has no rights in namespace {namespace} and may not grant itself any:"
                f" {cure}",
                status=error.status,
                reason=error.reason,
            ) from error
        log.info("role.granted", namespace=namespace, role=self._role)
        try:
            async with asyncio.timeout(self._kube.timing.grant_limit_s):
                while not await self.is_granted(namespace):  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(self._kube.timing.grant_poll_s)
        except TimeoutError:
            text = f"role {self._role} does not let the agent list Secrets in {namespace}: {cure}"
            raise Forbidden(text, reason="Forbidden") from None

    async def revoke(self, namespace: str, owner: Owner) -> None:
        """Remove the binding that ``grant`` made for this owner; bindings of others stay."""
        self.invalidate(namespace)
        try:
            binding = await find(self._kube, ROLEBINDINGS, _BINDING, namespace=namespace)
            if binding is not None and owner.is_same(owner_of(binding)):
                await delete(self._kube, ROLEBINDINGS, _BINDING, namespace=namespace)
        except Forbidden:
            log.debug("role.kept", namespace=namespace)

    async def _binding(self, owner: Owner) -> Json:
        return {
            "metadata": {"name": _BINDING, "labels": owner.labels()},
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": self._role},
            "subjects": [await self._subject()],
        }

    async def _subject(self) -> Json:
        review: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._kube.request("POST", _REVIEWS, body=review)
        user = str(answer["status"]["userInfo"]["username"])
        if user.startswith(_ACCOUNT):
            namespace, _, name = user.removeprefix(_ACCOUNT).partition(":")
            return {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        return {"apiGroup": _GROUP, "kind": "User", "name": user}
