"""Build the agent and run it until a signal: the only module that knows everything."""

from __future__ import annotations

import asyncio
import json
import platform
import tomllib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from fedagent.commands.routes import RouteCheck, answering
from fedagent.domain.policy import Policy, Telemetry, default_policy, parse_policy
from fedagent.journal import Journal, open_journal
from fedagent.kube.client import Kube, connect
from fedagent.kube.errors import KubeError
from fedagent.kube.inventory import read_cluster_uid, read_inventory
from fedagent.kubefate.access import Access
from fedagent.kubefate.manifests import Scope
from fedagent.link.calls import AgentCalls, AgentFacts
from fedagent.link.enrolment import AgentEnrolment
from fedagent.link.hub_client import LinkHubClient
from fedagent.link.identity_secret import IdentitySecret
from fedagent.link.session import Commands
from fedagent.reconcile.build import Dependencies, assemble
from fedagent.reconcile.route_prober import RouteProber
from fedagent.reconcile.site import Site
from fedagent.reconcile.timing import ReconcileTiming
from fedagent.settings import AgentSettings
from fedcore.clock import Clock, SystemClock
from fedcore.errors import Invalid, NotFound, Unavailable
from fedcore.files import write_private
from fedcore.signals import stop_requested
from fedcore.tasks import LoopHealth
from fedcore.version import product_version
from fedcore.yaml_reader import YamlError, read_document
from fedlink.channel import LiveChannel
from fedlink.connection import HubConnection
from fedlink.enrolment import JoinRequest
from fedlink.enrolment import join as enrol
from fedlink.identity import CurrentIdentity, Identity, IdentityFile, IdentityStore
from fedproto.agent.v1 import link_pb2, status_pb2

log = structlog.get_logger()
_PROGRAM: Final = "fedagent"
_MAX_POLICY_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """A running agent, for tests in the same process."""

    identity: CurrentIdentity
    journal: Journal
    connection: HubConnection
    loop_health: LoopHealth


async def join(
    settings: AgentSettings, hub_address: str, token: str, ca_fingerprint: str
) -> Identity:
    """Join a hub for the cluster of the settings' kubeconfig; keep the identity in its place."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(_connected(settings))
        store = _identity_store(settings, kube)
        if await store.exists():
            joined = await store.load()
            raise Invalid(
                f"this agent has joined as site {joined.site_name}; "
                f"remove {store.place} to join again"
            )
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal = await stack.enter_async_context(_open_journal(settings, clock))
        timing = settings.timing.link
        calls = AgentEnrolment(
            token=token,
            cluster_uid=await read_cluster_uid(kube),
            instance_id=journal.instance_id,
            agent_version=product_version(),
            limit_s=timing.call_limit_s,
        )
        request = JoinRequest(hub_address=hub_address, ca_fingerprint=ca_fingerprint)
        return await enrol(request, calls, store, common_name=_PROGRAM, timing=timing)


async def has_joined(settings: AgentSettings) -> bool:
    """Return whether there is an identity in its place."""
    if settings.identity_secret is None:
        return await IdentityFile(settings.state, program=_PROGRAM).exists()
    async with _connected(settings) as kube:
        return await _identity_store(settings, kube).exists()


def _identity_store(settings: AgentSettings, kube: Kube) -> IdentityStore:
    if settings.identity_secret is None:
        return IdentityFile(settings.state, program=_PROGRAM)
    namespace, _, name = settings.identity_secret.rpartition("/")
    return IdentitySecret(kube, namespace or kube.access.namespace, name)


@asynccontextmanager
async def _connected(settings: AgentSettings) -> AsyncIterator[Kube]:
    """Connect to the cluster; its errors become ours, with the act that mends them."""
    try:
        opened = connect(settings.kubeconfig, context=settings.context, timing=settings.timing.kube)
        async with opened as kube:
            yield kube
    except KubeError as error:
        raise Unavailable(
            f"the Kubernetes API cannot be used: {error.message}; check --kubeconfig and rights"
        ) from error


@asynccontextmanager
async def running_agent(
    settings: AgentSettings, *, clock: Clock | None = None
) -> AsyncIterator[RunningAgent]:
    """Run an agent inside the context."""
    clock = clock if clock is not None else SystemClock()
    policy = load_policy(settings.policy)
    timing = settings.timing
    loop_health = LoopHealth(clock, timing.tasks)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(_connected(settings))
        store = _identity_store(settings, kube)
        identity = CurrentIdentity(await store.load(), store)
        journal = await stack.enter_async_context(_open_journal(settings, clock))
        access = Access(kube, settings.access(), clock=clock, timing=timing.kubefate)
        stack.push_async_callback(access.close)
        live = LiveChannel()
        # The hub's client exists before the connection, which wakes the reconciler in turn.
        reconciler = assemble(
            Site(
                journal=journal,
                policy=policy,
                loop_health=loop_health,
                clock=clock,
                hub_id=identity.value.hub_id,
                plan_timing=timing.plan,
                timing=timing.reconcile,
            ),
            Dependencies(
                kube=kube,
                access=access,
                hub=LinkHubClient(live, timing.link),
                scope=Scope.NAMESPACE if settings.namespaced else Scope.CLUSTER,
                role=settings.namespace_role,
            ),
        )
        facts = AgentFacts(
            version=product_version(),
            cluster_uid=await read_cluster_uid(kube),
            inventory=_inventory(kube, policy),
        )
        calls = AgentCalls(
            journal,
            identity,
            facts,
            _commands(journal, identity, timing.reconcile, clock),
            loop_health=loop_health,
            clock=clock,
            timing=timing.link,
        )
        connection = HubConnection(
            identity,
            calls,
            live,
            loop_health=loop_health,
            clock=clock,
            timing=timing.link,
            on_connected=reconciler.hear_hub,
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [
            group.create_task(reconciler.run(), name="reconcile"),
            group.create_task(connection.run(), name="link"),
        ]
        for task in tasks:
            stack.callback(task.cancel)
        yield RunningAgent(identity, journal, connection, loop_health)


def _commands(
    journal: Journal, identity: CurrentIdentity, timing: ReconcileTiming, clock: Clock
) -> Commands:
    """Build what answers the hub's commands."""
    prober = RouteProber(timing.probe_connect_limit_s, timing.probe_handshake_limit_s)
    return answering(RouteCheck(journal, prober.probe, identity.roots_pem, clock))


