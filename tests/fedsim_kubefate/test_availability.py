from __future__ import annotations

import base64

import pytest
from tests.contract.kubefate.client import exchange_spec

from fedsim.kubefate import SecretName

WORD = "secret"
SECRET = SecretName("kube-fate", "kubefate-secret")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def install(api, *, claim=False, password=WORD):
    api.add_namespace("kube-fate")
    data = {"kubefateUsername": encoded("agent"), "kubefatePassword": encoded(password)}
    api.add("secrets", "kube-fate", "kubefate-secret", data=data)
    volume = {"persistentVolumeClaim": {"claimName": "mariadb"}} if claim else {"emptyDir": {}}
    for name in ("mariadb", "kubefate"):
        labels = {"fate": name}
        pod = {"containers": [], "volumes": [{"name": "data", **volume}]}
        spec = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        api.add("deployments", "kube-fate", name, spec=spec)
    if claim:
        api.add("persistentvolumeclaims", "kube-fate", "mariadb")


@pytest.fixture
async def bench(start):
    return await start(login=False, credentials_secret=SECRET)


async def sign_in(bench, password=WORD):
    await bench.until(lambda: bench.service.is_up)
    answer = await bench.client.login("agent", password)
    assert answer.status == 200, answer.text


async def test_nothing_answers_before_the_service_is_installed(bench):
    answer = await bench.client.call("GET", "/")
    assert answer.status == 503
    bench.api.stuck.add("kubefate")
    install(bench.api)
    assert (await bench.client.call("GET", "/")).status == 503


async def test_it_lives_while_its_deployment_is_available_with_the_secrets_credentials(bench):
    install(bench.api)
    await sign_in(bench)
    bench.api.set_available("kube-fate", "kubefate", is_available=False)
    await bench.until(lambda: not bench.service.is_up)
    assert (await bench.client.call("GET", "/v1/version/")).status == 503


async def test_a_new_pod_is_a_new_process_with_the_secret_read_anew(bench):
    install(bench.api)
    await sign_in(bench)
    token = bench.client.token
    data = {"kubefateUsername": encoded("agent"), "kubefatePassword": encoded("changed")}
    bench.api.get("secrets", "kube-fate", "kubefate-secret")["data"] = data
    assert (await bench.client.call("GET", "/v1/version/")).status == 200
    bench.api.replace_pod("kube-fate", "kubefate")
    await _until_refused(bench, token)
    await sign_in(bench, "changed")


async def _until_refused(bench, token):
    for _ in range(2000):
        if (await bench.client.call("GET", "/v1/version/", token=token)).status == 401:
            return
    raise AssertionError("the token lives on")


@pytest.mark.parametrize("claim", [True, False])
async def test_a_new_pod_of_the_database_loses_the_records_unless_they_lie_on_a_claim(bench, claim):
    install(bench.api, claim=claim)
    await sign_in(bench)
    await bench.client.finish("POST", exchange_spec("site", {}))
    seen = bench.clock.now()
    bench.api.replace_pod("kube-fate", "mariadb")
    await bench.until(lambda: (bench.clock.now() - seen).total_seconds() > 5)
    assert len(await bench.client.clusters()) == int(claim)


async def test_a_secret_without_credentials_keeps_it_down(bench):
    install(bench.api)
    bench.api.get("secrets", "kube-fate", "kubefate-secret")["data"] = {}
    seen = bench.clock.now()
    await bench.until(lambda: (bench.clock.now() - seen).total_seconds() > 5)
    assert not bench.service.is_up


@pytest.mark.parametrize("text", ["", "name", "a/b/c", "/name", "namespace/"])
def test_a_secret_is_named_by_namespace_and_name(text):
    with pytest.raises(ValueError, match="NAMESPACE/NAME"):
        SecretName.parse(text)
