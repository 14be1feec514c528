"""What the contract suite says to a KubeFATE, and how it waits."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tests.support.patience import time_limit, until

Json = dict[str, Any]
ENDED = ("Success", "Failed", "Rollback", "Canceled")


@dataclass(slots=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Client:
    """A client without mercy: no retries, no redirects, one token."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.token = ""

    async def login(self, username: str, password: str) -> Answer:
        answer = await self.call(
            "POST", "/v1/user/login", body={"username": username, "password": password}
        )
        if answer.status == 200:
            self.token = answer.json["token"]
        return answer

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        raw: bytes | None = None,
        form: aiohttp.FormData | None = None,
        token: str | None = None,
    ) -> Answer:
        headers = {}
        bearer = self.token if token is None else token
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        async with (
            time_limit(),
            self._session.request(
                method,
                f"{self.url}{path}",
                data=form if form is not None else raw,
                json=body,
                headers=headers,
                allow_redirects=False,
            ) as answer,
        ):
            return Answer(answer.status, await answer.text(), dict(answer.headers))

    async def submit(self, method: str, spec: Json, **changes: Any) -> Answer:
        return await self.call(method, "/v1/cluster", body=cluster_args(spec, **changes))

    async def job(self, uuid: str) -> Json:
        return dict((await self.call("GET", f"/v1/job/{uuid}")).data)

    async def follow(self, uuid: str) -> list[Json]:
        """Return the distinct states of a job, the last one final."""
        seen: list[Json] = []

        async def has_ended() -> bool:
            job = await self.job(uuid)
            if not seen or job != seen[-1]:
                seen.append(job)
            return is_over(job)

        await until(has_ended, f"job {uuid} is over")
        return seen

    async def finish(self, method: str, spec: Json, **changes: Any) -> Json:
        answer = await self.submit(method, spec, **changes)
        assert answer.status == 200, answer.text
        return (await self.follow(answer.data["uuid"]))[-1]

    async def clusters(self, *, deleted: bool = False) -> list[Json]:
        path = "/v1/cluster/?all=true" if deleted else "/v1/cluster/"
        return list((await self.call("GET", path)).data)

    async def cluster(self, name: str) -> Json:
        found = [item for item in await self.clusters() if item["name"] == name]
        answer = await self.call("GET", f"/v1/cluster/{found[0]['uuid']}")
        assert answer.status == 200, answer.text
        return dict(answer.data)

    async def upload(self, archive: bytes, name: str = "chart.tgz") -> Answer:
        form = aiohttp.FormData()
        form.add_field("file", archive, filename=name, content_type="application/gzip")
        return await self.call("POST", "/v1/chart", form=form)


def is_over(job: Json) -> bool:
    """Say whether a job is over: a failed update shows Failed before it is rolled back."""
    if job["status"] not in ENDED:
        return False
    has_end = not job["end_time"].startswith("0001")
    states = job["states"] or [""]
    return has_end or "error" in states[-1] or job["method"] == "ClusterInstall"


def cluster_args(spec: Json, **changes: Any) -> Json:
    args = {
        "name": spec["name"],
        "namespace": spec["namespace"],
        "chart_name": spec.get("chartName", ""),
        "chart_version": spec.get("chartVersion", ""),
        "cover": False,
        "data": base64.b64encode(json.dumps(spec).encode()).decode(),
    }
    return args | changes


def exchange_spec(name: str, parties: dict[int, str], **changes: Any) -> Json:
    spec: Json = {
        "name": name,
        "namespace": name,
        "chartName": "fate-exchange",
        "chartVersion": "v1.8.0",
        "partyId": 1,
        "modules": ["trafficServer", "nginx"],
        "trafficServer": {
            "type": "NodePort",
            "route_table": {
                "sni": [
                    {"fqdn": f"{party}.example.com", "tunnelRoute": f"{ip}:30099"}
                    for party, ip in parties.items()
                ]
            },
        },
        "nginx": {
            "type": "NodePort",
            "route_table": {
                str(party): {"fateflow": [{"host": ip, "http_port": 30093, "grpc_port": 30098}]}
                for party, ip in parties.items()
            },
        },
    }
    return spec | changes


def party_spec(name: str, party: int = 9999, **changes: Any) -> Json:
    spec: Json = {
        "name": name,
        "namespace": name,
        "chartName": "fate",
        "chartVersion": "v1.8.0",
        "partyId": party,
        "persistence": False,
        "backend": "spark_pulsar",
        "modules": [
            "mysql",
            "python",
            "fateboard",
            "client",
            "spark",
            "hdfs",
            "nginx",
            "pulsar",
        ],
        "ingress": {"fateboard": {"hosts": [{"name": f"{name}.fateboard.example.com"}]}},
        "nginx": {
            "type": "NodePort",
            "exchange": {"ip": "10.0.0.1", "httpPort": 30003, "grpcPort": 30008},
        },
        "pulsar": {
            "type": "NodePort",
            "publicLB": {"enabled": True},
            "exchange": {"ip": "10.0.0.1", "port": 30007, "domain": "example.com"},
        },
        "spark": {"worker": {"replicas": 2, "resources": {"requests": {"cpu": "10m"}}}},
    }
    return spec | changes


def archive_of(name: str, version: str, files: dict[str, str] | None = None) -> bytes:
    """Pack a chart archive."""
    about = f"apiVersion: v1\nname: {name}\nversion: {version}\nappVersion: {version}\n"
    content = {
        "Chart.yaml": about,
        "values.yaml": "a: 1\n",
        "values-template.yaml": "a: 1\n",
        "templates/a.yaml": "kind: ConfigMap\n",
    } | (files or {})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in content.items():
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()
