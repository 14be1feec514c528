from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import aiohttp
import pytest
from tests.support.patience import time_limit

from fedsim.kube import Delays, SimulatedKube

MAPS = "/api/v1/namespaces/default/configmaps"


@contextlib.asynccontextmanager
async def watching(client, path=MAPS, **query):
    url = client.kube.url + path
    params = {"watch": "true", **query}
    async with client.session.get(url, params=params) as answer:

        async def following():
            async with time_limit():
                line = await answer.content.readline()
            return json.loads(line) if line else None

        yield following


async def version(client) -> str:
    return (await client.get(MAPS))["metadata"]["resourceVersion"]


def config(name, app="x", **data):
    return {"metadata": {"name": name, "labels": {"app": app}}, "data": data}


async def test_a_watch_tells_each_change_from_a_version_on(client) -> None:
    start = await version(client)
    await client.create(MAPS, config("a"))
    async with watching(client, resourceVersion=start) as following:
        added = await following()
        await client.call("PUT", f"{MAPS}/a", {"kind": "ConfigMap", **config("a", k="v")})
        await client.call("DELETE", f"{MAPS}/a")
        changes = [added, await following(), await following()]
    assert [change["type"] for change in changes] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(change["object"]["metadata"]["resourceVersion"]) for change in changes]
    assert versions == sorted(set(versions))
    async with watching(client, resourceVersion=str(versions[0])) as following:
        assert (await following())["type"] == "MODIFIED"


async def test_a_watch_without_a_version_begins_with_what_is_there(client) -> None:
    await client.create(MAPS, config("a"))
    async with watching(client, labelSelector="app=x") as following:
        change = await following()
    assert (change["type"], change["object"]["metadata"]["name"]) == ("ADDED", "a")


async def test_an_object_that_no_longer_matches_is_deleted_to_the_watch(client) -> None:
    await client.create(MAPS, config("a"))
    start = await version(client)
    async with watching(client, labelSelector="app=x", resourceVersion=start) as following:
        moved = {"kind": "ConfigMap", **config("a", app="y")}
        await client.call("PUT", f"{MAPS}/a", moved)
        await client.call("PUT", f"{MAPS}/a", {"kind": "ConfigMap", **config("a")})
        assert (await following())["type"] == "DELETED"
        assert (await following())["type"] == "ADDED"


async def test_a_watch_ends_when_its_time_is_up(client) -> None:
    start = await version(client)
    query = {"resourceVersion": start, "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    async with watching(client, **query) as following:
        bookmark = await following()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["kind"] == "ConfigMap"
        assert await following() is None


async def test_too_old_a_version_is_gone(client) -> None:
    start = await version(client)
    await client.create(MAPS, config("a"))
    client.kube.store.compact()
    async with watching(client, resourceVersion=start) as following:
        change = await following()
    assert change["type"] == "ERROR"
    assert (change["object"]["code"], change["object"]["reason"]) == (410, "Expired")


async def test_a_running_watch_outlives_a_compaction(client) -> None:
    start = await version(client)
    async with watching(client, resourceVersion=start) as following:
        await client.create(MAPS, config("a"))
        assert (await following())["type"] == "ADDED"
        client.kube.store.compact()
        await client.create(MAPS, config("b"))
        assert (await following())["object"]["metadata"]["name"] == "b"


async def test_a_version_of_the_future_is_refused(client) -> None:
    answer = await client.call("GET", MAPS, watch="true", resourceVersion="99999999")
    assert (answer.status, answer.body["reason"]) == (504, "Timeout")


async def test_a_version_that_is_no_number_is_refused(client) -> None:
    answer = await client.call("GET", MAPS, watch="true", resourceVersion="abc")
    assert answer.status == 400


async def test_watch_faults_strike(client) -> None:
    start = await version(client)
    client.kube.faults.set("watch-gone", "1")
    async with watching(client, resourceVersion=start) as following:
        assert (await following())["object"]["code"] == 410
    client.kube.faults.set("watch-cut", "0.05")
    with pytest.raises(aiohttp.ClientPayloadError):
        async with watching(client, resourceVersion=start) as following:
            await following()
    client.kube.faults.clear("watch-cut")
    client.kube.faults.set("watch-silent")
    query = {"resourceVersion": start, "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    async with watching(client, **query) as following:
        await client.create(MAPS, config("a"))
        assert await following() is None


async def test_bookmarks_come_while_nothing_happens(settings, connect, client_of) -> None:
    quick = replace(settings, delays=replace(Delays.none(), bookmark_s=0.05))
    async with SimulatedKube(quick) as kube, connect(kube) as session:
        client = client_of(kube, session)
        start = await version(client)
        query = {"resourceVersion": start, "allowWatchBookmarks": "true"}
        async with watching(client, **query) as following:
            assert (await following())["type"] == "BOOKMARK"
