"""The cluster's own CA and server certificate, its token, and the kubeconfig made of them."""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedsim.kube.store import Json

_CA_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=365)
_BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Identity:
    """The lasting secrets of a cluster: kept in the state file, so that a kubeconfig stays good."""

    ca_pem: str
    ca_key_pem: str
    token: str

    @classmethod
    def make(cls) -> Identity:
        """Make a new CA and token."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated-kubernetes-ca")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(is_ca=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(_pem(certificate), _key_pem(key), secrets.token_urlsafe(32))

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Identity | None:
        """Read an identity kept earlier, None when there is none."""
        try:
            return cls(facts["ca_pem"], facts["ca_key_pem"], facts["token"])
        except KeyError:
            return None

    def facts(self) -> dict[str, str]:
        """Return what is to be kept."""
        return {"ca_pem": self.ca_pem, "ca_key_pem": self.ca_key_pem, "token": self.token}

    def server_context(self, hosts: Iterable[str]) -> ssl.SSLContext:
        """Return a TLS context with a fresh server certificate for these names and addresses."""
        issuer = x509.load_pem_x509_certificate(self.ca_pem.encode())
        issuer_key = serialization.load_pem_private_key(self.ca_key_pem.encode(), None)
        if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
            raise TypeError("the CA's key is no elliptic-curve key")
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated-kube-apiserver")])
            )
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _SERVER_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
            .sign(issuer_key, hashes.SHA256())
        )
        context = context_of(_pem(certificate).encode(), _key_pem(key).encode())
        context.set_alpn_protocols(["http/1.1"])
        return context

    def kubeconfig(self, url: str) -> Json:
        """Return the kubeconfig of the cluster's administrator."""
        name = "simulated"
        ca = base64.b64encode(self.ca_pem.encode()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": url, "certificate-authority-data": ca}}
            ],
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


def context_of(certificate_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Return a TLS server context; raises `ssl.SSLError` or `ValueError` for unusable PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory(prefix="fedsim-") as folder:
        pair = Path(folder) / "pair.pem"
        write_private(pair, f"{key_pem.decode()}\n{certificate_pem.decode()}")
        context.load_cert_chain(pair)
    return context


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
