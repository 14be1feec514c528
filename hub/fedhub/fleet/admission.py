"""May this agent have a session? Pure rules over what is known of its site."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedcore import limits
from fedcore.errors import Denied, ErrorCode, FedError, FieldError, Invalid
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedproto.agent.v1 import link_pb2

PROBE_S: Final = 5.0
"""How long beyond its interval an older session may be silent and still count as alive."""

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
    interval_s: float


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
    is_superseded: bool = False,
) -> Verdict:
    """Apply the rules of fencing; raise Denied for an agent that is not the site's.

    Same instance: takes over at once. Another instance in the same cluster (its disk was lost):
    takes over once the incumbent is silent. Another cluster, or a certificate older than the one
    in use: a copy of the identity, refused.
    """
    if site.state is SiteState.REVOKED:
        raise Denied(f"site {site.name} is revoked")
    if site.agent_id != identity.agent_id:
        raise Denied(f"this agent is no longer the agent of site {site.name}: join again")
    if site.cluster_uid is not None and site.cluster_uid != hello.cluster_uid:
        return Verdict.DUPLICATE
    if is_superseded:
        return Verdict.SUPERSEDED
    if current_session is None or current_session.instance_id == hello.instance_id:
        return Verdict.ADMIT
    is_silent = current_session.silent_s > current_session.interval_s + PROBE_S
    return Verdict.ADMIT if is_silent else Verdict.WAIT
