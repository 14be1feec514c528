"""What a worker needs of the world for one resource: to see it, to plan for it, to act on it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from fedagent.domain.decision import Action, Decision
from fedagent.domain.document import EndpointDocument, ParticipantDocument
from fedagent.domain.observed import ParticipantObserved, ServiceObserved
from fedagent.domain.state import LastGoodConfig, ResourceState
from fedproto.agent.v1 import document_pb2

D = TypeVar("D", bound=EndpointDocument | ParticipantDocument)
"""The kind of document."""
O = TypeVar("O", bound=ServiceObserved | ParticipantObserved)  # noqa: E741 - beside D, no number
"""The kind of observation that goes with it."""


class ResourceController(Protocol[D, O]):
    """Looks after one resource. The worker calls it again and again, never twice at once."""

    def decode(self, message: document_pb2.DesiredDocument) -> D:
        """Return the document; Invalid when it cannot be used, or is of another kind."""

    async def observe(self, document: D, state: ResourceState) -> O:
        """Read what is there. KubeError when Kubernetes cannot be asked."""

    async def remember(self, document: D, observed: O, state: ResourceState) -> ResourceState:
        """Write into the journal what later observations cannot show; return the state with it."""

    def plan(self, document: D, observed: O, state: ResourceState) -> Decision:
        """Decide what is next."""

    def publish(self, document: D, decision: Decision) -> None:
        """Tell other resources of the site how this one stands, before anything is done."""

    def good_config(self, document: D) -> LastGoodConfig | None:
        """Return what is kept of a document that is Ready, for when a later one fails."""

    async def act(self, document: D, observed: O, state: ResourceState, action: Action) -> None:
        """Do one action; it is idempotent."""

    def invalidate(self) -> None:
        """Trust nothing that was read before: the next look reads everything anew."""

    async def stop(self) -> None:
        """End what runs in the background."""
