"""Build the body of a participant's document from its role's release and its routes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from fedcore.words import TableKind
from fedhub.domain.federation import ExchangeIntent, Expose, PartyIntent
from fedhub.domain.models import Participant
from fedhub.domain.release import CertificateTemplate, TableTemplate, Topology
from fedhub.planner.inputs import Member, PlanInput
from fedhub.planner.routes import (
    NOWHERE,
    NOWHERE_HTTP_PORT,
    ExchangeTargets,
    RouteTables,
)
from fedhub.planner.values import (
    PULSAR_PLAIN_PORT,
    Identity,
    Tree,
    base_values,
    canonical,
    fill,
    merge,
    peer_to_peer,
    through_exchange,
    with_relay,
)
from fedproto.agent.v1 import document_pb2 as pb
from fedproto.words import to_wire

Entries = Mapping[TableKind, Iterable[tuple[str, str, int]]]
"""Entries (key, host, port) by kind of table."""

_SharedKey = tuple[bool, Expose, str, str]
"""What makes the common part of a spec: role, exposure, version and engine of the release."""


def release_name(participant: Participant) -> str:
    """Name of KubeFATE's record and of the Helm release; short enough for Helm's 53 characters."""
    return f"fate-{participant.key}"


def relay_entries(tables: RouteTables) -> Entries:
    """Return the exchange's tables as they must stand in its ConfigMaps."""
    return {TableKind.SNI: tables.sni(), TableKind.NGINX: tables.nginx()}


class SpecBuilder:
    """Builds the specs of one federation; what members of a kind share is built once."""

    def __init__(self, plan_input: PlanInput, *, is_direct: bool) -> None:
        self._input = plan_input
        self._topology: Topology = "direct" if is_direct else "exchange"
        self._shared: dict[_SharedKey, pb.ParticipantSpec] = {}

    def exchange(
        self, member: Member, tables: RouteTables, names: Iterable[str]
    ) -> pb.ParticipantSpec:
        """Build the exchange's spec."""
        values = with_relay(self._values(member), tables)
        return self._spec(member, values, relay_entries(tables), names)

    def party(
        self, member: Member, targets: ExchangeTargets, names: Iterable[str]
    ) -> pb.ParticipantSpec:
        """Build the spec of a party that goes through an exchange."""
        routes = through_exchange(self._input.federation.domain, targets)
        entries = {
            TableKind.NGINX: [("default", targets.nginx.ip, targets.nginx.port)],
            TableKind.PULSAR: [("default", targets.ats.ip, targets.ats.port)],
        }
        return self._spec(member, merge(self._values(member), routes), entries, names)

    def peer(self, member: Member, others: RouteTables, names: Iterable[str]) -> pb.ParticipantSpec:
        """Build the spec of a party in a federation without an exchange."""
        party_id = member.participant.party_id
        routes = peer_to_peer(party_id, others)
        entries = {
            TableKind.NGINX: [("default", NOWHERE, NOWHERE_HTTP_PORT), *others.nginx()],
            TableKind.PULSAR: [(str(party_id), "pulsar", PULSAR_PLAIN_PORT), *others.pulsar()],
        }
        return self._spec(member, merge(self._values(member), routes), entries, names)

    def _values(self, member: Member) -> Tree:
        intent = _intent(member)
        participant = member.participant
        identity = Identity(
            party_id=participant.party_id,
            domain=self._input.federation.domain,
            name=release_name(participant),
            namespace=participant.namespace,
        )
        return base_values(
            member.role_release, identity, intent.expose, self._topology, intent.values
        )

    def _spec(
        self, member: Member, values: Tree, entries: Entries, names: Iterable[str]
    ) -> pb.ParticipantSpec:
        participant = member.participant
        domain = self._input.federation.domain
        role = member.role_release
        spec = pb.ParticipantSpec()
        spec.CopyFrom(self._common(member))
        spec.participant_name = participant.name
        spec.party_id = participant.party_id
        spec.namespace = participant.namespace
        spec.release_name = release_name(participant)
        spec.cluster_json = canonical(values)
        for certificate in role.certificates:
            if certificate.topology in ("any", self._topology):
                spec.certificates.append(_certificate(certificate, participant.party_id, domain))
        for template in role.tables:
            chart_keys = [fill(key, participant.party_id, domain) for key in template.chart_keys]
            spec.tables.append(_table(template, chart_keys, entries[template.kind]))
        spec.resolve_names.extend(sorted(set(names)))
        return spec

    def _common(self, member: Member) -> pb.ParticipantSpec:
        release = member.release
        key = (member.is_exchange, _intent(member).expose, release.version, release.engine)
        if key not in self._shared:
            self._shared[key] = self._build_common(member)
        return self._shared[key]

    def _build_common(self, member: Member) -> pb.ParticipantSpec:
        federation, role, expose = (
            self._input.federation,
            member.role_release,
            _intent(member).expose,
        )
        chart = role.chart
        return pb.ParticipantSpec(
            federation_id=federation.id,
            federation_name=federation.name,
            kind=to_wire(member.participant.role),
            chart=pb.ChartRef(
                name=chart.name,
                version=chart.version,
                sha256=chart.sha256,
                from_hub=chart.sha256 in self._input.charts,
            ),
            components=[
                pb.ComponentSpec(name=component.name, kind=to_wire(component.kind))
                for component in role.components
            ],
            addresses=[
                pb.AddressSpec(
                    role=address.role, service=address.service, port_name=address.port_name
                )
                for address in role.addresses
                if address.expose is expose and address.topology in ("any", self._topology)
            ],
            proxies=[
                pb.ProxySpec(
                    kind=to_wire(table.proxy),
                    deployment=table.deployment,
                    table=to_wire(table.kind),
                )
                for table in role.tables
                if table.proxy is not None
            ],
            repair=to_wire(self._input.intent.repair),
            removal=pb.RemovalSpec(delete_volumes=True, delete_namespace=True),
        )


