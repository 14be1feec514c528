"""Try every route of an exchange now: a command to the agent at its site."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fedcore.errors import ErrorCode, FedError
from fedcore.ids import new_id
from fedhub.domain.access import Permission, Principal, authorize, of_participant
from fedhub.fleet.ingest import clean
from fedhub.services.context import HubContext
from fedhub.services.participants import require
from fedproto.agent.v1 import command_pb2

_OF_A_SITE: Final = (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.TIMEOUT)


async def probe(hub: HubContext, principal: Principal, name: str) -> command_pb2.RoutesProbed:
    """Ask the agent of a participant's site to try every route, and wait for what it found."""
    async with hub.database.read() as db:
        participant = await require(db, name)
    authorize(principal, Permission.MANAGE_FEDERATIONS, of_participant(participant))
    command = command_pb2.Command(
        command_id=new_id(),
        probe_routes=command_pb2.ProbeRoutes(resource_id=participant.id),
    )
    limit = timedelta(seconds=hub.timing.command_limit_s)
    command.deadline_at.FromDatetime(hub.clock.now() + limit)
    result = await hub.registry.command(participant.site_id, command)
    clean(result)
    if not result.succeeded:
        raise FedError(result.message or "the site could not try the routes", code=_code(result))
    return result.routes_probed


def _code(result: command_pb2.CommandResult) -> ErrorCode:
    """Take an agent's code, unless it would speak of the caller or of the hub itself."""
    return next((code for code in _OF_A_SITE if code == result.error_code), ErrorCode.UNAVAILABLE)
