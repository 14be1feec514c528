"""Tables and certificates made as a deployed federation makes them, without its clusters.

The planner computes the documents, the simulated service's renderer writes the ConfigMaps from
their cluster.yaml, and the authority issues what their certificate specs ask for.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypedDict, Unpack

from tests.planner.strategies import EXCHANGE_ID, leaving, party_resource, report, world
from tests.support.dataplane import Deployed, DeployedParty, Files
from tests.support.proxy_host import Address

from fedca.authority import Authority, AuthoritySettings, IssueRequest, Subject
from fedca.csr import make_csr_pem
from fedca.keys import KeyFormat, KeyKind, PrivateKey, make_private_key, private_key_pem
from fedca.ledger import MemoryLedger
from fedca.sealing import Sealer
from fedcore.clock import SystemClock
from fedhub.domain.models import Spec
from fedhub.planner.plan import PlanInput, plan
from fedhub.planner.routes import Route
from fedproto.agent.v1 import document_pb2 as pb
from fedsim.kubefate.release import render

_FORMATS = {
    pb.KEY_FORMAT_PKCS8: KeyFormat.PKCS8,
    pb.KEY_FORMAT_TRADITIONAL: KeyFormat.TRADITIONAL,
}


@dataclass(frozen=True, slots=True)
class Party:
    """A party to deploy: what its site reports, what its operator advertises."""

    id: int
    pulsar: Address
    nginx: Address
    advertise: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, party_id: int, ip: str, **more: Any) -> Self:
        """Return a party at a node of its own, on the node ports of KubeFATE's samples."""
        return cls(party_id, (ip, 30109), (ip, 30103), **more)


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where the exchange's node ports are."""

    ats: Address
    nginx: Address

    @classmethod
    def at(cls, ip: str) -> Self:
        """Return an exchange at one node, on the node ports of KubeFATE's samples."""
        return cls((ip, 30007), (ip, 30003))


class KeyRing:
    """RSA keys for any number of tests: each costs a tenth of a second or more."""

    def __init__(self) -> None:
        self._keys: list[PrivateKey] = []

    def key(self, index: int) -> PrivateKey:
        """Return key number ``index``, made when it is first wanted."""
        while len(self._keys) <= index:
            self._keys.append(make_private_key(KeyKind.RSA))
        return self._keys[index]


class Bureau:
    """One hub's authority and the Secrets that sites hold from it; a second wish gets the first."""

    def __init__(self, authority: Authority, keys: KeyRing) -> None:
        self._authority = authority
        self._keys = keys
        self._secrets: dict[tuple[str, str], Files] = {}

    @classmethod
    async def open(cls, keys: KeyRing) -> Self:
        """Make an authority of its own, with its own root."""
        authority = await Authority.open(
            ledger=MemoryLedger(),
            sealer=Sealer(os.urandom(32)),
            clock=SystemClock(),
            settings=AuthoritySettings(),
        )
        return cls(authority, keys)

    @property
    def roots_pem(self) -> bytes:
        """What every site trusts."""
        return self._authority.trust_bundle().roots_pem

    async def secrets(self, spec: pb.ParticipantSpec, domain: str) -> dict[str, Files]:
        """Return the Secrets that a document asks for."""
        for wish in spec.certificates:
            if (spec.participant_name, wish.secret_name) not in self._secrets:
                made = await self._issue(spec, wish, domain)
                self._secrets[spec.participant_name, wish.secret_name] = made
        return {
            wish.secret_name: self._secrets[spec.participant_name, wish.secret_name]
            for wish in spec.certificates
        }

    async def _issue(
        self, spec: pb.ParticipantSpec, wish: pb.CertificateSpec, domain: str
    ) -> Files:
        key = self._keys.key(len(self._secrets))
        subject = Subject(federation_id=spec.federation_id, domain=domain, party_id=spec.party_id)
        request = IssueRequest(wish.profile, subject, make_csr_pem(key), "the data plane's tests")
        issued = await self._authority.issue(request)
        data = {
            wish.certificate_key: issued.chain_pem,
            wish.private_key_key: private_key_pem(key, _FORMATS[wish.key_format]),
            wish.ca_key: self.roots_pem,
        }
        return {name: base64.b64encode(content).decode() for name, content in data.items()}


class Ways(TypedDict, total=False):
    """Where a deployment differs from the plain one."""

    removed: Collection[int]
    """Parties that leave: in no table, and not in the outcome."""
    unreported: Collection[int]
    """Parties whose sites have reported nothing yet: in no table."""
    resolutions: Mapping[str, str]
    """What the exchange's site knows about advertised names."""


async def deployed_federation(
    parties: Iterable[Party], bureau: Bureau, entrance: Entrance, **ways: Unpack[Ways]
) -> Deployed:
    """Deploy an exchange and parties on paper."""
    cast = tuple(parties)
    removed = ways.get("removed", ())
    given = leaving(_world(cast, entrance, ways), *map(party_resource, removed))
    planned = plan(given)
    specs = {each.resource_id: each.spec for each in planned.documents if not each.absent}
    routes = {int(each.key): each for each in planned.routes.parties}
    domain = given.federation.domain
    made = [
        DeployedParty(
            each.id,
            config_maps_of(_participant(specs[party_resource(each.id)])),
            await bureau.secrets(_participant(specs[party_resource(each.id)]), domain),
            *_places(each, routes.get(each.id)),
        )
        for each in cast
        if each.id not in removed
    ]
    exchange = _participant(specs[EXCHANGE_ID])
    secrets = await bureau.secrets(exchange, domain)
    return Deployed(
        config_maps_of(exchange),
        secrets,
        bureau.roots_pem,
        tuple(made),
        entrance.ats,
        entrance.nginx,
    )


def _world(cast: Iterable[Party], entrance: Entrance, ways: Ways) -> PlanInput:
    doors = {"ats": entrance.ats, "nginx": entrance.nginx}
    reports = [report(EXCHANGE_ID, doors, ways.get("resolutions"))]
    reports += [
        report(party_resource(each.id), {"pulsar": each.pulsar, "nginx": each.nginx})
        for each in cast
        if each.id not in ways.get("unreported", ())
    ]
    wishes = [{"id": each.id, "advertise": each.advertise} for each in cast]
    return world(wishes, reports=reports)


def _places(party: Party, route: Route | None) -> tuple[Address, Address]:
    """Return where the exchange looks for a party: that may be an advertised address."""
    if route is None:
        return party.pulsar, party.nginx
    return (route.pulsar.ip, route.pulsar.port), (route.nginx.ip, route.nginx.port)


def _participant(spec: Spec) -> pb.ParticipantSpec:
    assert isinstance(spec, pb.ParticipantSpec)
    return spec


def config_maps_of(spec: pb.ParticipantSpec) -> dict[str, Files]:
    """Render a document's cluster.yaml as the simulated service does; return its ConfigMaps."""
    objects = render(
        spec.chart.name,
        spec.chart.version,
        json.loads(spec.cluster_json),
        spec.release_name,
        spec.namespace,
    )
    return {
        each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"
    }