def with_tables(spec: pb.ParticipantSpec, tables: RouteTables) -> pb.ParticipantSpec:
    """Return an exchange's spec with other tables and nothing else changed."""
    changed = pb.ParticipantSpec()
    changed.CopyFrom(spec)
    changed.cluster_json = canonical(with_relay(json.loads(spec.cluster_json), tables))
    entries = {to_wire(kind): rows for kind, rows in relay_entries(tables).items()}
    for table in changed.tables:
        del table.entries[:]
        _write(table, entries[table.kind])
    return changed


def _intent(member: Member) -> ExchangeIntent | PartyIntent:
    if member.intent is None:
        raise ValueError(f"{member.label} is leaving: its spec is the stored one")
    return member.intent


def _certificate(template: CertificateTemplate, party_id: int, domain: str) -> pb.CertificateSpec:
    return pb.CertificateSpec(
        secret_name=template.secret,
        profile=template.profile,
        key_algorithm=to_wire(template.key_algorithm),
        key_format=to_wire(template.key_format),
        certificate_key=template.certificate_key,
        private_key_key=template.private_key_key,
        ca_key=template.ca_key,
        dns_names=[fill(name, party_id, domain) for name in template.dns_names],
        restart_deployments=template.restart_deployments,
    )


def _table(
    template: TableTemplate, chart_keys: Iterable[str], rows: Iterable[tuple[str, str, int]]
) -> pb.TableSpec:
    table = pb.TableSpec(
        kind=to_wire(template.kind), config_map=template.config_map, key=template.key
    )
    written = _write(table, rows)
    table.chart_keys.extend(key for key in chart_keys if key not in written)
    return table


def _write(table: pb.TableSpec, rows: Iterable[tuple[str, str, int]]) -> set[str]:
    """Fill a table and return its keys; field by field is the fastest way into a message."""
    keys = set()
    add = table.entries.add
    for key, host, port in rows:
        entry = add()
        entry.key, entry.host, entry.port = key, host, port
        keys.add(key)
    return keys
