"""Desired documents as they come, checked and made into typed values."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from fedagent.domain.document import (
    AddressSpec,
    CertificateSpec,
    Chart,
    Component,
    Document,
    EndpointDocument,
    EndpointMode,
    KeyAlgorithm,
    KeyFormat,
    ParticipantDocument,
    ParticipantKind,
    Proxy,
    ProxyKind,
    Repair,
    RouteEntry,
    Table,
    TableKind,
    WorkloadKind,
)
from fedcore.errors import FieldError, Invalid
from fedcore.ids import is_name
from fedcore.limits import MAX_CLUSTER_JSON_BYTES
from fedcore.yaml_safety import WHOLE_KEYS, unsafe_document_reason, unsafe_reason
from fedproto.agent.v1 import document_pb2

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What ends a line, or is no text, in YAML: KubeFATE's values-template writes values raw."""
_MAX_DEPTH: Final = 64
"""Deeper than any values; whoever reads or writes such a tree by recursion would fail."""
_PARTICIPANT_KINDS: Mapping[int, ParticipantKind] = {
    document_pb2.PARTICIPANT_KIND_EXCHANGE: ParticipantKind.EXCHANGE,
    document_pb2.PARTICIPANT_KIND_CLUSTER: ParticipantKind.CLUSTER,
}
_TABLE_KINDS: Mapping[int, TableKind] = {
    document_pb2.TABLE_KIND_SNI: TableKind.SNI,
    document_pb2.TABLE_KIND_NGINX: TableKind.NGINX,
    document_pb2.TABLE_KIND_PULSAR: TableKind.PULSAR,
}
_PROXY_KINDS: Mapping[int, ProxyKind] = {
    document_pb2.PROXY_KIND_TRAFFIC_SERVER: ProxyKind.TRAFFIC_SERVER,
    document_pb2.PROXY_KIND_NGINX: ProxyKind.NGINX,
}
_WORKLOADS: Mapping[int, WorkloadKind] = {
    document_pb2.WORKLOAD_KIND_DEPLOYMENT: WorkloadKind.DEPLOYMENT,
    document_pb2.WORKLOAD_KIND_STATEFUL_SET: WorkloadKind.STATEFUL_SET,
}
_MODES: Mapping[int, EndpointMode] = {
    document_pb2.ENDPOINT_MODE_AUTO: EndpointMode.AUTO,
    document_pb2.ENDPOINT_MODE_INSTALL: EndpointMode.INSTALL,
    document_pb2.ENDPOINT_MODE_ADOPT: EndpointMode.ADOPT,
}
_ALGORITHMS: Mapping[int, KeyAlgorithm] = {
    document_pb2.KEY_ALGORITHM_P256: KeyAlgorithm.P256,
    document_pb2.KEY_ALGORITHM_RSA3072: KeyAlgorithm.RSA3072,
}
_FORMATS: Mapping[int, KeyFormat] = {
    document_pb2.KEY_FORMAT_PKCS8: KeyFormat.PKCS8,
    document_pb2.KEY_FORMAT_TRADITIONAL: KeyFormat.TRADITIONAL,
}


def read_document(message: document_pb2.DesiredDocument) -> Document:
    """Parse a document; raise Invalid with the dotted path of every wrong field."""
    match message.WhichOneof("body"):
        case "endpoint":
            return _endpoint(message)
        case "participant":
            return _participant(message)
        case _:
            field_error = FieldError("body", "neither endpoint nor participant: the hub is newer")
            raise Invalid("the document has no body that this agent knows", errors=(field_error,))


def _endpoint(message: document_pb2.DesiredDocument) -> EndpointDocument:
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
        mode=_MODES.get(spec.mode, EndpointMode.AUTO),
        namespace=spec.namespace,
        service_image=spec.service_image,
        database_image=spec.database_image,
        storage_class=spec.storage_class,
        storage_size=spec.storage_size,
        minimum_version=spec.minimum_version,
    )


