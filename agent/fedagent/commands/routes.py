"""Try every route of an exchange by a TLS handshake, now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fedagent.domain.route_probes import PROXY_ROLE, is_party_route
from fedagent.journal import Journal
from fedagent.reconcile.route_prober import ProbeRoutesFn
from fedcore.clock import Clock
from fedcore.errors import FedError, NotFound
from fedproto.agent.v1 import command_pb2, document_pb2
from fedproto.words import to_wire


@dataclass(frozen=True, slots=True)
class RouteCheck:
    """What trying routes needs: where the exchange is (journal) and whom to trust."""

    journal: Journal
    probe: ProbeRoutesFn
    roots: Callable[[], bytes]
    clock: Clock

    async def run(self, resource_id: str) -> command_pb2.RoutesProbed:
        """Try every party's SNI of the exchange's document; NotFound for another resource."""
        document = await self.journal.documents.get(resource_id)
        if document is None or document.WhichOneof("body") != "participant":
            raise NotFound("this site has no such exchange")
        names = [
            entry.key
            for table in document.participant.tables
            if table.kind == document_pb2.TABLE_KIND_SNI
            for entry in table.entries
            if is_party_route(entry.key)
        ]
        status = await self.journal.statuses.get(resource_id)
        addresses = () if status is None else status.addresses
        proxy = next((address for address in addresses if address.role == PROXY_ROLE), None)
        if proxy is None:
            raise NotFound("this resource is no exchange, or has no address yet")
        answers = await self.probe(proxy.ip, proxy.port, names, self.roots())
        probed = command_pb2.RoutesProbed()
        for name, answer in answers.items():
            probe = probed.probes.add(key=name, message=answer.message)
            probe.state = to_wire(answer.state)
            probe.at.FromDatetime(self.clock.now())
        return probed


def answering(
    check: RouteCheck,
) -> Callable[[command_pb2.Command], Awaitable[command_pb2.CommandResult]]:
    """Build the function that answers the hub's commands; an error becomes a result."""

    async def answer(command: command_pb2.Command) -> command_pb2.CommandResult:
        result = command_pb2.CommandResult(command_id=command.command_id)
        try:
            if command.WhichOneof("request") != "probe_routes":
                raise NotFound("this agent does not know that command: upgrade it")
            probed = await check.run(command.probe_routes.resource_id)
        except FedError as error:
            result.error_code, result.message = error.code.value, error.message
            return result
        result.succeeded = True
        result.routes_probed.CopyFrom(probed)
        return result

    return answer
