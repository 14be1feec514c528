from __future__ import annotations

from contextlib import ExitStack

import pytest

from fedcore import limits
from fedcore.errors import ErrorCode, FedError
from fedhub.services.stream_slots import Followers


def test_one_principal_holds_so_many_lines_and_gets_them_back():
    followers = Followers()
    for _ in range(2):
        with ExitStack() as lines:
            for _ in range(limits.MAX_FOLLOWERS_PER_PRINCIPAL):
                lines.enter_context(followers.place("mallory"))
            with pytest.raises(FedError) as caught, followers.place("mallory"):
                pass
            assert caught.value.code is ErrorCode.TOO_MANY
            with followers.place("alice"):
                pass


def test_all_principals_together_hold_so_many_lines():
    followers = Followers()
    with ExitStack() as lines:
        for number in range(limits.MAX_FOLLOWERS):
            lines.enter_context(followers.place(f"user-{number}"))
        with pytest.raises(FedError) as caught, followers.place("alice"):
            pass
        assert caught.value.code is ErrorCode.TOO_MANY
