"""Read a kubeconfig: one server, its CA, and a token or a client certificate."""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(ValueError):
    """The kubeconfig cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Access:
    """Hold what a request to the Kubernetes API needs."""

    server: str
    tls: ssl.SSLContext | None
    token: str | None = field(repr=False)


def load_access(path: Path) -> Access:
    """Read the current context of a kubeconfig file.

    Takes certificate data inline or by file, bearer token or token file; no exec plugins.
    Raises KubeconfigError.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path}: not a kubeconfig")
    context = _named(document, "contexts", str(document.get("current-context") or ""), "context")
    cluster = _named(document, "clusters", str(context.get("cluster") or ""), "cluster")
    user = _named(document, "users", str(context.get("user") or ""), "user")
    server = str(cluster.get("server") or "")
    if not server.startswith(("http://", "https://")):
        raise KubeconfigError(f"{path}: clusters[].cluster.server: {server!r} is no URL")
    tls = _tls(cluster, user, path.parent) if server.startswith("https://") else None
    return Access(server.rstrip("/"), tls, _token(user, path.parent))


def _named(document: dict[str, Any], group: str, name: str, key: str) -> dict[str, Any]:
    for entry in document.get(group) or []:
        if isinstance(entry, dict) and entry.get("name") == name:
            return dict(entry.get(key) or {})
    raise KubeconfigError(f"{group}: no entry named {name!r}")


def _token(user: dict[str, Any], folder: Path) -> str | None:
    if "exec" in user or "auth-provider" in user:
        raise KubeconfigError("users[].user.exec: plugins are not supported")
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        return (folder / str(user["tokenFile"])).read_text().strip()
    return None


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority = _material(cluster, "certificate-authority", folder)
    if authority is not None:
        context = ssl.create_default_context(cadata=authority.decode())
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(user, "client-certificate", folder)
    key = _material(user, "client-key", folder)
    if certificate is not None and key is not None:
        _load_pair(context, certificate, key)
    return context


def _material(entry: dict[str, Any], name: str, folder: Path) -> bytes | None:
    inline = entry.get(f"{name}-data")
    try:
        if inline:
            return base64.b64decode(str(inline), validate=True)
        return (folder / str(entry[name])).read_bytes() if entry.get(name) else None
    except (OSError, binascii.Error) as error:
        raise KubeconfigError(f"{name}: {error}") from error


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module loads client pairs from files alone; the folder is private and short-lived.
    with tempfile.TemporaryDirectory() as folder:
        pair = (Path(folder, "tls.crt"), Path(folder, "tls.key"))
        for path, content in zip(pair, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        context.load_cert_chain(*pair)
