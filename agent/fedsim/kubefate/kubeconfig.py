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
    """What a request to the Kubernetes API needs."""

    server: str
    tls: ssl.SSLContext | None
    token: str | None = field(repr=False)


def load_access(path: Path) -> Access:
    """Read the current context of a kubeconfig file; raise KubeconfigError.

    Takes certificates inline or by file, and tokens; no exec plugins.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path}: not a kubeconfig")
    context = _named(document, "context", document.get("current-context"))
    cluster = _named(document, "cluster", context.get("cluster"))
    user = _named(document, "user", context.get("user"))
    if "exec" in user or "auth-provider" in user:
        raise KubeconfigError("users[].user.exec: plugins are not supported")
    server = str(cluster.get("server") or "")
    if not server.startswith(("http://", "https://")):
        raise KubeconfigError(f"{path}: clusters[].cluster.server: {server!r} is no URL")
    tls = _tls(cluster, user, path.parent) if server.startswith("https://") else None
    return Access(server.rstrip("/"), tls, user.get("token"))


def _named(document: dict[str, Any], kind: str, name: object) -> dict[str, Any]:
    for entry in document.get(f"{kind}s") or []:
        if entry.get("name") == name:
            return dict(entry.get(kind) or {})
    raise KubeconfigError(f"{kind}s: no entry named {name!r}")


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(user, "client-certificate", folder)
    key = _material(user, "client-key", folder)
    if certificate is not None and key is not None:
        # The ssl module loads client pairs from files alone; this one is private and short-lived.
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _material(entry: dict[str, Any], name: str, folder: Path) -> bytes | None:
    try:
        if inline := entry.get(f"{name}-data"):
            return base64.b64decode(str(inline), validate=True)
        return (folder / str(entry[name])).read_bytes() if entry.get(name) else None
    except (OSError, binascii.Error) as error:
        raise KubeconfigError(f"{name}: {error}") from error
