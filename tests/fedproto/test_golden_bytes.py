"""The bytes of the agent protocol stay what agents of another version read and write."""

from __future__ import annotations

import json

import pytest
from google.protobuf.message import Message
from tests.fedproto.wire_samples import ENUMS, GOLDEN, encoded, enum_numbers, samples

SAMPLES = dict(samples())


def test_every_message_has_its_golden_bytes_and_no_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.binpb")} == set(SAMPLES)


@pytest.mark.parametrize(("name", "message"), SAMPLES.items(), ids=list(SAMPLES))
def test_a_message_has_the_same_bytes_as_ever(name: str, message: Message) -> None:
    golden = (GOLDEN / f"{name}.binpb").read_bytes()
    decoded = type(message).FromString(golden)
    assert decoded == message
    assert encoded(decoded) == golden
    assert encoded(message) == golden


def test_the_values_of_enums_have_the_same_numbers_as_ever() -> None:
    assert enum_numbers() == json.loads(ENUMS.read_text())
