from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore import limits
from fedcore.backoff import Backoff
from fedcore.errors import ErrorCode
from fedcore.ids import is_domain, is_name, new_id
from fedcore.log import mask_secrets
from fedcore.tasks import LoopHealth, run_periodically
from fedproto.transport import GRPC_STATUSES, server_options
from fedweb.problems import HTTP_STATUSES


class ManualClock:
    def __init__(self):
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self):
        return self.at

    def monotonic(self):
        return self.at.timestamp()


def test_every_error_code_has_its_row_and_a_status_of_its_own():
    assert set(GRPC_STATUSES) == set(ErrorCode) == set(HTTP_STATUSES)
    statuses = list(GRPC_STATUSES.values())
    assert len(set(statuses)) == len(statuses)
    assert grpc.StatusCode.OK not in statuses


def test_ids_sort_by_time_and_never_repeat():
    ids = [new_id(lambda ms=ms: ms) for ms in range(1_000, 1_200)]
    assert ids == sorted(ids)
    assert len({new_id() for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("text", ["", "A", "a_b", "-a", "a-", "a" * 64, "a\n", "a.b", "ä"])
def test_what_is_no_name_is_no_name(text):
    assert not is_name(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a..b", "a.b.", "a.b\n", "A.b", "a.1", "*.a.b", "1.2.3.4"]
)
def test_what_is_no_domain_is_no_domain(text):
    assert not is_domain(text)


def test_names_and_domains_of_the_usual_kind_pass():
    assert is_name("fate-9999")
    assert is_domain("credit-risk.example.com")


def test_secrets_are_masked_by_name_and_by_look():
    event = mask_secrets(
        None,
        "info",
        {
            "password": "x",
            "token": "x",
            "token_id": "kept",
            "text": "flm_api_" + "x" * 30,
            "pem": "-----BEGIN PRIVATE KEY-----",
            "site": "alpha",
        },
    )
    assert event == {
        "password": "***",
        "token": "***",
        "token_id": "kept",
        "text": "***",
        "pem": "***",
        "site": "alpha",
    }


@given(st.integers(0, 10_000), st.integers())
def test_jitter_stays_between_nothing_and_the_cap(attempt, seed):
    delay = Backoff(base_s=1.0, cap_s=60.0).jittered_s(attempt, random.Random(seed))
    assert 0.0 <= delay <= min(60.0, 2.0 ** min(attempt, 32))


def test_a_loop_that_is_late_by_three_intervals_is_stalled():
    clock = ManualClock()
    loop_health = LoopHealth(clock)
    loop_health.heartbeat("quick", 1.0)
    loop_health.heartbeat("slow", 60.0)
    clock.at += timedelta(seconds=31)
    assert [record.name for record in loop_health.stalled()] == ["quick"]
    clock.at += timedelta(seconds=150)
    assert {record.name for record in loop_health.stalled()} == {"quick", "slow"}


async def test_a_failing_iteration_is_tried_again_and_seen_as_no_success():
    class Done(BaseException):
        pass

    clock = ManualClock()
    loop_health = LoopHealth(clock)
    turns = []

    async def work():
        turns.append(len(turns))
        if len(turns) == 1:
            raise RuntimeError("once")
        if len(turns) == 3:
            raise Done

    with pytest.raises(Done):
        await run_periodically("w", work, interval_s=0.0, loop_health=loop_health)
    assert turns == [0, 1, 2]


def test_the_server_tolerates_the_clients_keepalive():
    options = dict(server_options())
    allowed_ms = options["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert allowed_ms < limits.KEEPALIVE_CLIENT_S * 1000
