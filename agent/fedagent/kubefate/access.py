"""How the agent reaches a KubeFATE service, and with which user.

In the cluster by its Service, from outside by a port-forward to its pod, or, where the service
lives elsewhere, by a URL and a credentials file that only the agent's own user may read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import tomllib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog

from fedagent.kube.client import Json, Kube
from fedagent.kube.forward import pod_selector, port_forward
from fedagent.kube.kinds import DEPLOYMENTS, SECRETS, SERVICES
from fedagent.kube.objects import find, get, list_all
from fedagent.kubefate.client import Credentials, KubeFate
from fedagent.kubefate.errors import KubeFateError, Unavailable
from fedagent.kubefate.timing import KubeFateTiming
from fedcore.clock import Clock
from fedcore.yaml_reader import YamlError, read_document

log = structlog.get_logger()

LABELS: Final = {"fate": "kubefate"}
"""On the Deployment and its pods, in KubeFATE's own manifests as in ours."""
NAME: Final = "kubefate"
PORT: Final = 8080
USERNAME_ENV: Final = "FATECLOUD_USER_USERNAME"
PASSWORD_ENV: Final = "FATECLOUD_USER_PASSWORD"  # noqa: S105 - the name of a variable
_DEFAULT: Final = "admin"
_MAX_FILE_BYTES: Final = 64 * 1024
_FORBIDDEN_MODE: Final = 0o077


class BadCredentials(KubeFateError):
    """The credentials cannot be read; the message says what a person must mend."""


