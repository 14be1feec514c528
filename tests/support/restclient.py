"""REST as a person's tool speaks it, over verified TLS."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.patience import patient, until


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub is, in this process or in another."""

    url: str
    enrol_address: str
    link_address: str
    ca_pem: bytes
    token: str

    @classmethod
    def of_ready_file(cls, path: Path) -> Place:
        told = json.loads(path.read_text())
        return cls(
            url=told["url"],
            enrol_address=told["enrol"],
            link_address=told["link"],
            ca_pem=Path(told["ca_file"]).read_bytes(),
            token=Path(told["token_file"]).read_text().strip(),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


class Rest:
    """REST as a person's tool speaks it."""

    def __init__(self, place: Place, session: aiohttp.ClientSession) -> None:
        self.place = place
        self.session = session

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.place.token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        async with self.session.request(
            method, self.place.url + path, data=data, headers=sent
        ) as response:
            text = await response.read()
            kind = response.headers.get("Content-Type", "")
            parsed = json.loads(text) if text and "json" in kind else text
            return Answer(response.status, parsed, dict(response.headers))

    async def good(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.call(method, path, **more)
        assert answer.status < 400, (method, path, answer.status, answer.body)
        return answer.body

    async def get(self, path: str) -> Any:
        return await self.good("GET", path)

    async def invite(self, name: str, **more: Any) -> Any:
        return await self.good("POST", "/api/v1/sites", body={"name": name, **more})

    async def apply(self, intent: Mapping[str, Any], query: str = "") -> Any:
        path = f"/api/v1/federations/{intent['name']}{query}"
        return await self.good("PUT", path, body=intent)

    async def events(self, query: str = "") -> list[Any]:
        found: list[Any] = []
        after = 0
        while True:
            page = await self.get(f"/api/v1/events?limit=1000&after={after}{query}")
            if not page["items"]:
                return found
            found += page["items"]
            after = page["last_id"]

    async def kinds(self, query: str = "") -> list[str]:
        return [event["kind"] for event in await self.events(query)]

    async def until(self, path: str, is_wanted: Callable[[Any], bool], what: str = "") -> Any:
        """Read ``path`` until it shows what is wanted."""
        latest = None

        async def is_shown() -> bool:
            nonlocal latest
            latest = await self.get(path)
            return is_wanted(latest)

        await until(is_shown, f"{path} shows {what}", describe=lambda: latest)
        return latest

    async def operation_ends(self, operation_id: str) -> Any:
        found = await self.until(
            f"/api/v1/operations/{operation_id}",
            lambda one: one["operation"]["state"] not in {"Running", "Stalled"},
            "an end",
        )
        return found["operation"]


@asynccontextmanager
async def rest_of(place: Place) -> AsyncIterator[Rest]:
    context = ssl.create_default_context(cadata=place.ca_pem.decode())
    connector = aiohttp.TCPConnector(ssl=context)
    timeout = aiohttp.ClientTimeout(total=patient())
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Rest(place, session)
