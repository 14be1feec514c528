"""The words that documents and statuses use, one enum for each: hub, agent and REST say the same.

They are pure values, so that planners can use them. ``fedproto.words`` translates each to and from
its enum of the wire; to add a word, add it here and in the ``.proto`` file of the same name.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where an endpoint or a participant stands."""

    DRAFT = "Draft"
    """The hub's own: nothing is planned yet. Never on the wire."""
    PLANNED = "Planned"
    WAITING = "Waiting"
    INSTALLING = "Installing"
    DEPLOYING = "Deploying"
    RECONFIGURING = "Reconfiguring"
    UPGRADING = "Upgrading"
    READY = "Ready"
    DEGRADED = "Degraded"
    REMOVING = "Removing"
    GONE = "Gone"
    FAILED = "Failed"
    AWAITING_APPROVAL = "AwaitingApproval"
    REFUSED = "Refused"
    UNKNOWN = "Unknown"
    """The hub's own: the site is offline. Never on the wire."""


class Severity(StrEnum):
    """How much an event or a finding matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class StepState(StrEnum):
    """Where one step of a deployment stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


class ProbeState(StrEnum):
    """What a TLS handshake through the exchange showed of a route."""

    REACHABLE = "Reachable"
    """The party's own certificate answered."""
    UNREACHABLE = "Unreachable"
    """The exchange's address cannot be reached from the agent."""
    NOT_SERVED = "NotServed"
    """The exchange answered with another certificate, or refused."""
    PARTY_DOWN = "PartyDown"
    """The route is taken, and the party behind it does not answer."""


class EndpointMode(StrEnum):
    """How a site comes to its KubeFATE service."""

    AUTO = "auto"
    """Adopt the service that is there; install one where there is none."""
    INSTALL = "install"
    ADOPT = "adopt"


class ParticipantKind(StrEnum):
    """What a participant is."""

    EXCHANGE = "exchange"
    CLUSTER = "cluster"


class RepairPolicy(StrEnum):
    """What an agent does about drift."""

    AUTO = "auto"
    REPORT = "report"


class TableKind(StrEnum):
    """Which proxy or client reads a route table."""

    SNI = "sni"
    """Traffic Server: sni.yaml."""
    NGINX = "nginx"
    """nginx: route_table.yaml."""
    PULSAR = "pulsar"
    """FATE-Flow: pulsar_route_table.yaml."""


class ProxyKind(StrEnum):
    """A proxy that must take a changed table while it serves."""

    TRAFFIC_SERVER = "traffic-server"
    NGINX = "nginx"


class WorkloadKind(StrEnum):
    """The Kubernetes kind of a component."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


class KeyAlgorithm(StrEnum):
    """The key of a participant's certificate."""

    P256 = "P256"
    RSA3072 = "RSA3072"


class KeyFormat(StrEnum):
    """How a private key is written into a Secret."""

    PKCS8 = "PKCS8"
    TRADITIONAL = "TRADITIONAL"
    """``BEGIN RSA PRIVATE KEY`` or ``BEGIN EC PRIVATE KEY``."""
