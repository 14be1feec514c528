"""How to reach the API server and as whom: a kubeconfig file, or the pod's service account.

A kubeconfig is read by the ``kubernetes`` package, which knows its plugins (exec, OIDC). It costs
0.8 s and 25 MB to import, so it is imported when one is read, and never inside a cluster.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from fedagent.kube.errors import KubeError
from fedagent.kube.timing import KubeTiming

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class BadConfig(KubeError):
    """The kubeconfig or the pod's service account cannot be used; a person must mend it."""


@dataclass(slots=True)
class BearerToken:
    """The ``Authorization`` header, read again when it is older than ``life_s``."""

    read: Callable[[], Awaitable[str]]
    life_s: float
    monotonic: Callable[[], float] = time.monotonic
    _value: str = field(default="", repr=False)
    _read_at: float | None = None

    async def header(self) -> str:
        """Return the header's value, empty when the server takes client certificates alone."""
        now = self.monotonic()
        if self._read_at is None or now - self._read_at > self.life_s:
            self._value = await self.read()
            self._read_at = now
        return self._value

    def forget(self) -> None:
        """Read it again at the next call: the server has refused it."""
        self._read_at = None


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """The API server's address, its TLS, and the credentials."""

    url: str
    tls: ssl.SSLContext | None
    token: BearerToken
    server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"


async def load_access(
    kubeconfig: Path | None, *, context: str | None = None, timing: KubeTiming
) -> ServerAccess:
    """Read the kubeconfig file, or the pod's service account when it is None; raises BadConfig."""
    async with asyncio.timeout(timing.config_limit_s):
        if kubeconfig is None:
            return await asyncio.to_thread(
                read_service_account, ACCOUNT_FOLDER, os.environ, token_s=timing.token_s
            )
        return await _read_kubeconfig(kubeconfig, context, timing.token_s)


def read_service_account(
    folder: Path, environ: Mapping[str, str], *, token_s: float
) -> ServerAccess:
    """Read what the kubelet gives to every pod; raises BadConfig outside a pod."""
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").is_file():
        raise BadConfig("this process runs in no Kubernetes pod: name a kubeconfig file")
    shown = f"[{host}]" if ":" in host else host
    account = folder / "namespace"
    return ServerAccess(
        url=f"https://{shown}:{port}",
        tls=ssl.create_default_context(cafile=folder / "ca.crt"),
        token=BearerToken(_file_reader(folder / "token"), token_s),
        namespace=account.read_text().strip() if account.is_file() else "default",
    )


def _file_reader(path: Path) -> Callable[[], Awaitable[str]]:
    async def read() -> str:
        return f"Bearer {(await asyncio.to_thread(path.read_text)).strip()}"

    return read


async def _read_kubeconfig(path: Path, context: str | None, token_s: float) -> ServerAccess:
    if not await asyncio.to_thread(path.is_file):
        raise BadConfig(f"there is no kubeconfig file {path}")
    # Imported off the loop: it takes most of a second.
    library = await asyncio.to_thread(_import_library)
    loader, configuration = await _load(library, path, context)

    async def read_again() -> str:
        # Plugins and token files included: a person may have renewed any of it.
        _loader, renewed = await _load(library, path, context)
        return str(renewed.api_key.get("BearerToken", ""))

    return ServerAccess(
        url=str(configuration.host).rstrip("/"),
        tls=await asyncio.to_thread(_tls_of, configuration),
        token=BearerToken(read_again, token_s),
        server_name=getattr(configuration, "tls_server_name", None) or None,
        proxy=getattr(configuration, "proxy", None) or None,
        namespace=str(loader.current_context["context"].get("namespace") or "default"),
    )


def _import_library() -> Any:
    from kubernetes import aio  # noqa: PLC0415 - 0.8 s and 25 MB, not needed inside a cluster

    return aio


async def _load(library: Any, path: Path, context: str | None) -> tuple[Any, Any]:
    configuration = library.client.Configuration()
    try:
        loader = await library.config.load_kube_config(
            config_file=str(path),
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    except (library.config.ConfigException, OSError) as error:
        raise BadConfig(f"kubeconfig {path} cannot be used: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The library checks nothing; its error's text may quote what the file holds.
        raise BadConfig(f"{path} is no kubeconfig: {type(error).__name__}") from None
    return loader, configuration


def _tls_of(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https"):
        return None
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # On by default from Python 3.13; the certificates of many clusters do not pass it.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls
