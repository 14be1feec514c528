"""The driver on a simulated site, with a KubeFATE that lives in what the driver installs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.bare import HOME, BareSite, bare_site, chart_archive, wait_service
from tests.support.patience import patient, until

from fedagent.kube import objects
from fedagent.kube.kinds import CLUSTERROLES, DEPLOYMENTS, NAMESPACES, PVCS, SECRETS, SERVICES
from fedagent.kube.ownership import Owner, OwnerRole
from fedagent.kubefate import errors
from fedagent.kubefate.access import Access, AccessMode, AccessSettings
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.failures import Failure, failure_of
from fedagent.kubefate.jobs import (
    Outcome,
    follow,
    prepare_values,
    submit_delete,
    submit_install,
    submit_update,
)
from fedagent.kubefate.manifests import ServicePlan
from fedagent.kubefate.records import Cluster, ClusterArgs, ClusterStatus, Job, JobStatus
from fedagent.kubefate.releases import Release, read_releases
from fedagent.kubefate.service import (
    NotOurs,
    install_service,
    is_version_enough,
    observe_service,
    uninstall_service,
)
from fedsim.kubefate import Settings, SimulatedKubeFATE

PLACE = "fate-exchange"
OWNER = Owner("hub-1", "endpoint-1", OwnerRole.ENDPOINT)
PLAN = ServicePlan(HOME, "federatedai/kubefate:v1.4.5", "mariadb:10")


@dataclass(frozen=True)
class Seen:
    """What the service and Helm know of the one cluster."""

    record: Cluster | None
    releases: tuple[Release, ...]

    @property
    def cluster(self) -> Cluster:
        assert self.record is not None
        return self.record


@dataclass
class Site(BareSite):
    """A simulated site and the driver's means on it."""

    async def install(self) -> KubeFate:
        await install_service(self.kube, PLAN, OWNER)
        assert await wait_service(self.kube, HOME)
        await self.until_ready()
        return await self.access.client(HOME)

    async def until_ready(self) -> None:
        async def is_ready() -> bool:
            return (await observe_service(self.kube, self.access, HOME)).is_ready

        await until(is_ready)

    async def prepare(self, client: KubeFate) -> None:
        """What a participant needs before its installation."""
        archive = chart_archive("fate-exchange", "v1.8.0")
        await client.upload_chart("fate-exchange-v1.8.0.tgz", archive)
        await objects.apply(self.kube, NAMESPACES, {"metadata": {"name": PLACE}})
        secret = {"metadata": {"name": "traffic-server-cert"}, "stringData": {"a": "b"}}
        await objects.apply(self.kube, SECRETS, secret, namespace=PLACE)

    async def see(self, client: KubeFate) -> Seen:
        rows = [row for row in await client.clusters() if row.name == PLACE]
        return Seen(rows[-1] if rows else None, await read_releases(self.kube, PLACE, PLACE))

    async def drop_releases(self) -> None:
        for release in await read_releases(self.kube, PLACE, PLACE):
            await objects.delete(self.kube, SECRETS, release.secret_name, namespace=PLACE)

    async def finish(self, client: KubeFate, job: Job | None) -> Job:
        assert job is not None

        async def ended_job() -> Job | None:
            latest = await client.job(job.uuid)
            return latest if latest.is_over else None

        return await until(ended_job)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with bare_site(tmp_path, time_scale=0.02, data_plane=False) as bare:
        yield Site(bare.kube, bare.access, bare.simulated, bare.service)


def args(revision: str = "1.1", *, cover: bool = False, **values: Any) -> ClusterArgs:
    spec = {
        "name": PLACE,
        "namespace": PLACE,
        "chartName": "fate-exchange",
        "chartVersion": "v1.8.0",
        "partyId": 1,
        "registry": "",
        "pullPolicy": "IfNotPresent",
        "modules": ["trafficServer", "nginx"],
        "trafficServer": {
            "type": "NodePort",
            "route_table": {"sni": [{"fqdn": "none.example.com", "tunnelRoute": "192.0.2.1:443"}]},
        },
        "nginx": {"type": "NodePort", "route_table": {}},
    }
    data = prepare_values(
        json.dumps(spec | values), owner="hub-1/p-1", revision=revision, digest="d"
    )
    return ClusterArgs(PLACE, PLACE, "fate-exchange", "v1.8.0", data, cover=cover)


async def test_nothing_is_installed_at_first(site: Site) -> None:
    seen = await observe_service(site.kube, site.access, HOME)
    assert not seen.is_installed
    assert HOME in seen.message


async def test_the_service_is_installed_found_and_removed_to_nothing(site: Site) -> None:
    await site.install()
    seen = await observe_service(site.kube, site.access, HOME)
    assert seen.is_ready
    assert seen.version == "v1.4.5"
    assert seen.owner == OWNER
    assert seen.is_database_ready
    assert seen.started_at is not None
    secret = await objects.get(site.kube, SECRETS, "kubefate-secret", namespace=HOME)
    assert await uninstall_service(site.kube, site.access, HOME, OWNER, limit_s=patient()) == ()
    assert await objects.find(site.kube, NAMESPACES, HOME) is None
    assert await objects.find(site.kube, CLUSTERROLES, "kubefate-kube-fate") is None
    assert await uninstall_service(site.kube, site.access, HOME, OWNER, limit_s=patient()) == ()
    await site.install()
    renewed = await objects.get(site.kube, SECRETS, "kubefate-secret", namespace=HOME)
    assert renewed["data"]["kubefatePassword"] != secret["data"]["kubefatePassword"]


async def test_installing_again_keeps_the_passwords_and_the_claim(site: Site) -> None:
    await site.install()
    before = await objects.get(site.kube, SECRETS, "kubefate-secret", namespace=HOME)
    claim = await objects.get(site.kube, PVCS, "mariadb-data", namespace=HOME)
    await install_service(site.kube, PLAN, OWNER)
    after = await objects.get(site.kube, SECRETS, "kubefate-secret", namespace=HOME)
    assert before["data"] == after["data"]
    again = await objects.get(site.kube, PVCS, "mariadb-data", namespace=HOME)
    assert claim["metadata"]["uid"] == again["metadata"]["uid"]


async def test_a_removal_that_keeps_volumes_keeps_the_password_of_the_database(
    site: Site,
) -> None:
    await site.install()
    left = await uninstall_service(
        site.kube, site.access, HOME, OWNER, delete_volumes=False, limit_s=patient()
    )
    assert left == ()
    assert await objects.exists(site.kube, PVCS, "mariadb-data", namespace=HOME)
    assert await objects.exists(site.kube, SECRETS, "kubefate-secret", namespace=HOME)
    await site.install()


async def test_what_belongs_to_others_is_not_touched(site: Site) -> None:
    theirs = Owner("hub-2", "endpoint-2", OwnerRole.ENDPOINT)
    await install_service(site.kube, PLAN, theirs)
    with pytest.raises(NotOurs, match="hub-2") as caught:
        await install_service(site.kube, PLAN, OWNER)
    assert caught.value.owner == theirs
    assert await uninstall_service(site.kube, site.access, HOME, OWNER, limit_s=patient()) == ()
    assert await objects.exists(site.kube, DEPLOYMENTS, "kubefate", namespace=HOME)


async def test_what_an_installation_lacks_is_named_while_it_does_not_answer(site: Site) -> None:
    await site.install()
    assert (await observe_service(site.kube, site.access, HOME)).missing == ()
    await objects.delete(site.kube, DEPLOYMENTS, "mariadb", namespace=HOME)
    scale = {"spec": {"replicas": 0}}
    await objects.patch(site.kube, DEPLOYMENTS, "kubefate", scale, namespace=HOME)

    async def missing() -> tuple[str, ...]:
        return (await observe_service(site.kube, site.access, HOME)).missing

    assert await until(missing) == ("Deployment/mariadb",)
    site.simulated.faults.set("forbidden", "get/secrets")
    assert (await observe_service(site.kube, site.access, HOME)).missing == ()