class AccessMode(StrEnum):
    """The way to the service; reported to the hub."""

    SERVICE = "service"
    PORT_FORWARD = "port-forward"
    URL = "url"


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The agent's configuration. ``url`` and ``credentials_file`` belong to ``AccessMode.URL``.

    ``host`` is sent as the ``Host`` header, for an ingress that is called by its address.
    """

    mode: AccessMode
    url: str | None = None
    credentials_file: Path | None = None
    host: str | None = None
    ca_file: Path | None = None


class Access:
    """The way to the KubeFATE services of a site: one open client for each namespace."""

    def __init__(
        self,
        kube: Kube,
        settings: AccessSettings,
        *,
        clock: Clock | None = None,
        timing: KubeFateTiming | None = None,
    ) -> None:
        self.mode = settings.mode
        self.timing = timing if timing is not None else KubeFateTiming()
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._open: dict[str, tuple[KubeFate, AsyncExitStack]] = {}
        self._lock = asyncio.Lock()

    async def client(self, namespace: str) -> KubeFate:
        """Return the client for the service in ``namespace``, opened at the first call.

        Whether the service answers shows at its first use. Raises KubeError, Unavailable or
        BadCredentials when the way or the credentials cannot be found.
        """
        async with self._lock:
            if namespace not in self._open:
                async with AsyncExitStack() as stack:
                    client = await self._connect(namespace, stack)
                    self._open[namespace] = (client, stack.pop_all())
            return self._open[namespace][0]

    async def forget(self, namespace: str) -> None:
        """Close the client; the next one reads the credentials again. They may have changed."""
        async with self._lock:
            entry = self._open.pop(namespace, None)
            if entry is not None:
                await entry[1].aclose()

    async def close(self) -> None:
        """Close every client and port-forward."""
        for namespace in tuple(self._open):
            await self.forget(namespace)

    async def _connect(self, namespace: str, stack: AsyncExitStack) -> KubeFate:
        if self.mode is AccessMode.URL:
            return await self._by_url(stack)
        # The credentials come first: without a service there is nothing to forward to.
        credentials = await read_credentials(self._kube, namespace)
        if self.mode is AccessMode.SERVICE:
            url = await self._service_url(namespace)
        else:
            choose = pod_selector(self._kube, namespace, LABELS)
            local = await stack.enter_async_context(
                port_forward(self._kube, namespace, choose, PORT)
            )
            url = f"http://{local.host}:{local.port}"
        client = KubeFate(
            url, credentials, host=self._settings.host, clock=self._clock, timing=self.timing
        )
        return await stack.enter_async_context(client)

    async def _by_url(self, stack: AsyncExitStack) -> KubeFate:
        settings = self._settings
        if not settings.url or settings.credentials_file is None:
            raise BadCredentials("access by URL needs both `url` and `credentials_file`")
        if settings.url.startswith("http:"):
            log.warning("kubefate.no_tls", url=settings.url)
        credentials = await asyncio.to_thread(read_credentials_file, settings.credentials_file)
        tls = await asyncio.to_thread(_tls_of, settings.ca_file)
        client = KubeFate(
            settings.url,
            credentials,
            host=settings.host,
            tls=tls,
            clock=self._clock,
            timing=self.timing,
        )
        return await stack.enter_async_context(client)

    async def _service_url(self, namespace: str) -> str:
        service = await find(self._kube, SERVICES, NAME, namespace=namespace)
        ports = (service or {}).get("spec", {}).get("ports") or [{}]
        return f"http://{NAME}.{namespace}:{ports[0].get('port', PORT)}"


async def find_deployment(kube: Kube, namespace: str) -> Json | None:
    """Return the Deployment of a KubeFATE service: one with its label, else one with its name."""
    labelled = await list_all(kube, DEPLOYMENTS, namespace=namespace, labels=LABELS)
    if labelled:
        return min(labelled, key=lambda body: body["metadata"]["name"] != NAME)
    return await find(kube, DEPLOYMENTS, NAME, namespace=namespace)


async def read_credentials(kube: Kube, namespace: str) -> Credentials:
    """Read the service's user from its Deployment's environment and the Secret that it names.

    Nothing but that one Secret is read. Raises Unavailable when there is no such service, and
    BadCredentials when the Secret lacks the key; without the variables the service itself takes
    admin/admin.
    """
    deployment = await find_deployment(kube, namespace)
    if deployment is None:
        raise Unavailable(f"there is no KubeFATE in namespace {namespace}")
    variables = _environment(deployment)
    username = await _value_of(kube, namespace, variables.get(USERNAME_ENV))
    password = await _value_of(kube, namespace, variables.get(PASSWORD_ENV))
    return Credentials(username, password)


def read_credentials_file(path: Path) -> Credentials:
    """Read ``username`` and ``password`` from a TOML, YAML or JSON file of mode 0600.

    Raises BadCredentials, which never quotes the file.
    """
    try:
        if path.stat().st_mode & _FORBIDDEN_MODE:
            raise BadCredentials(f"{path} can be read by others: chmod 600 {path}")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadCredentials(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise BadCredentials(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
    fields = _parse_file(path, content)
    for name in ("username", "password"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise BadCredentials(f"{path}: `{name}` is missing or no text")
    return Credentials(fields["username"], fields["password"])


def _parse_file(path: Path, content: bytes) -> Mapping[str, Any]:
    try:
        if path.suffix == ".toml":
            return tomllib.loads(content.decode())
        parsed = read_document(content)
    except YamlError as error:
        # The message may quote the value, and with it the password: the position alone is said.
        raise BadCredentials(f"{error.where(str(path))} is no YAML that is taken") from None
    except ValueError:
        raise BadCredentials(f"{path} is no TOML") from None
    if not isinstance(parsed, dict):
        raise BadCredentials(f"{path} holds no `username` and `password`")
    return parsed


def _environment(deployment: Json) -> dict[str, Json]:
    containers = deployment["spec"]["template"]["spec"].get("containers") or ()
    return {
        str(variable.get("name")): variable
        for container in containers
        for variable in container.get("env") or ()
    }


async def _value_of(kube: Kube, namespace: str, variable: Json | None) -> str:
    if variable is None:
        return _DEFAULT
    reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
    if not reference:
        return str(variable.get("value") or _DEFAULT)
    name, key = str(reference.get("name")), str(reference.get("key"))
    secret = await get(kube, SECRETS, name, namespace=namespace)
    try:
        return base64.b64decode((secret.get("data") or {})[key], validate=True).decode()
    except (KeyError, binascii.Error, UnicodeDecodeError):
        raise BadCredentials(f"Secret {namespace}/{name} has no readable key {key}") from None


def _tls_of(ca_file: Path | None) -> ssl.SSLContext | None:
    return None if ca_file is None else ssl.create_default_context(cafile=ca_file)