def _open_journal(settings: AgentSettings, clock: Clock) -> AbstractAsyncContextManager[Journal]:
    return open_journal(
        settings.journal_path, clock=clock, busy_limit_s=settings.timing.journal_busy_limit_s
    )


def _inventory(kube: Kube, policy: Policy) -> Any:
    """Build the function that Hello asks; what telemetry does not allow stays at the site."""

    async def read() -> link_pb2.Inventory:
        try:
            inventory = await read_inventory(kube)
        except KubeError as error:
            log.warning("inventory.unread", reason=error.message)
            return link_pb2.Inventory()
        message = inventory.to_proto(platform.platform())
        if policy.telemetry.inventory is Telemetry.ON:
            return message
        return link_pb2.Inventory(simulated=message.simulated)

    return read


def load_policy(path: Path | None) -> Policy:
    """Read the site's policy file (TOML or YAML); Invalid names the field. No file: all allowed."""
    if path is None:
        log.warning("policy.none", hint="everything is allowed and nothing withheld; see --policy")
        return default_policy()
    try:
        content = _read_small(path)
        is_toml = path.suffix == ".toml"
        parsed = tomllib.loads(content.decode()) if is_toml else read_document(content)
        return parse_policy(parsed if parsed is not None else {})
    except OSError as error:
        raise Invalid(f"policy file {path} cannot be read: {error.strerror}") from error
    except YamlError as error:
        raise Invalid(f"policy file {error.in_file(str(path))}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"policy file {path} cannot be parsed: {error}") from error
    except Invalid as error:
        raise Invalid(f"policy file {path}: {error.message}", errors=error.errors) from error


def _read_small(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_POLICY_BYTES + 1)
    if len(content) > _MAX_POLICY_BYTES:
        raise Invalid(f"it is larger than {_MAX_POLICY_BYTES} bytes")
    return content


async def serve(settings: AgentSettings, ready_file: Path | None) -> None:
    """Run until SIGTERM or SIGINT; ``ready_file`` is written when a session is held first."""
    stop = stop_requested()
    async with running_agent(settings) as agent:
        log.info(
            "agent.started",
            site=agent.identity.value.site_name,
            hub=agent.identity.value.link_address,
        )
        connected = asyncio.create_task(agent.connection.connected.wait())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({connected, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if connected.done() and ready_file is not None:
            ready = {
                "site": agent.identity.value.site_name,
                "agent_id": agent.identity.value.agent_id,
            }
            await asyncio.to_thread(write_private, ready_file, json.dumps(ready).encode())
        await stopped
        connected.cancel()
        log.info("agent.stopping")


@asynccontextmanager
async def _journal(settings: AgentSettings) -> AsyncIterator[Journal]:
    """Open the journal of an agent that may be running; NotFound where there is none."""
    if not settings.journal_path.exists():
        raise NotFound(f"there is no agent in {settings.state}: give --state")
    async with _open_journal(settings, SystemClock()) as journal:
        yield journal


async def describe(settings: AgentSettings) -> list[str]:
    """Return what this site runs for the hub, a line per resource."""
    async with _journal(settings) as journal:
        lines = []
        for status in await journal.statuses.all():
            phase = status_pb2.Phase.Name(status.phase).removeprefix("PHASE_").capitalize()
            why = f" {status.reason}: {status.message}" if status.reason else ""
            lines.append(
                f"{status.resource_id}  generation {status.observed_generation}  {phase}{why}"
            )
        position = await journal.spool.position()
        return [*lines, f"{position.depth} event(s) wait for the hub"]


async def list_approvals(settings: AgentSettings) -> list[str]:
    """Return what waits for a person, a line each."""
    async with _journal(settings) as journal:
        waiting = [item for item in await journal.approvals.all() if item.approved_at is None]
        return [
            f"{item.approval_id}  {item.kind}  {item.summary}  asked {item.asked_at:%F %T} UTC"
            for item in waiting
        ] or ["nothing waits for you"]


async def approve(settings: AgentSettings, approval_id: str, *, by: str) -> str:
    """Note a person's consent; say so when somebody gave it before."""
    now = SystemClock().now()
    async with _journal(settings) as journal:
        item = await journal.approvals.approve(approval_id, by=by, at=now)
        if item.approved_at in {now, None}:
            return f"approved: {item.summary}"
        when = f"{item.approved_at:%F %T} UTC"
        return f"approved already by {item.approved_by} on {when}: {item.summary}"


async def retry(settings: AgentSettings, resource_id: str) -> str:
    """Ask the running agent to try a resource again at once."""
    async with _journal(settings) as journal:
        if await journal.documents.get(resource_id) is None:
            raise NotFound(f"there is no resource {resource_id}; `fedagent status` lists them")
        await journal.states.retry(resource_id, SystemClock().now())
        return f"{resource_id} will be tried again"