async def test_a_service_that_nobody_we_know_installed_is_adopted_and_kept(site: Site) -> None:
    await install_service(site.kube, PLAN, OWNER)
    for kind, name in ((DEPLOYMENTS, "kubefate"), (SERVICES, "kubefate")):
        labels = {"fate-lifecycle-manager.io/hub": None}
        await objects.patch(site.kube, kind, name, {"metadata": {"labels": labels}}, namespace=HOME)
    await site.until_ready()
    seen = await observe_service(site.kube, site.access, HOME)
    assert seen.owner is None
    with pytest.raises(NotOurs, match="nobody we know"):
        await install_service(site.kube, PLAN, OWNER)


async def test_a_namespace_with_other_things_in_it_stays_and_is_reported(site: Site) -> None:
    await site.install()
    body = {"metadata": {"name": "precious"}, "stringData": {"a": "b"}}
    await objects.create(site.kube, SECRETS, body, namespace=HOME)
    left = await uninstall_service(site.kube, site.access, HOME, OWNER, limit_s=patient())
    assert left == ("Namespace kube-fate holds Secret precious",)
    assert await objects.exists(site.kube, SECRETS, "precious", namespace=HOME)


async def test_changed_credentials_are_read_again(site: Site) -> None:
    await site.install()
    change = {"stringData": {"kubefatePassword": "changed"}}
    await objects.patch(site.kube, SECRETS, "kubefate-secret", change, namespace=HOME)
    note = {"spec": {"template": {"metadata": {"annotations": {"restarted": "1"}}}}}
    await objects.patch(site.kube, DEPLOYMENTS, "kubefate", note, namespace=HOME)
    await site.until_ready()


async def test_a_cluster_is_installed_updated_and_deleted(site: Site) -> None:
    client = await site.install()
    await site.prepare(client)
    submission = await submit_install(client, args())
    assert submission.outcome is Outcome.STARTED
    job = await site.finish(client, submission.job)
    assert job.status is JobStatus.SUCCESS
    assert {sub.name for sub in job.sub_jobs} == {"nginx", "traffic-server"}
    seen = await site.see(client)
    assert seen.cluster.status is ClusterStatus.RUNNING
    assert seen.cluster.owner == "hub-1/p-1"
    assert seen.cluster.lcm_revision == "1.1"
    assert [(one.revision, one.status) for one in seen.releases] == [(1, "deployed")]
    assert client.logins == 1

    updated = await submit_update(client, args("2.1"))
    assert (await site.finish(client, updated.job)).status is JobStatus.SUCCESS
    seen = await site.see(client)
    assert [release.revision for release in seen.releases] == [1, 2]
    assert seen.cluster.lcm_revision == "2.1"

    deleted = await submit_delete(client, seen.cluster)
    assert (await site.finish(client, deleted.job)).status is JobStatus.SUCCESS
    seen = await site.see(client)
    assert (seen.record, seen.releases) == (None, ())


async def test_a_lost_answer_begins_nothing_twice(site: Site) -> None:
    client = await site.install()
    await site.prepare(client)
    site.service.faults.set("reply-lost", "1")
    submission = await submit_install(client, args())
    assert submission.outcome is Outcome.STARTED
    await site.finish(client, submission.job)
    site.service.faults.set("reply-lost", "1")
    updated = await submit_update(client, args("2.1"))
    await site.finish(client, updated.job)
    seen = await site.see(client)
    site.service.faults.set("reply-lost", "1")
    deleted = await submit_delete(client, seen.cluster)
    await site.finish(client, deleted.job)
    assert len(await client.jobs()) == 3


async def test_a_job_cut_by_a_restart_stays_open_and_is_mended_by_another(site: Site) -> None:
    client = await site.install()
    await site.prepare(client)
    site.service.faults.set("job-hang", "*")
    submission = await submit_install(client, args())
    assert submission.job is not None
    site.service.restart()
    site.service.faults.clear("job-hang")
    job = await client.job(submission.job.uuid)
    assert not job.is_over
    assert client.restart_seen_at is not None
    await client.delete_job(job.uuid)
    await site.drop_releases()
    await site.finish(client, (await submit_delete(client, (await site.see(client)).cluster)).job)
    again = await submit_install(client, args("1.2", cover=True))
    assert (await site.finish(client, again.job)).status is JobStatus.SUCCESS


