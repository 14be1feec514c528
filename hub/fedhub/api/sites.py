"""Serve /api/v1/sites."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fedcore import limits
from fedcore.ids import NAME_PATTERN
from fedhub.api.request import PageQuery, hub_of
from fedhub.domain.access import Principal
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedhub.services import sites
from fedweb.routes import Answer, Call, Route


class FindingView(BaseModel):
    """A named cause with the next act."""

    model_config = ConfigDict(from_attributes=True)

    code: str
    severity: str
    message: str
    hint: str = ""
    object: str = ""


class SiteView(BaseModel):
    """One party's place: a Kubernetes cluster and its agent."""

    id: str
    name: str
    state: SiteState
    since: datetime
    created_at: datetime
    simulated: bool
    agent_id: str | None
    agent_version: str | None
    cluster_uid: str | None
    kubernetes_version: str | None
    node_count: int | None
    last_seen_at: datetime | None
    labels: dict[str, str]
    findings: list[FindingView]


class SitePage(BaseModel):
    """A page of sites."""

    items: list[SiteView]
    next_cursor: str | None


class SiteQuery(PageQuery):
    """Filters of the list of sites."""

    state: SiteState | None = Field(default=None, description="Only sites in this state.")


LabelKey = Annotated[
    str, Field(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")]


def _check_life(seconds: int) -> int:
    longest = limits.JOIN_TOKEN_MAX_LIFE_S
    if not 1 <= seconds <= longest:
        hours = longest // 3600
        raise ValueError(f"a token lives 1 s to {hours} h ({longest} s), not {seconds} s")
    return seconds


class InvitationRequest(BaseModel):
    """Who is invited."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=NAME_PATTERN, description="Name of the site.")]
    life_s: Annotated[
        int,
        AfterValidator(_check_life),
        Field(
            json_schema_extra={"minimum": 1, "maximum": limits.JOIN_TOKEN_MAX_LIFE_S},
            description="Seconds that the token is good for.",
        ),
    ] = limits.JOIN_TOKEN_LIFE_S
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=20, description="Your own words, as Kubernetes labels."
    )


class InvitationView(BaseModel):
    """What the site's administrator needs; the token is shown this once."""

    site: SiteView
    token: str
    expires_at: datetime
    enrol_address: str
    ca_fingerprint: str
    join_command: str = Field(
        description="For a shell that reaches the site's cluster by the usual kubeconfig."
    )


def view(site: Site) -> SiteView:
    """Build the public form of a site."""
    return SiteView(
        id=site.id,
        name=site.name,
        state=site.state,
        since=site.state_since,
        created_at=site.created_at,
        simulated=site.simulated,
        agent_id=site.agent_id,
        agent_version=site.agent_version,
        cluster_uid=site.cluster_uid,
        kubernetes_version=site.kubernetes_version,
        node_count=site.node_count,
        last_seen_at=site.last_seen_at,
        labels=site.labels,
        findings=[FindingView(**finding) for finding in site.findings],
    )


async def list_sites(call: Call[Principal]) -> Answer:
    """Answer a page of sites."""
    page = await sites.list_page(
        hub_of(call),
        call.principal,
        state=call.query.state,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(SitePage(items=[view(s) for s in page.items], next_cursor=page.next_cursor))


async def invite_site(call: Call[Principal]) -> Answer:
    """Invite a site, or give it a new token."""
    hub = hub_of(call)
    invitation = await sites.invite(
        hub, call.principal, call.body.name, life_s=call.body.life_s, labels=call.body.labels
    )
    command = (
        f"fedagent join {invitation.enrol_address} --token {invitation.token} "
        f"--ca-fingerprint {invitation.ca_fingerprint} "
        "--state fedagent-state --kubeconfig ~/.kube/config"
    )
    answer = InvitationView(
        site=view(invitation.site),
        token=invitation.token,
        expires_at=invitation.expires_at,
        enrol_address=invitation.enrol_address,
        ca_fingerprint=invitation.ca_fingerprint,
        join_command=command,
    )
    return Answer(answer, 201, {"Location": f"/api/v1/sites/{invitation.site.name}"})


async def get_site(call: Call[Principal]) -> Answer:
    """Answer one site."""
    return Answer(view(await sites.get(hub_of(call), call.principal, call.path("name"))))


async def revoke_site(call: Call[Principal]) -> Answer:
    """Revoke a site's agent."""
    return Answer(view(await sites.revoke(hub_of(call), call.principal, call.path("name"))))


async def delete_site(call: Call[Principal]) -> Answer:
    """Forget a site that runs nothing."""
    await sites.delete(hub_of(call), call.principal, call.path("name"))
    return Answer(None, 204)


ROUTES = (
    Route("GET", "/api/v1/sites", list_sites, "List sites.", "sites", SitePage, query=SiteQuery),
    Route(
        "POST",
        "/api/v1/sites",
        invite_site,
        "Invite a site: makes a one-time join token.",
        "sites",
        InvitationView,
        status=201,
        body=InvitationRequest,
        secret=True,
    ),
    Route("GET", "/api/v1/sites/{name}", get_site, "Get a site.", "sites", SiteView),
    Route(
        "POST",
        "/api/v1/sites/{name}/revocation",
        revoke_site,
        "Revoke a site's agent; its stream is cut at once.",
        "sites",
        SiteView,
    ),
    Route(
        "DELETE",
        "/api/v1/sites/{name}",
        delete_site,
        "Forget a site that runs nothing.",
        "sites",
        status=204,
    ),
)