def _participant(message: document_pb2.DesiredDocument) -> ParticipantDocument:
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
        kind=_PARTICIPANT_KINDS[spec.kind],
        party_id=spec.party_id,
        namespace=spec.namespace,
        release_name=spec.release_name,
        chart=Chart(spec.chart.name, spec.chart.version, spec.chart.sha256, spec.chart.from_hub),
        cluster_json=spec.cluster_json,
        certificates=tuple(_certificate(item) for item in spec.certificates),
        components=tuple(
            Component(item.name, _WORKLOADS.get(item.kind, WorkloadKind.DEPLOYMENT))
            for item in spec.components
        ),
        addresses=tuple(
            AddressSpec(item.role, item.service, item.port_name) for item in spec.addresses
        ),
        tables=tuple(_table(item) for item in spec.tables),
        proxies=tuple(
            Proxy(_PROXY_KINDS[item.kind], item.deployment, _TABLE_KINDS[item.table])
            for item in spec.proxies
        ),
        resolve_names=tuple(spec.resolve_names),
        repair=Repair.REPORT if spec.repair == document_pb2.REPAIR_POLICY_REPORT else Repair.AUTO,
        delete_volumes=spec.removal.delete_volumes,
        delete_namespace=spec.removal.delete_namespace,
    )


def _certificate(item: document_pb2.CertificateSpec) -> CertificateSpec:
    return CertificateSpec(
        secret_name=item.secret_name,
        profile=item.profile,
        key_algorithm=_ALGORITHMS[item.key_algorithm],
        key_format=_FORMATS[item.key_format],
        certificate_key=item.certificate_key,
        private_key_key=item.private_key_key,
        ca_key=item.ca_key,
        dns_names=tuple(item.dns_names),
        restart_deployments=tuple(item.restart_deployments),
    )


def _table(item: document_pb2.TableSpec) -> Table:
    entries = tuple(RouteEntry(entry.key, entry.host, entry.port) for entry in item.entries)
    return Table(
        _TABLE_KINDS[item.kind], item.config_map, item.key, entries, frozenset(item.chart_keys)
    )


def _participant_errors(spec: document_pb2.ParticipantSpec, *, absent: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.kind not in _PARTICIPANT_KINDS:
        errors.append(FieldError("participant.kind", "not a kind that this agent knows"))
    _check_name(errors, "participant.namespace", spec.namespace)
    _check_name(errors, "participant.release_name", spec.release_name)
    if not spec.chart.name or not spec.chart.version:
        errors.append(FieldError("participant.chart", "name and version are needed"))
    errors.extend(_cluster_errors(spec, absent=absent))
    for number, certificate in enumerate(spec.certificates):
        known = certificate.key_algorithm in _ALGORITHMS and certificate.key_format in _FORMATS
        if not known:
            path = f"participant.certificates.{number}"
            errors.append(FieldError(path, "key algorithm or format is not known here"))
    errors.extend(
        FieldError(f"participant.tables.{number}.kind", "not a table that this agent knows")
        for number, table in enumerate(spec.tables)
        if table.kind not in _TABLE_KINDS
    )
    errors.extend(
        FieldError(f"participant.proxies.{number}", "not a proxy that this agent knows")
        for number, proxy in enumerate(spec.proxies)
        if proxy.kind not in _PROXY_KINDS or proxy.table not in _TABLE_KINDS
    )
    return errors


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
            below
            for each in level
            if isinstance(each, dict | list)
            for below in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)


def _texts(tree: object) -> Iterator[str]:
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend((*item.keys(), *item.values()))
        elif isinstance(item, list | tuple):
            stack.extend(item)


def _sha256_of(message: document_pb2.DesiredDocument) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def _check_name(errors: list[FieldError], path: str, value: str) -> None:
    if not is_name(value):
        errors.append(FieldError(path, f"{value[:80]!r} is no DNS-1123 label"))


def _invalid(errors: list[FieldError]) -> Invalid:
    listed = "; ".join(f"{field_error.path}: {field_error.message}" for field_error in errors)
    return Invalid(f"the document cannot be used: {listed}", errors=tuple(errors))
