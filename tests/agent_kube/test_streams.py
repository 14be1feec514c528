from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import WSCloseCode, web
from tests.support.patience import time_limit

from fedagent.kube import errors, streams
from fedagent.kube.client import Kube
from fedagent.kube.forward import pod_selector, port_forward
from fedagent.kube.streams import ExecFailed, execute, exit_code_of

SUCCESS = json.dumps({"status": "Success"}).encode()
EXIT_3 = json.dumps(
    {
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
    }
).encode()


def socket(*frames: bytes, end: str = "orderly") -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(protocols=(streams.CHANNELS,))
        await response.prepare(request)
        for frame in frames:
            await response.send_bytes(frame)
        if end == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif end == "silent":
            await response.receive()
        else:
            await response.close(code=WSCloseCode.OK)
        return response

    return handler


async def test_a_command_gives_its_output_and_exit_code(kube: Kube, api: Any) -> None:
    api.answer(socket(b"\x01out", b"\x02err", b"\x01put", b"\x03" + EXIT_3))
    result = await execute(kube, "ns", "p", ["a", "b"], container="c", limit_s=30)
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"output", b"err")
    assert api.requests[0].query.getall("command") == ["a", "b"]
    assert api.requests[0].query["container"] == "c"


async def test_an_orderly_end_without_a_status_is_an_unknown_exit_code(
    kube: Kube, api: Any
) -> None:
    api.answer(socket(b"\x01out"))
    assert (await execute(kube, "ns", "p", ["a"], limit_s=30)).exit_code is None


async def test_a_cut_connection_is_no_result(kube: Kube, api: Any) -> None:
    api.answer(socket(b"\x01out", end="cut"))
    with pytest.raises(errors.Unavailable):
        await execute(kube, "ns", "p", ["a"], limit_s=30)


async def test_output_above_the_limit_is_cut_and_said(kube: Kube, api: Any) -> None:
    api.answer(socket(b"\x01" + b"x" * 50, b"\x01" + b"x" * 60, end="silent"))
    result = await execute(kube, "ns", "p", ["a"], limit_bytes=100, limit_s=30)
    assert result.is_truncated
    assert result.exit_code is None


async def test_a_command_that_hangs_ends_with_the_time_limit(kube: Kube, api: Any) -> None:
    api.answer(socket(end="silent"))
    with pytest.raises(errors.Unavailable, match="not over"):
        await execute(kube, "ns", "p", ["sleep"], limit_s=0.05)


async def test_a_refused_upgrade_is_a_typed_error(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.failure(403, "Forbidden"))
    with pytest.raises(errors.Forbidden):
        await execute(kube, "ns", "p", ["a"], limit_s=30)


def test_a_failure_that_is_no_exit_code_means_that_nothing_ran() -> None:
    assert exit_code_of(SUCCESS) == 0
    assert exit_code_of(b"") is None
    with pytest.raises(ExecFailed, match="no container"):
        exit_code_of(b'{"status":"Failure","message":"no container"}')
    with pytest.raises(ExecFailed, match="odd"):
        exit_code_of(b"odd")


def pods(*states: tuple[str, str, bool]) -> dict[str, Any]:
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": made},
            "status": {"conditions": [{"type": "Ready", "status": str(is_ready)}]},
        }
        for name, made, is_ready in states
    ]
    return {"metadata": {}, "items": items}


async def test_the_newest_ready_pod_is_chosen(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.json(pods(("a", "1", True), ("b", "2", True), ("c", "3", False))))
    choose = pod_selector(kube, "ns", {"fate": "kubefate"})
    assert await choose() == "b"
    assert api.requests[0].query["labelSelector"] == "fate=kubefate"
    api.answer(answers.json(pods(("c", "3", False))))
    api.handlers.pop(0)
    with pytest.raises(errors.NotFound):
        await choose()


async def test_a_forward_chooses_its_pod_for_each_connection(kube: Kube, api: Any) -> None:
    chosen = iter(("first", "second"))

    async def choose() -> str:
        return next(chosen)

    api.answer(socket(b"\x00\x90\x1f", b"\x01\x90\x1f", b"\x00hello"))
    async with port_forward(kube, "ns", choose, 8080) as address:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()
    paths = [request.path.split("/")[-2] for request in api.requests]
    assert paths == ["first", "second"]
    assert api.requests[0].query["ports"] == "8080"


async def test_a_forward_that_fails_closes_the_connection(
    kube: Kube, api: Any, answers: Any
) -> None:
    error = b"\x01lost connection to pod"
    api.answer(answers.failure(500, "InternalError"), socket(b"\x01\x90\x1f", error))
    async with port_forward(kube, "ns", "p", 8080) as address:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


async def test_leaving_a_forward_ends_its_connections(kube: Kube, api: Any) -> None:
    api.answer(socket(b"\x00\x90\x1f\x00", b"\x00open", end="silent"))
    async with port_forward(kube, "ns", "p", 8080) as address:
        reader, writer = await asyncio.open_connection(*address)
        async with time_limit():
            assert await reader.readexactly(5) == b"\x00open"
    async with time_limit():
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
