"""The cluster's CA (by trustme) and token, the kubeconfig made of them, and TLS from PEM."""

from __future__ import annotations

import base64
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import trustme
import yaml

from fedsim.kube.store import Json

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """The lasting secrets of a cluster: kept in the state file, so that a kubeconfig stays good."""

    ca_pem: str
    ca_key_pem: str
    token: str

    @classmethod
    def make(cls) -> Identity:
        """Make a new CA and token."""
        ca = trustme.CA(organization_name="simulated-kubernetes")
        certificate, key = ca.cert_pem.bytes(), ca.private_key_pem.bytes()
        return cls(certificate.decode(), key.decode(), secrets.token_urlsafe(32))

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Identity | None:
        """Read an identity kept earlier, None when there is none."""
        try:
            return cls(facts["ca_pem"], facts["ca_key_pem"], facts["token"])
        except KeyError:
            return None

    def facts(self) -> dict[str, str]:
        """Return what is to be kept."""
        return asdict(self)

    def server_context(self, hosts: Iterable[str]) -> ssl.SSLContext:
        """Return a TLS context with a fresh server certificate for these names and addresses."""
        ca = trustme.CA.from_pem(self.ca_pem.encode(), self.ca_key_pem.encode())
        certificate = ca.issue_cert(*dict.fromkeys(hosts), common_name="simulated-kube-apiserver")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def kubeconfig(self, url: str) -> Json:
        """Return the kubeconfig of the cluster's administrator."""
        name = "simulated"
        ca = base64.b64encode(self.ca_pem.encode()).decode()
        cluster = {"server": url, "certificate-authority-data": ca}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": self.token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, in one step."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def write_kubeconfig(path: Path, config: Json) -> None:
    """Write a kubeconfig (mode 0600)."""
    write_private(path, yaml.safe_dump(config, sort_keys=False))


def context_of(certificate_pem: bytes, key_pem: bytes) -> ssl.SSLContext | None:
    """Return a TLS server context of the PEM in a Secret, None when it is unusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="fedsim-") as folder:
        pair = Path(folder) / "pair.pem"
        try:
            write_private(pair, f"{key_pem.decode()}\n{certificate_pem.decode()}")
            context.load_cert_chain(pair)
        except (ssl.SSLError, ValueError):
            log.info("certificate.unusable")
            return None
    return context
