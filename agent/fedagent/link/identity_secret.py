"""The agent's identity in a Secret of its own cluster: nothing of it lies on a disk.

The Secret holds ``identity.json``, and ``join.key`` while a join is under way. It is replaced as a
whole with its ``resourceVersion``, so that of two agents that share it only one can write.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from fedagent.kube.client import Json, Kube
from fedagent.kube.errors import AlreadyExists, Conflict, Forbidden, KubeError
from fedagent.kube.kinds import SECRETS
from fedagent.kube.objects import create, find, replace
from fedagent.kube.ownership import HUB_LABEL, MANAGED_BY_LABEL, MANAGER
from fedcore.errors import ErrorCode, FedError, Invalid, NotFound, Unavailable
from fedlink.identity import Identity, make_key, read_identity, write_identity

log = structlog.get_logger()

_IDENTITY: Final = "identity.json"
_PENDING: Final = "join.key"
_OURS: Final = frozenset({_IDENTITY, _PENDING})


class IdentitySecret:
    """The agent's identity in one Secret, which is made where there is none.

    Raises Denied when a right is missing, Unavailable when Kubernetes cannot be asked, Invalid when
    the Secret is something else, and CONFLICT when another agent has written it.
    """

    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._body: Json | None = None

    @property
    def place(self) -> str:
        """The Secret."""
        return f"Secret {self._namespace}/{self._name}"

    async def exists(self) -> bool:
        """Return whether the agent has joined."""
        return _IDENTITY in _data_of(await self._read())

    async def load(self) -> Identity:
        """Read the identity."""
        content = _data_of(await self._read()).get(_IDENTITY)
        if content is None:
            raise NotFound(f"no identity in {self.place}: run `fedagent join` first")
        return read_identity(self._decoded(content), self.place)

    async def save(self, identity: Identity) -> None:
        """Replace the Secret: key and certificate in one request."""
        if self._body is None:
            await self._read()
        labels = {MANAGED_BY_LABEL: MANAGER, HUB_LABEL: identity.hub_id}
        await self._write({_IDENTITY: write_identity(identity)}, labels)

    async def pending_key(self) -> bytes:
        """Return the key of a join under way."""
        data = _data_of(await self._read())
        if _PENDING not in data:
            kept = {name: self._decoded(value) for name, value in data.items()}
            await self._write({**kept, _PENDING: make_key()}, {MANAGED_BY_LABEL: MANAGER})
            data = _data_of(self._body)
        return self._decoded(data[_PENDING])

    async def drop_pending_key(self) -> None:
        """Forget the key of a join; ``save`` has left it out already."""
        data = _data_of(self._body or await self._read())
        if _PENDING in data:
            kept = {name: self._decoded(value) for name, value in data.items()}
            del kept[_PENDING]
            await self._write(kept, {})

    def _decoded(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise Invalid(f"{self.place} holds no identity that can be read: join again") from None

    async def _read(self) -> Json | None:
        async with self._asking("read"):
            self._body = await find(self._kube, SECRETS, self._name, namespace=self._namespace)
        if not _data_of(self._body).keys() <= _OURS:
            self._body = None
            raise Invalid(f"{self.place} holds something else: name another Secret")
        return self._body

    async def _write(self, data: dict[str, bytes], labels: dict[str, str]) -> None:
        """Write the data; what others changed beside it (labels) is kept, and no reason to stop."""
        before = self._body
        try:
            await self._put(data, labels)
        except FedError as error:
            if error.code is not ErrorCode.CONFLICT:
                raise
            now = await self._read()
            if _data_of(now) != _data_of(before):
                log.warning("identity.conflict", place=self.place)
                raise
            await self._put(data, labels)

    async def _put(self, data: dict[str, bytes], labels: dict[str, str]) -> None:
        before: Json = self._body or {}
        meta = {"name": self._name, "namespace": self._namespace} | before.get("metadata", {})
        body: Json = {
            "metadata": meta | {"labels": {**(meta.get("labels") or {}), **labels}},
            "type": before.get("type", "Opaque"),
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }
        write = replace if before else create
        async with self._asking("written"):
            self._body = await write(self._kube, SECRETS, body, namespace=self._namespace)

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        """Make Kubernetes' errors ours, with the name of the Secret."""
        try:
            yield
        except (Conflict, AlreadyExists) as error:
            text = f"{self.place} was written by another agent: only one may use it"
            raise FedError(text, code=ErrorCode.CONFLICT) from error
        except Forbidden as error:
            text = f"{self.place} may not be {what}: give the agent the rule for it in deploy/rbac"
            raise FedError(f"{text} ({error.message})", code=ErrorCode.DENIED) from error
        except KubeError as error:
            raise Unavailable(f"{self.place} cannot be {what}: {error.message}") from error


def _data_of(body: Json | None) -> dict[str, str]:
    data: dict[str, str] = (body or {}).get("data") or {}
    return data
