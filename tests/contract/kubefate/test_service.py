"""Logins, routes, records that are not there, bodies that do not fit."""

from __future__ import annotations

import base64
import json

import aiohttp
import pytest
from tests.contract.kubefate.client import cluster_args, exchange_spec

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOBODY = "00000000-0000-0000-0000-000000000000"


async def test_the_root_is_open(site):
    answer = await site.client.call("GET", "/", token="")
    assert (answer.status, answer.text) == (200, '{"msg":"kubefate run Success"}')
    answer = await site.client.call("GET", "/v1/", token="")
    assert (answer.status, answer.error) == (400, "error path")


async def test_the_version_needs_a_token(site):
    answer = await site.client.call("GET", "/v1/version/")
    assert answer.json == {"msg": "getVersion Success", "version": "v1.4.5"}
    refused = await site.client.call("GET", "/v1/version/", token="")
    assert refused.status == 401
    assert refused.json == {"code": 401, "message": "cookie token is empty"}
    assert refused.headers["WWW-Authenticate"] == "JWT realm=gin jwt"


async def test_a_token_is_a_jwt_for_half_an_hour(site):
    answer = await site.client.login(site.username, site.password)
    assert set(answer.json) == {"code", "expire", "token"}
    claims = answer.json["token"].split(".")[1]
    read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert set(read) == {"exp", "id", "orig_iat"}
    assert read["exp"] - read["orig_iat"] == 1800
    assert read["id"] == site.username


async def test_a_token_in_the_query_is_taken(site):
    answer = await site.client.call("GET", f"/v1/version/?token={site.client.token}", token="")
    assert answer.status == 200


@pytest.mark.parametrize("username", ["admin", "nobody"])
async def test_a_wrong_password_and_an_unknown_user_are_refused_alike(site, username):
    body = {"username": username, "password": "wrong"}
    answer = await site.client.call("POST", "/v1/user/login", body=body, token="")
    assert answer.status == 401
    assert answer.json == {"code": 401, "message": "incorrect Username or Password"}


async def test_a_login_that_is_no_json_is_refused(site):
    answer = await site.client.call("POST", "/v1/user/login", raw=b"name=x", token="")
    assert answer.json == {"code": 401, "message": "missing Username or Password"}


async def test_a_changed_token_is_refused(site):
    head, body, _ = site.client.token.split(".")
    answer = await site.client.call("GET", "/v1/version/", token=f"{head}.{body}.{'a' * 43}")
    assert answer.status == 401
    assert answer.json["message"] == "signature is invalid"


async def test_logout_does_nothing(site):
    answer = await site.client.call("POST", "/v1/user/logout", token="")
    assert answer.json == {"code": 200}
    assert (await site.client.call("GET", "/v1/version/")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "target"),
    [
        ("GET", "/v1/cluster", 301, "/v1/cluster/"),
        ("GET", "/v1/job", 301, "/v1/job/"),
        ("GET", "/v1/cluster?all=true", 301, "/v1/cluster/?all=true"),
        ("GET", f"/v1/job/{NOBODY}/", 301, f"/v1/job/{NOBODY}"),
        ("POST", "/v1/cluster/", 307, "/v1/cluster"),
        ("PUT", "/v1/cluster/", 307, "/v1/cluster"),
        ("POST", "/v1/chart/", 307, "/v1/chart"),
    ],
)
async def test_a_wrong_last_slash_is_redirected_before_the_token_is_looked_at(
    site, method, path, status, target
):
    answer = await site.client.call(method, path, token="")
    assert answer.status == status
    assert answer.headers["Location"] == target


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("PATCH", "/v1/cluster"), ("DELETE", "/v1/cluster/"), ("GET", "/x")],
)
async def test_an_unknown_route_is_plain_text(site, method, path):
    answer = await site.client.call(method, path)
    assert (answer.status, answer.text) == (404, "404 page not found")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/cluster/{NOBODY}"),
        ("DELETE", f"/v1/cluster/{NOBODY}"),
        ("GET", f"/v1/job/{NOBODY}"),
        ("DELETE", f"/v1/job/{NOBODY}"),
        ("GET", f"/v1/chart/{NOBODY}"),
    ],
)
async def test_a_record_that_is_not_there_is_an_error_500(site, method, path):
    answer = await site.client.call(method, path)
    assert (answer.status, answer.error) == (500, "record not found")


async def test_stopping_no_job_names_the_job_id(site):
    answer = await site.client.call("PUT", f"/v1/job/{NOBODY}?jobStatus=stop")
    expected = "get job by jobID error, please check job ID, record not found"
    assert (answer.status, answer.error) == (500, expected)
    answer = await site.client.call("PUT", f"/v1/job/{NOBODY}?jobStatus=kill")
    assert (answer.status, answer.error) == (400, "jobStatus error")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "EOF"),
        (b'{"name": 3}', "json: cannot unmarshal number into Go struct field"),
        (b'{"data": {"a": 1}}', "json: cannot unmarshal object into Go struct field"),
        (b'{"data": "%%%"}', "illegal base64 data at input byte 0"),
        (b'{"name": "x"', "unexpected EOF"),
        (b"name", "invalid character"),
    ],
)
async def test_a_body_that_does_not_fit_is_an_error_400(site, raw, error):
    answer = await site.client.call("POST", "/v1/cluster", raw=raw)
    assert answer.status == 400
    assert answer.error.startswith(error)


@pytest.mark.parametrize("missing", ["chart_name", "chart_version"])
async def test_a_cluster_needs_a_chart_and_its_version(site, missing):
    spec = exchange_spec("nothing", {})
    answer = await site.client.call("POST", "/v1/cluster", body=cluster_args(spec, **{missing: ""}))
    assert (answer.status, answer.error) == (500, "chartVersion cannot be empty")


async def test_a_cluster_that_is_not_there_cannot_be_changed(site):
    answer = await site.client.submit("PUT", exchange_spec("nothing", {}))
    assert (answer.status, answer.error) == (500, "name=nothing Cluster is not existed")


async def test_an_upload_of_a_known_chart_replaces_it(site, pack):
    first = (await site.client.upload(pack("contract", "v0.0.1"))).data["helmUUID"]
    second = (await site.client.upload(pack("contract", "v0.0.1"))).data["helmUUID"]
    assert first != second
    assert (await site.client.call("GET", f"/v1/chart/{first}")).error == "record not found"
    chart = (await site.client.call("GET", f"/v1/chart/{second}")).data
    assert (chart["name"], chart["version"]) == ("contract", "v0.0.1")
    assert base64.b64decode(chart["templates"][0]["data"]) == b"kind: ConfigMap\n"
    names = [row["name"] for row in (await site.client.call("GET", "/v1/chart/")).data]
    assert names.count("contract") == 1
    answer = await site.client.call("DELETE", f"/v1/chart/{second}")
    assert answer.json == {"msg": "deleteChart Success"}
    again = await site.client.call("DELETE", f"/v1/chart/{second}")
    assert again.status == 200


async def test_an_upload_that_is_no_archive_is_refused(site):
    answer = await site.client.upload(b"no archive at all")
    assert (answer.status, answer.error) == (500, "gzip: invalid header")
    answer = await site.client.call("POST", "/v1/chart", body={})
    assert answer.error == "request Content-Type isn't multipart/form-data"
    form = aiohttp.FormData()
    form.add_field("chart", b"x", filename="x.tgz")
    answer = await site.client.call("POST", "/v1/chart", form=form)
    assert (answer.status, answer.error) == (500, "http: no such file")
