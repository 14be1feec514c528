"""Desired documents as they come over the wire, checked and made into the planner's values.

The hub is trusted to say what a site should run, not to be free of faults: a document that fails a
check here is refused as a whole, with the dotted path of every wrong field, and nothing is done.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, Generic, TypeVar

from fedagent.domain.document import (
    AddressSpec,
    CertificateSpec,
    Chart,
    Component,
    Document,
    EndpointDocument,
    ParticipantDocument,
    Proxy,
    RouteEntry,
    Table,
)
from fedcore.errors import FieldError, Invalid
from fedcore.ids import is_name
from fedcore.limits import MAX_CLUSTER_JSON_BYTES
from fedcore.words import (
    EndpointMode,
    KeyAlgorithm,
    KeyFormat,
    ParticipantKind,
    ProxyKind,
    RepairPolicy,
    TableKind,
    WorkloadKind,
)
from fedcore.yaml_safety import WHOLE_KEYS, unsafe_document_reason, unsafe_reason
from fedproto.agent.v1 import document_pb2
from fedproto.words import from_wire

D = TypeVar("D", bound=EndpointDocument | ParticipantDocument)
W = TypeVar("W", bound=StrEnum)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What ends a line, or is no text, in YAML: KubeFATE's values-template writes values raw."""
_MAX_DEPTH: Final = 64
"""Deeper than any values; whoever reads or writes such a tree by recursion would fail."""


class DocumentDecoder(Generic[D]):
    """Decodes the documents of one resource. One that came before is not decoded again.

    A worker looks at its document at every turn, and a large one takes milliseconds to check.
    """

    def __init__(self, decode: Callable[[document_pb2.DesiredDocument], D]) -> None:
        self._decode = decode
        self._version: tuple[int, str] | None = None
        self._document: D | None = None

    def decode(self, message: document_pb2.DesiredDocument) -> D:
        """Return the document; Invalid when it cannot be used."""
        version = (message.generation, message.digest)
        if self._document is None or version != self._version:
            self._document = self._decode(message)
            self._version = version
        return self._document


def decode_document(message: document_pb2.DesiredDocument) -> Document:
    """Return the document; raise Invalid with the dotted path of every wrong field."""
    if message.WhichOneof("body") == "endpoint":
        return decode_endpoint(message)
    return decode_participant(message)


def _check_body(message: document_pb2.DesiredDocument, kind: str) -> None:
    body = message.WhichOneof("body")
    if body == kind:
        return
    reason = "neither endpoint nor participant: the hub is newer"
    if body is not None:
        reason = f"this resource is no {body}: a resource keeps its kind"
    field_error = FieldError("body", reason)
    raise Invalid(f"the document cannot be used: body: {reason}", errors=(field_error,))


def decode_endpoint(message: document_pb2.DesiredDocument) -> EndpointDocument:
    """Return the document of a KubeFATE service; raise Invalid as ``decode_document`` does."""
    _check_body(message, "endpoint")
    spec = message.endpoint
    errors: list[FieldError] = []
    _check_name(errors, "endpoint.namespace", spec.namespace)
    if errors:
        raise _invalid(errors)
    return EndpointDocument(
        resource_id=message.resource_id,
        generation=message.generation,
        digest=message.digest,
        body_sha256=_sha256_of(message),
        absent=message.absent,
        mode=from_wire(EndpointMode, spec.mode) or EndpointMode.AUTO,
        namespace=spec.namespace,
        service_image=spec.service_image,
        database_image=spec.database_image,
        storage_class=spec.storage_class,
        storage_size=spec.storage_size,
        minimum_version=spec.minimum_version,
    )


def decode_participant(message: document_pb2.DesiredDocument) -> ParticipantDocument:
    """Return the document of an exchange or cluster; raise Invalid as ``decode_document`` does."""
    _check_body(message, "participant")
    spec = message.participant
    errors = _participant_errors(spec, absent=message.absent)
    if errors:
        raise _invalid(errors)
    return ParticipantDocument(
        resource_id=message.resource_id,
        generation=message.generation,
        digest=message.digest,
        body_sha256=_sha256_of(message),
        absent=message.absent,
        federation_id=spec.federation_id,
        federation_name=spec.federation_name,
        name=spec.participant_name,
        kind=_checked(ParticipantKind, spec.kind),
        party_id=spec.party_id,
        namespace=spec.namespace,
        release_name=spec.release_name,
        chart=Chart(spec.chart.name, spec.chart.version, spec.chart.sha256, spec.chart.from_hub),
        cluster_json=spec.cluster_json,
        certificates=tuple(_certificate(item) for item in spec.certificates),
        components=tuple(
            Component(item.name, from_wire(WorkloadKind, item.kind) or WorkloadKind.DEPLOYMENT)
            for item in spec.components
        ),
        addresses=tuple(
            AddressSpec(item.role, item.service, item.port_name) for item in spec.addresses
        ),
        tables=tuple(_table(item) for item in spec.tables),
        proxies=tuple(
            Proxy(_checked(ProxyKind, item.kind), item.deployment, _checked(TableKind, item.table))
            for item in spec.proxies
        ),
        resolve_names=tuple(spec.resolve_names),
        repair=from_wire(RepairPolicy, spec.repair) or RepairPolicy.AUTO,
        delete_volumes=spec.removal.delete_volumes,
        delete_namespace=spec.removal.delete_namespace,
    )


