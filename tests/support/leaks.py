"""Look for secrets where they must not be."""

from __future__ import annotations

import base64
import json
from typing import Any, Self
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.federation import Federation

from fedagent.kube.kinds import NAMESPACES, SECRETS
from fedagent.kube.objects import list_all
from fedproto.transport import ErrorInterceptor

_LINE = 48
"""As many bytes make one line of PEM."""


class Wiretap:
    """Keeps the bytes of every message that a hub of this process receives by gRPC."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._patch = mock.patch("fedhub.serving.ErrorInterceptor", self._interceptor)

    def __enter__(self) -> Self:
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    def seen(self) -> bytes:
        """Return all that came."""
        return b"\n".join(self._messages)

    def _interceptor(self) -> ErrorInterceptor:
        return _Recording(self._messages)


class _Recording(ErrorInterceptor):
    def __init__(self, messages: list[bytes]) -> None:
        self._messages = messages

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        async def recorded(details: Any) -> Any:
            handler = await continuation(details)
            return (
                None
                if handler is None
                else handler._replace(request_deserializer=self._keep(handler.request_deserializer))
            )

        return await super().intercept_service(recorded, handler_call_details)

    def _keep(self, read: Any) -> Any:
        def keep(raw: bytes) -> Any:
            self._messages.append(raw)
            return read(raw)

        return keep


async def secrets_of_sites(federation: Federation) -> dict[str, tuple[bytes, ...]]:
    """Return every secret of every site by its place, each in the forms that a leak could have.

    Certificates and CA bundles are no secrets; Helm's own records are left out.
    """
    found: dict[str, tuple[bytes, ...]] = {}
    for name, place in federation.places.items():
        for space in await list_all(place.kube, NAMESPACES):
            namespace = space["metadata"]["name"]
            for body in await list_all(place.kube, SECRETS, namespace=namespace):
                found |= _of_secret(f"{name}/{namespace}", body)
        token = place.kubeconfig.read_text().partition("token:")[2].split()
        if token:
            found[f"{name}/kubeconfig"] = _forms(token[0].strip("'\"").encode())
        identity = federation.folder / name / "agent" / "identity.json"
        found[f"{name}/identity"] = _key_forms(json.loads(identity.read_text())["key_pem"].encode())
    return found


def _of_secret(where: str, body: dict[str, Any]) -> dict[str, tuple[bytes, ...]]:
    name = body["metadata"]["name"]
    if name.startswith("sh.helm."):
        return {}
    found: dict[str, tuple[bytes, ...]] = {}
    for key, value in (body.get("data") or {}).items():
        content = base64.b64decode(value)
        if b"PRIVATE KEY" in content:
            found[f"{where}/{name}/{key}"] = _key_forms(content)
        elif b"CERTIFICATE" not in content and not key.lower().endswith("username"):
            found[f"{where}/{name}/{key}"] = _forms(content)
    return found


def _key_forms(pem: bytes) -> tuple[bytes, ...]:
    """Return what would give a private key away: lines of its PEM, and its secret numbers."""
    key = serialization.load_pem_private_key(pem, password=None)
    lines = [line for line in pem.splitlines() if line and not line.startswith(b"-----")]
    numbers: list[int] = []
    if isinstance(key, rsa.RSAPrivateKey):
        secret = key.private_numbers()
        numbers = [secret.d, secret.p, secret.q]
        # The first lines of an RSA key hold its public modulus; the secret exponent comes later.
        lines = lines[len(lines) // 3 :]
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = [key.private_numbers().private_value]
        lines = [pem_line for pem_line in lines if base64.b64decode(pem_line + b"==")][:2]
    raw = [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in numbers]
    return (*lines, *(form for one in raw for form in _forms(one)))


def _forms(secret: bytes) -> tuple[bytes, ...]:
    encoded = base64.b64encode(secret).rstrip(b"=")
    return (secret, secret.hex().encode(), encoded[: len(encoded) // 4 * 4 or None])
