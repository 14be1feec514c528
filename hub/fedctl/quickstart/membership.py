"""Which of the state folder's sites run in this start, decided by what the hub knows of them.

====================  =============  =========================  ==================================
the hub says          its identity   what runs                  why
====================  =============  =========================  ==================================
no such site          none           cluster and agent, joins   it is new
no such site          there          nothing                    a person deleted the site
Invited, no cluster   either         cluster and agent, joins   it is new, or a person revoked it
                                                                and has invited it again
Invited, a cluster    none           cluster and agent, joins   its first join was cut off
Invited, a cluster    there          cluster and agent          its first session was cut off
Revoked               either         cluster                    a person revoked the agent, and
                                                                what it deployed goes on
any other state       there          cluster and agent          the usual case
any other state       none           cluster                    its identity is lost
====================  =============  =========================  ==================================

Sites at the hub that the folder does not hold are somebody else's: their agents are not ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedctl.client import Client
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import list_all
from fedctl.quickstart.options import site_names
from fedctl.quickstart.paths import fedctl_command
from fedctl.quickstart.state_dir import StateDir
from fedctl.resources import Json, kind_of

_INVITED = "Invited"
_REVOKED = "Revoked"


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What runs of one site.

    ``left_out`` says why its agent does not, empty where it does, and ``cure`` what brings it back.
    """

    name: str
    has_cluster: bool = True
    joins: bool = False
    left_out: str = ""
    cure: str = ""

    @property
    def has_agent(self) -> bool:
        """Whether its agent runs."""
        return not self.left_out


def plan_site(name: str, at_hub: Json | None, *, has_identity: bool) -> SitePlan:
    """Decide about one site; ``at_hub`` is the hub's view of it, None where it has none."""
    invite = f"{fedctl_command()} site invite {name}"
    if at_hub is None:
        if has_identity:
            return SitePlan(name, has_cluster=False, left_out="was deleted", cure=invite)
        return SitePlan(name, joins=True)
    if at_hub["state"] == _REVOKED:
        return SitePlan(name, left_out="is revoked", cure=invite)
    if at_hub["state"] == _INVITED:
        return SitePlan(name, joins=not has_identity or at_hub["cluster_uid"] is None)
    if not has_identity:
        cure = f"{fedctl_command()} site revoke {name}; {invite}"
        return SitePlan(name, left_out="has lost its agent's identity", cure=cure)
    return SitePlan(name)


@dataclass(frozen=True, slots=True)
class Membership:
    """The sites of this start, and the names of those at the hub that are not of this folder."""

    plans: tuple[SitePlan, ...]
    foreign: tuple[str, ...]

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the sites whose agents run."""
        return tuple(plan.name for plan in self.plans if plan.has_agent)


async def read_membership(client: Client, state_dir: StateDir, names: Sequence[str]) -> Membership:
    """Ask the hub about the sites of the state folder."""
    at_hub: Mapping[str, Json] = {
        site["name"]: site for site in await list_all(client, kind_of("sites"))
    }
    plans = [
        plan_site(name, at_hub.get(name), has_identity=state_dir.has_identity(name))
        for name in names
    ]
    return Membership(tuple(plans), tuple(name for name in at_hub if name not in names))


def check_count(count: int | None, membership: Membership) -> None:
    """Raise CliError if ``--sites`` asks for fewer sites than there are."""
    if count is None:
        return
    asked = site_names(count)
    beyond = [plan.name for plan in membership.plans if plan.has_agent and plan.name not in asked]
    if beyond:
        raise CliError(
            ExitCode.CONFLICT,
            f"--sites {count} would leave out {', '.join(beyond)}, which this state has, too",
            hint="leave --sites out for the sites of last time; to have fewer, start so, take "
            "their parties out of the federation, then `fedctl site revoke` and `fedctl delete "
            "site` each; or take another --state",
        )


def check_same_hub(state_dir: StateDir, names: Sequence[str]) -> None:
    """Raise CliError if sites have joined a hub whose folder is gone: a new one knows none."""
    joined = [name for name in names if state_dir.has_identity(name)]
    if joined and not state_dir.hub_root_certificate.exists():
        raise CliError(
            ExitCode.CONFLICT,
            f"the agents of {', '.join(joined)} joined another hub than the one in {state_dir.hub}",
            hint=f"bring that folder back, or remove {state_dir.root} and start afresh",
        )