def _certificate(item: document_pb2.CertificateSpec) -> CertificateSpec:
    return CertificateSpec(
        secret_name=item.secret_name,
        profile=item.profile,
        key_algorithm=_checked(KeyAlgorithm, item.key_algorithm),
        key_format=_checked(KeyFormat, item.key_format),
        certificate_key=item.certificate_key,
        private_key_key=item.private_key_key,
        ca_key=item.ca_key,
        dns_names=tuple(item.dns_names),
        restart_deployments=tuple(item.restart_deployments),
    )


def _table(item: document_pb2.TableSpec) -> Table:
    return Table(
        kind=_checked(TableKind, item.kind),
        config_map=item.config_map,
        key=item.key,
        entries=tuple(RouteEntry(entry.key, entry.host, entry.port) for entry in item.entries),
        chart_keys=frozenset(item.chart_keys),
    )


def _checked(words_of: type[W], number: int) -> W:
    """Return a word that ``_participant_errors`` has found to be one."""
    word = from_wire(words_of, number)
    if word is None:
        raise RuntimeError(f"{number} is no {words_of.__name__}, and no check has said so")
    return word


def _participant_errors(spec: document_pb2.ParticipantSpec, *, absent: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if from_wire(ParticipantKind, spec.kind) is None:
        errors.append(FieldError("participant.kind", "not a kind that this agent knows"))
    _check_name(errors, "participant.namespace", spec.namespace)
    _check_name(errors, "participant.release_name", spec.release_name)
    if not spec.chart.name or not spec.chart.version:
        errors.append(FieldError("participant.chart", "name and version are needed"))
    errors.extend(_cluster_errors(spec, absent=absent))
    errors.extend(_word_errors(spec))
    return errors


def _word_errors(spec: document_pb2.ParticipantSpec) -> Iterator[FieldError]:
    """Name the lists' entries whose words a newer hub knows and this agent does not."""
    for number, certificate in enumerate(spec.certificates):
        algorithm = from_wire(KeyAlgorithm, certificate.key_algorithm)
        if algorithm is None or from_wire(KeyFormat, certificate.key_format) is None:
            path = f"participant.certificates.{number}"
            yield FieldError(path, "key algorithm or format is not known here")
    for number, table in enumerate(spec.tables):
        if from_wire(TableKind, table.kind) is None:
            path = f"participant.tables.{number}.kind"
            yield FieldError(path, "not a table that this agent knows")
    for number, proxy in enumerate(spec.proxies):
        table_kind = from_wire(TableKind, proxy.table)
        if table_kind is None or from_wire(ProxyKind, proxy.kind) is None:
            yield FieldError(f"participant.proxies.{number}", "not a proxy that this agent knows")


def _cluster_errors(spec: document_pb2.ParticipantSpec, *, absent: bool) -> list[FieldError]:
    path = "participant.cluster_json"
    if len(spec.cluster_json.encode()) > MAX_CLUSTER_JSON_BYTES:
        return [FieldError(path, f"larger than {MAX_CLUSTER_JSON_BYTES} bytes")]
    try:
        cluster = json.loads(spec.cluster_json, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return [FieldError(path, "not JSON")]
    if not isinstance(cluster, dict):
        return [FieldError(path, "not a JSON object")]
    expected = {
        "name": spec.release_name,
        "namespace": spec.namespace,
        "chartName": spec.chart.name,
        "chartVersion": spec.chart.version,
    }
    # A removal submits nothing, and must not be hindered by a rule that became stricter.
    unsafe = None if absent else _unsafe_text(cluster)
    if unsafe is not None:
        return [FieldError(path, unsafe)]
    return [
        FieldError(f"{path}.{key}", f"must be {value!r}, as the document says elsewhere")
        for key, value in expected.items()
        if cluster.get(key) != value
    ]


def _no_json(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _unsafe_text(cluster: dict[str, object]) -> str | None:
    """Name a key or text, at any depth, that would not stay one value in KubeFATE's YAML."""
    if _is_deep(cluster):
        return f"nested deeper than {_MAX_DEPTH} levels"
    for key, value in cluster.items():
        reason_against = unsafe_document_reason if key in WHOLE_KEYS else unsafe_reason
        for text in _texts((key, value)):
            if _CONTROL.search(text):
                return f"a control character or line break is in {text[:80]!r}"
            if reason := reason_against(text):
                return f"{text[:80]!r} {reason}"
    return None


def _is_deep(tree: object) -> bool:
    level = [tree]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return bool(level)


def _texts(tree: object) -> Iterator[str]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            stack.extend((*node.keys(), *node.values()))
        elif isinstance(node, list | tuple):
            stack.extend(node)


def _sha256_of(message: document_pb2.DesiredDocument) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def _check_name(errors: list[FieldError], path: str, value: str) -> None:
    if not is_name(value):
        errors.append(FieldError(path, f"{value[:80]!r} is no DNS-1123 label"))


def _invalid(errors: list[FieldError]) -> Invalid:
    listed = "; ".join(f"{field_error.path}: {field_error.message}" for field_error in errors)
    return Invalid(f"the document cannot be used: {listed}", errors=tuple(errors))
