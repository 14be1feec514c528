from __future__ import annotations

from contextlib import ExitStack

import pytest
from tests.support.principals import principal

from fedcore import limits
from fedcore.errors import ErrorCode, FedError
from fedhub.services.stream_slots import StreamSlots

ALICE = principal("alice")
MALLORY = principal("mallory")


def test_one_principal_holds_so_many_lines_and_gets_them_back():
    slots = StreamSlots()
    for _ in range(2):
        with ExitStack() as lines:
            for _ in range(limits.MAX_FOLLOWERS_PER_PRINCIPAL):
                lines.enter_context(slots.hold(MALLORY))
            with pytest.raises(FedError) as caught, slots.hold(MALLORY):
                pass
            assert caught.value.code is ErrorCode.TOO_MANY
            with slots.hold(ALICE):
                pass


def test_all_principals_together_hold_so_many_lines():
    slots = StreamSlots()
    with ExitStack() as lines:
        for number in range(limits.MAX_FOLLOWERS):
            lines.enter_context(slots.hold(principal(f"user-{number}")))
        with pytest.raises(FedError) as caught, slots.hold(ALICE):
            pass
        assert caught.value.code is ErrorCode.TOO_MANY
