"""Bounds for calls to others: their time, their size, their errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.patience import patient, time_limit

from fedcore.byte_stream import read_limited
from fedcore.http import CallErrors, network_call


class LibraryError(Exception):
    """What an HTTP library raises."""


class Unavailable(Exception):
    """What the caller's own package raises."""


class TooLarge(Exception):
    """As above."""


ERRORS = CallErrors(failures=(LibraryError,), unavailable=Unavailable, too_large=TooLarge)


async def test_an_answer_that_is_too_large_is_the_callers_error() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10

    with pytest.raises(TooLarge, match="GET /x: the answer exceeds 25 bytes"):
        async with network_call("GET /x", errors=ERRORS, limit_s=patient()):
            await read_limited(pieces(), 25)


@pytest.mark.parametrize("failure", [LibraryError("broken"), ConnectionResetError("broken")])
async def test_a_network_failure_becomes_the_callers_error_and_names_the_call(
    failure: Exception,
) -> None:
    with pytest.raises(Unavailable, match=rf"GET /x: {type(failure).__name__}: broken") as raised:
        async with network_call("GET /x", errors=ERRORS, limit_s=patient()):
            raise failure
    assert raised.value.__cause__ is failure


async def test_a_call_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Unavailable, match=r"GET /x: no answer within 0.01 s"):
        async with network_call("GET /x", limit_s=0.01, errors=ERRORS):
            await asyncio.sleep(60)


async def test_errors_of_the_caller_and_its_own_time_limits_pass() -> None:
    with pytest.raises(KeyError):
        async with network_call("GET /x", limit_s=patient(), errors=ERRORS):
            raise KeyError
    with pytest.raises(TimeoutError):
        async with (
            network_call("GET /x", limit_s=None, errors=ERRORS),
            time_limit(0.01),
        ):
            await asyncio.sleep(60)