async def test_a_lost_database_knows_no_job_and_is_mended_by_cover(site: Site) -> None:
    client = await site.install()
    await site.prepare(client)
    submission = await submit_install(client, args())
    job = await site.finish(client, submission.job)
    site.service.lose_database()
    await site.until_ready()
    assert await follow(client, job.uuid) is None
    seen = await site.see(client)
    assert (seen.record, len(seen.releases)) == (None, 1)
    await site.prepare(client)
    refused = await submit_install(client, args("1.2"))
    assert failure_of(await site.finish(client, refused.job)) is Failure.NAME_IN_USE
    mended = await submit_install(client, args("1.3", cover=True))
    assert (await site.finish(client, mended.job)).status is JobStatus.SUCCESS


async def test_a_rollback_is_seen_and_a_new_revision_mends_it(site: Site) -> None:
    client = await site.install()
    await site.prepare(client)
    await site.finish(client, (await submit_install(client, args())).job)
    site.service.faults.set("upgrade-fails", "*")
    failed = await site.finish(client, (await submit_update(client, args("2.1"))).job)
    site.service.faults.clear("upgrade-fails")
    assert failed.status in {JobStatus.ROLLBACK, JobStatus.FAILED}
    seen = await site.see(client)
    assert seen.cluster.status is ClusterStatus.ROLLBACK
    mended = await site.finish(client, (await submit_update(client, args("2.2"))).job)
    assert mended.status is JobStatus.SUCCESS
    assert (await site.see(client)).cluster.status is ClusterStatus.RUNNING


async def test_a_deletion_that_leaves_the_release_is_seen(site: Site) -> None:
    client = await site.install()
    await site.prepare(client)
    await site.finish(client, (await submit_install(client, args())).job)
    site.service.faults.set("uninstall-fails", "*")
    seen = await site.see(client)
    await site.finish(client, (await submit_delete(client, seen.cluster)).job)
    seen = await site.see(client)
    assert (seen.record, len(seen.releases)) == (None, 1)
    await site.drop_releases()
    again = await submit_install(client, args("1.2", cover=True))
    assert (await site.finish(client, again.job)).status is JobStatus.SUCCESS


async def test_a_missing_namespace_is_a_named_failure(site: Site) -> None:
    client = await site.install()
    submission = await submit_install(client, args())
    job = await site.finish(client, submission.job)
    assert failure_of(job) in {Failure.NAMESPACE_MISSING, Failure.CHART_MISSING}


async def test_passing_errors_of_the_service_have_no_lasting_effect(site: Site) -> None:
    client = await site.install()
    site.service.faults.set("ingress-html", "1")
    with pytest.raises(errors.Unavailable):
        await client.version()
    site.service.faults.set("refuse-token", "1")
    assert await client.version() == "v1.4.5"


async def test_a_service_elsewhere_is_reached_by_url_and_credentials_file(
    site: Site, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    credentials = tmp_path / "credentials.toml"
    credentials.write_text('username = "admin"\npassword = "admin"\n')
    credentials.chmod(0o600)
    async with SimulatedKubeFATE(Settings(kubeconfig)) as elsewhere:
        settings = AccessSettings(AccessMode.URL, elsewhere.url, credentials)
        access = Access(site.kube, settings)
        seen = await observe_service(site.kube, access, HOME)
        assert (seen.is_ready, seen.access) == (True, AccessMode.URL)
        await access.close()


@pytest.mark.parametrize(
    ("version", "minimum", "expected"),
    [
        ("v1.4.5", "v1.4.4", True),
        ("v1.4.4", "v1.4.4", True),
        ("v1.4.3", "v1.4.4", False),
        ("v1.10.0", "v1.4.4", True),
        ("", "v1.4.4", False),
        ("latest", "v1.4.4", False),
        ("latest", "", True),
    ],
)
def test_versions_are_compared_by_number(version: str, minimum: str, *, expected: bool) -> None:
    assert is_version_enough(version, minimum) is expected
