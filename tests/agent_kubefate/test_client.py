from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from fedagent.kubefate import client as client_module
from fedagent.kubefate import errors
from fedagent.kubefate.client import Credentials, KubeFate
from fedagent.kubefate.records import ClusterArgs
from fedagent.kubefate.timing import KubeFateTiming

VERSION = {"msg": "getVersion Success", "version": "v1.4.5"}
ARGS = ClusterArgs("fate-1", "fate-1", "fate", "v1.8.0", b'{"name":"fate-1"}')
JOB = {"uuid": "j1", "status": "Pending", "method": "ClusterInstall", "states": None}


async def test_one_login_serves_many_calls(fake: Any, client: KubeFate, fake_reply: Any) -> None:
    fake.answer("GET /v1/version/", fake_reply(VERSION))
    assert [await client.version() for _ in range(3)] == ["v1.4.5"] * 3
    assert (client.logins, client.requests) == (1, 4)
    assert fake.requests[1].headers["Authorization"] == "Bearer token-1"


async def test_calls_side_by_side_log_in_once(fake: Any, client: KubeFate, fake_reply: Any) -> None:
    fake.answer("GET /v1/version/", fake_reply(VERSION))
    await asyncio.gather(*(client.version() for _ in range(5)))
    assert client.logins == 1


