"""May this agent have a session? Pure rules over its Hello, its certificate and its site.

``decide_admission`` asks from the top; the first line that fits decides:

=============================================  ============================================
the case                                       what becomes of the Hello
=============================================  ============================================
the site is revoked                            Denied
the site has another agent by now              Denied: this one must join again
Hello is from another cluster than the site's  DUPLICATE: a copy of the identity; alert
the certificate is older than the one in use   SUPERSEDED: an old copy of the key; alert
nobody is connected, or the same instance is   ADMIT: it takes over at once
another instance is connected and was heard    WAIT: try again later
another instance is connected but silent       ADMIT: the agent lost its disk
=============================================  ============================================

An instance is one life of the agent's state folder. Two instances with one identity in one cluster
may be a pod and its successor on an empty volume: the newer one gets its place as soon as the older
one falls silent. Two clusters with one identity never have a good reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedcore import limits
from fedcore.errors import Denied, ErrorCode, FedError, FieldError, Invalid
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedproto.agent.v1 import link_pb2

MAX_IDENTIFIER: Final = 64


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who the verified certificate says the peer is."""

    site_id: str
    agent_id: str
    serial: str


@dataclass(frozen=True, slots=True)
class CurrentSession:
    """The session that the site has at present: its instance and how long it has been silent."""

    instance_id: str
    silent_s: float


class Verdict(StrEnum):
    """What becomes of a Hello."""

    ADMIT = "admit"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    WAIT = "wait"


def check_identifier(path: str, text: str) -> None:
    """Raise Invalid unless ``text`` can be an identifier that an agent chose."""
    if not 1 <= len(text) <= MAX_IDENTIFIER or not text.isascii() or not text.isprintable():
        message = f"must have 1 to {MAX_IDENTIFIER} printable ASCII characters"
        raise Invalid(f"{path} {message}", errors=(FieldError(path, message),))


def check_hello(hello: link_pb2.Hello) -> int:
    """Check the fields of a Hello and return the protocol version to speak."""
    for name in ("instance_id", "cluster_uid", "spool_id", "boot_id"):
        check_identifier(f"hello.{name}", getattr(hello, name))
    if hello.protocol_min > limits.PROTOCOL_MAX or hello.protocol_max < limits.PROTOCOL_MIN:
        raise FedError(
            f"the agent speaks protocol {hello.protocol_min}-{hello.protocol_max}, this hub "
            f"{limits.PROTOCOL_MIN}-{limits.PROTOCOL_MAX}: upgrade the older one",
            code=ErrorCode.PRECONDITION_FAILED,
        )
    return min(hello.protocol_max, limits.PROTOCOL_MAX)


def decide_admission(
    hello: link_pb2.Hello,
    identity: PeerIdentity,
    site: Site,
    current_session: CurrentSession | None,
    *,
    alive_limit_s: float,
    is_superseded: bool = False,
) -> Verdict:
    """Apply the table above; ``alive_limit_s``: silent for longer, a session counts as dead."""
    if site.state is SiteState.REVOKED:
        raise Denied(f"site {site.name} is revoked")
    if site.agent_id != identity.agent_id:
        raise Denied(f"this agent is no longer the agent of site {site.name}: join again")
    # Before the first Hello the site has no cluster: enrolment notes it, an invitation clears it.
    if site.cluster_uid is not None and site.cluster_uid != hello.cluster_uid:
        return Verdict.DUPLICATE
    if is_superseded:
        return Verdict.SUPERSEDED
    if current_session is None or current_session.instance_id == hello.instance_id:
        return Verdict.ADMIT
    return Verdict.ADMIT if current_session.silent_s > alive_limit_s else Verdict.WAIT
