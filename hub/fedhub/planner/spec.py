"""Build the body of a participant's document from its role's release and its routes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from fedhub.domain.federation import ExchangeIntent, Expose, PartyIntent, Repair
from fedhub.domain.models import Participant
from fedhub.domain.release import CertificateTemplate, RoleRelease, TableTemplate, Topology
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

Entries = Mapping[str, Iterable[tuple[str, str, int]]]
"""Entries (key, host, port) by kind of table."""

TABLES: Final = {
    "sni": pb.TABLE_KIND_SNI,
    "nginx": pb.TABLE_KIND_NGINX,
    "pulsar": pb.TABLE_KIND_PULSAR,
}
_PROXIES: Final = {
    "traffic-server": pb.PROXY_KIND_TRAFFIC_SERVER,
    "nginx": pb.PROXY_KIND_NGINX,
}
_ALGORITHMS: Final = {"P256": pb.KEY_ALGORITHM_P256, "RSA3072": pb.KEY_ALGORITHM_RSA3072}
_FORMATS: Final = {"PKCS8": pb.KEY_FORMAT_PKCS8, "TRADITIONAL": pb.KEY_FORMAT_TRADITIONAL}
_WORKLOADS: Final = {
    "Deployment": pb.WORKLOAD_KIND_DEPLOYMENT,
    "StatefulSet": pb.WORKLOAD_KIND_STATEFUL_SET,
}
_REPAIRS: Final = {
    Repair.AUTO: pb.REPAIR_POLICY_AUTO,
    Repair.REPORT: pb.REPAIR_POLICY_REPORT,
}


def release_name(participant: Participant) -> str:
    """Name of KubeFATE's record and of the Helm release; short enough for Helm's 53 characters."""
    return f"fate-{participant.key}"


def relay_entries(tables: RouteTables) -> Entries:
    """Return the exchange's tables as they must stand in its ConfigMaps."""
    return {"sni": tables.sni(), "nginx": tables.nginx()}


class SpecBuilder:
    """Builds the specs of one federation; what members of a kind share is built once."""

    def __init__(self, given: PlanInput, *, is_direct: bool) -> None:
        self._given = given
        self._topology: Topology = "direct" if is_direct else "exchange"
        self._shared: dict[tuple[bool, Expose], pb.ParticipantSpec] = {}

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
        routes = through_exchange(self._given.federation.domain, targets)
        entries = {
            "nginx": [("default", targets.nginx.ip, targets.nginx.port)],
            "pulsar": [("default", targets.ats.ip, targets.ats.port)],
        }
        return self._spec(member, merge(self._values(member), routes), entries, names)

    def peer(self, member: Member, others: RouteTables, names: Iterable[str]) -> pb.ParticipantSpec:
        """Build the spec of a party in a federation without an exchange."""
        party_id = member.participant.party_id
        routes = peer_to_peer(party_id, others)
        entries = {
            "nginx": [("default", NOWHERE, NOWHERE_HTTP_PORT), *others.nginx()],
            "pulsar": [(str(party_id), "pulsar", PULSAR_PLAIN_PORT), *others.pulsar()],
        }
        return self._spec(member, merge(self._values(member), routes), entries, names)

    def _role(self, member: Member) -> RoleRelease:
        release = self._given.release
        return release.exchange if member.is_exchange else release.cluster

    def _values(self, member: Member) -> Tree:
        intent = _intent(member)
        participant = member.participant
        identity = Identity(
            party_id=participant.party_id,
            domain=self._given.federation.domain,
            name=release_name(participant),
            namespace=participant.namespace,
        )
        return base_values(
            self._role(member), identity, intent.expose, self._topology, intent.values
        )

    def _spec(
        self, member: Member, values: Tree, entries: Entries, names: Iterable[str]
    ) -> pb.ParticipantSpec:
        participant = member.participant
        domain = self._given.federation.domain
        role = self._role(member)
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
        for wish in role.tables:
            chart_keys = [fill(key, participant.party_id, domain) for key in wish.chart_keys]
            spec.tables.append(_table(wish, chart_keys, entries[wish.kind]))
        spec.resolve_names.extend(sorted(set(names)))
        return spec

    def _common(self, member: Member) -> pb.ParticipantSpec:
        key = (member.is_exchange, _intent(member).expose)
        if key not in self._shared:
            self._shared[key] = self._build_common(member)
        return self._shared[key]

    def _build_common(self, member: Member) -> pb.ParticipantSpec:
        given, role, expose = self._given, self._role(member), _intent(member).expose
        chart = role.chart
        return pb.ParticipantSpec(
            federation_id=given.federation.id,
            federation_name=given.federation.name,
            kind=(
                pb.PARTICIPANT_KIND_EXCHANGE if member.is_exchange else pb.PARTICIPANT_KIND_CLUSTER
            ),
            chart=pb.ChartRef(
                name=chart.name,
                version=chart.version,
                sha256=chart.sha256,
                from_hub=chart.sha256 in given.charts,
            ),
            components=[
                pb.ComponentSpec(name=each.name, kind=_WORKLOADS[each.kind])
                for each in role.components
            ],
            addresses=[
                pb.AddressSpec(role=each.role, service=each.service, port_name=each.port_name)
                for each in role.addresses
                if each.expose == expose.value and each.topology in ("any", self._topology)
            ],
            proxies=[
                pb.ProxySpec(
                    kind=_PROXIES[each.proxy], deployment=each.deployment, table=TABLES[each.kind]
                )
                for each in role.tables
                if each.proxy is not None
            ],
            repair=_REPAIRS[given.intent.repair],
            removal=pb.RemovalSpec(delete_volumes=True, delete_namespace=True),
        )


def with_tables(spec: pb.ParticipantSpec, tables: RouteTables) -> pb.ParticipantSpec:
    """Return an exchange's spec with other tables and nothing else changed."""
    changed = pb.ParticipantSpec()
    changed.CopyFrom(spec)
    changed.cluster_json = canonical(with_relay(json.loads(spec.cluster_json), tables))
    entries = {TABLES[kind]: rows for kind, rows in relay_entries(tables).items()}
    for table in changed.tables:
        del table.entries[:]
        _write(table, entries[table.kind])
    return changed


def _intent(member: Member) -> ExchangeIntent | PartyIntent:
    if member.intent is None:
        raise ValueError(f"{member.label} is leaving: its spec is the stored one")
    return member.intent


def _certificate(wish: CertificateTemplate, party_id: int, domain: str) -> pb.CertificateSpec:
    return pb.CertificateSpec(
        secret_name=wish.secret,
        profile=wish.profile,
        key_algorithm=_ALGORITHMS[wish.key_algorithm],
        key_format=_FORMATS[wish.key_format],
        certificate_key=wish.certificate_key,
        private_key_key=wish.private_key_key,
        ca_key=wish.ca_key,
        dns_names=[fill(name, party_id, domain) for name in wish.dns_names],
        restart_deployments=wish.restart_deployments,
    )


def _table(
    wish: TableTemplate, chart_keys: Iterable[str], rows: Iterable[tuple[str, str, int]]
) -> pb.TableSpec:
    table = pb.TableSpec(kind=TABLES[wish.kind], config_map=wish.config_map, key=wish.key)
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