async def test_a_refused_token_is_replaced_and_the_call_repeated(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    refused = fake_reply({"code": 401, "message": "signature is invalid"}, 401)
    fake.answer("GET /v1/version/", fake_reply(VERSION), refused, fake_reply(VERSION))
    await client.version()
    assert client.restart_seen_at is None
    assert await client.version() == "v1.4.5"
    assert client.logins == 2
    assert client.restart_seen_at is not None


async def test_a_token_is_renewed_before_it_ends(
    fake: Any, client: KubeFate, clock: Any, fake_reply: Any
) -> None:
    fake.answer("GET /v1/version/", fake_reply(VERSION))
    await client.version()
    clock.seconds = 26 * 60
    await client.version()
    assert client.logins == 2
    assert client.restart_seen_at is None


async def test_a_wrong_password_is_no_endless_loop(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    words = {"code": 401, "message": "incorrect Username or Password"}
    fake.answer("POST /v1/user/login", fake_reply(words, 401))
    with pytest.raises(errors.Unauthorized, match="incorrect Username"):
        await client.version()
    assert client.requests == 1


async def test_a_token_refused_twice_is_reported(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("GET /v1/version/", fake_reply({"code": 401, "message": "no"}, 401))
    with pytest.raises(errors.Unauthorized):
        await client.version()
    assert client.logins == 2


@pytest.mark.parametrize(
    ("status", "sentence", "expected"),
    [
        (500, "record not found", errors.RecordNotFound),
        (500, "name=a & namespace=b Cluster already existed", errors.AlreadyExists),
        (500, "name=a Cluster is not existed", errors.RecordNotFound),
        (500, "the configuration file did not change", errors.Unchanged),
        (
            500,
            "another operation (install/upgrade/rollback) is in progress",
            errors.AnotherOperation,
        ),
        (500, "using kubefate to downgrade a cluster is not supported yet", errors.Refused),
        (400, "illegal base64 data at input byte 3", errors.Refused),
    ],
)
async def test_sentences_become_typed_errors(
    fake: Any, client: KubeFate, status: int, sentence: str, expected: Any
) -> None:
    fake.answer("POST /v1/cluster", lambda: web.json_response({"error": sentence}, status=status))
    with pytest.raises(expected) as caught:
        await client.install(ARGS)
    assert caught.value.message == sentence
    assert caught.value.status == status


async def test_an_empty_500_and_a_web_page_are_passing_troubles(
    fake: Any, client: KubeFate, fake_text: Any
) -> None:
    fake.answer("PUT /v1/cluster", fake_text("", 500), fake_text("<html>503</html>", 503))
    with pytest.raises(errors.Unavailable, match="nothing else"):
        await client.update(ARGS)
    with pytest.raises(errors.Unavailable, match="no KubeFATE answers"):
        await client.update(ARGS)


async def test_an_answer_of_200_that_is_no_json_is_a_passing_trouble(
    fake: Any, client: KubeFate, fake_text: Any
) -> None:
    fake.answer("GET /v1/version/", fake_text("<html>login</html>", 200))
    with pytest.raises(errors.Unavailable, match="no JSON"):
        await client.version()


async def test_redirects_are_not_followed(fake: Any, client: KubeFate, fake_text: Any) -> None:
    fake.answer("GET /v1/version/", fake_text("<a href=/elsewhere>", 301))
    with pytest.raises(errors.Unavailable):
        await client.version()
    assert fake.count("GET /v1/version/") == 1


async def test_an_update_whose_answer_is_lost_is_sent_once(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("GET /v1/version/", fake_reply(VERSION))
    fake.answer("PUT /v1/cluster", "break")
    fake.answer("DELETE /v1/cluster/c1", "break")
    await client.version()
    with pytest.raises(errors.Unavailable):
        await client.update(ARGS)
    with pytest.raises(errors.Unavailable):
        await client.delete("c1")
    assert fake.count("PUT /v1/cluster") == 1
    assert fake.count("DELETE /v1/cluster/c1") == 1


async def test_silence_ends_with_the_time_limit(fake: Any, clock: Any) -> None:
    fake.answer("POST /v1/user/login", "hang")
    async with KubeFate(
        fake.url, Credentials("a", "b"), clock=clock, timing=KubeFateTiming(call_limit_s=0.05)
    ) as client:
        with pytest.raises(errors.Unavailable, match="no answer within"):
            await client.version()


async def test_a_refused_connection_is_a_passing_trouble() -> None:
    async with KubeFate("http://127.0.0.1:1", Credentials("a", "b")) as client:
        with pytest.raises(errors.Unavailable):
            await client.version()


async def test_an_endless_answer_is_cut(fake: Any, client: KubeFate, fake_reply: Any) -> None:
    fake.answer("GET /v1/cluster/", fake_reply({"data": ["x" * client_module.MAX_ANSWER_BYTES]}))
    with pytest.raises(errors.TooLarge):
        await client.clusters()


async def test_a_chart_is_uploaded_as_the_field_file(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("POST /v1/chart", fake_reply({"data": {"helmUUID": "u1"}, "msg": "ok"}))
    assert await client.upload_chart("fate-v1.8.0.tgz", b"\x1f\x8bdata") == "u1"
    assert fake.requests[-1].content_type == "multipart/form-data"
    assert b'name="file"' in fake.bodies[-1]
    assert b"\x1f\x8bdata" in fake.bodies[-1]


async def test_the_configuration_travels_as_base64(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("POST /v1/cluster", fake_reply({"data": JOB, "msg": "ok"}))
    job = await client.install(ARGS)
    assert job.uuid == "j1"
    sent = json.loads(fake.bodies[-1])
    assert sent["data"] == "eyJuYW1lIjoiZmF0ZS0xIn0="
    assert sent["cover"] is False


async def test_the_host_header_can_be_set(fake: Any, clock: Any, fake_reply: Any) -> None:
    fake.answer("GET /v1/version/", fake_reply(VERSION))
    credentials = Credentials("a", "b")
    async with KubeFate(fake.url, credentials, host="kubefate.example", clock=clock) as client:
        await client.version()
    assert fake.requests[-1].headers["Host"] == "kubefate.example"


async def test_an_answer_without_what_was_asked_for_is_named(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("GET /v1/version/", fake_reply({"msg": "?"}))
    fake.answer("POST /v1/chart", fake_reply({"data": {}}))
    fake.answer("GET /v1/job/j1", fake_reply({"data": None}))
    with pytest.raises(errors.WrongAnswer):
        await client.version()
    with pytest.raises(errors.WrongAnswer):
        await client.upload_chart("a.tgz", b"")
    with pytest.raises(errors.WrongAnswer):
        await client.job("j1")


async def test_rows_that_are_no_records_are_passed_over(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("GET /v1/job/", fake_reply({"data": [None, 3, {}, {"uuid": 4}, JOB]}))
    assert [job.uuid for job in await client.jobs()] == ["j1"]
    fake.answer("GET /v1/cluster/", fake_reply({"data": None}))
    assert await client.clusters() == ()


def test_a_password_is_in_no_representation() -> None:
    assert "hush" not in repr(Credentials("admin", "hush"))
