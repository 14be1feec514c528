"""Hostile messages, made from the descriptors: a field that is added later is tried as well.

Three kinds: bytes that are no message, bytes of a message with some bent, and valid messages whose
fields hold what no honest peer would write.
"""

from __future__ import annotations

import math
import os
import random

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor

from fedproto.agent.v1 import (
    certificate_pb2,
    command_pb2,
    document_pb2,
    enrolment_pb2,
    event_pb2,
    link_pb2,
    status_pb2,
)

FULL = os.environ.get("FED_TEST_FULL") == "1"
FILES = (
    certificate_pb2,
    command_pb2,
    document_pb2,
    enrolment_pb2,
    event_pb2,
    link_pb2,
    status_pb2,
)
"""Every file of the wire; a test holds that there is no other."""
TEXTS = (
    "",
    "x",
    "x" * 70_000,
    "\x00",
    "\x1b[31mred\x07",
    "\u202e\u2028\ufeff\U0010ffff",
    "' OR 1=1 --",
    "../../etc/passwd",
    "{{ .Values }}",
    "%s%n",
    "00000000-0000-7000-8000-000000000000",
    "nul\x00l",
    "a" * 65,
    "-1",
    "1e999",
    "10.0.0.1",
    "999.999.999.999",
    "::1",
    "localhost",
)
_INTEGERS = {
    FieldDescriptor.TYPE_UINT32: (0, 1, 65_536, 2**31, 2**32 - 1),
    FieldDescriptor.TYPE_INT32: (0, -1, -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1),
    FieldDescriptor.TYPE_INT64: (0, -1, -(2**63), 2**63 - 1, 253_402_300_800, -62_135_596_801),
}
_NUMBERS = (0.0, -0.0, math.nan, math.inf, -math.inf, 1e308)
_MAX_DEPTH = 5


def examples(fast, full):
    """Return how many examples to try: ``full`` with FED_TEST_FULL=1."""
    return full if FULL else fast


def message_classes():
    """Return every message class of the wire, nested ones left out."""
    return [
        message_factory.GetMessageClass(descriptor)
        for file in FILES
        for descriptor in file.DESCRIPTOR.message_types_by_name.values()
    ]


def known_files():
    """Return the names of the wire's files that the imports above have registered."""
    pool = descriptor_pool.Default()
    return {pool.FindFileByName(file.DESCRIPTOR.name).name for file in FILES}


def hostile(message_class, rng, *, ids=(), depth=0):
    """Make a valid message of ``message_class`` with hostile values; ``ids`` are names to abuse."""
    message = message_class()
    for field in message.DESCRIPTOR.fields:
        if rng.random() < (0.25 if depth else 0.1):
            continue
        _fill(message, field, rng, ids, depth)
    return message


def _fill(message, field, rng, ids, depth):
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        _fill_message(message, field, rng, ids, depth)
    elif field.is_repeated:
        getattr(message, field.name).extend(
            _scalar(field, rng, ids) for _ in range(rng.choice((0, 1, 3, 40)))
        )
    else:
        setattr(message, field.name, _scalar(field, rng, ids))


def _fill_message(message, field, rng, ids, depth):
    if depth >= _MAX_DEPTH:
        return
    if field.message_type.GetOptions().map_entry:
        for _ in range(rng.choice((0, 1, 40))):
            getattr(message, field.name)[_text(rng, ids)] = _text(rng, ids)
        return
    inner = message_factory.GetMessageClass(field.message_type)
    if field.is_repeated:
        for _ in range(rng.choice((0, 1, 1, 3) if depth else (1, 1, 3, 12))):
            getattr(message, field.name).append(hostile(inner, rng, ids=ids, depth=depth + 1))
    else:
        getattr(message, field.name).CopyFrom(hostile(inner, rng, ids=ids, depth=depth + 1))


def _scalar(field, rng, ids):
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(rng, ids)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", b"\xff\xfe", rng.randbytes(50), b"-----BEGIN CERTIFICATE-----\n"))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice((0, 1, 2, 99, -1, 2**31 - 1))
    return rng.choice(_INTEGERS.get(field.type, _NUMBERS))


def _text(rng, ids):
    if ids and rng.random() < 0.5:
        return rng.choice(ids)
    # The long ones seldom: a message must stay within the wire's limit to arrive at all.
    text = rng.choice(TEXTS)
    return text if len(text) < 1_000 or rng.random() < 0.1 else text[:100]


def bent(data, rng):
    """Bend valid bytes: flip, drop, double, cut or insert some."""
    bytes_ = bytearray(data or b"\x0a\x00")
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(bytes_) + 1)
        match rng.randrange(5):
            case 0 if at < len(bytes_):
                bytes_[at] ^= 1 << rng.randrange(8)
            case 1:
                del bytes_[at : at + rng.randint(1, 9)]
            case 2:
                bytes_[at:at] = bytes_[at : at + 30]
            case 3:
                bytes_ = bytes_[: max(1, at)]
            case _:
                bytes_[at:at] = rng.randbytes(rng.randint(1, 12))
        bytes_ = bytes_ or bytearray(b"\x0a")
    return bytes(bytes_)


def invalid_utf8(rng):
    """Make bytes of a message whose first field is a text that is no UTF-8."""
    text = rng.choice((b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"a\xe2\x82"))
    return bytes((0x0A, len(text))) + text


def deep(rng):
    """Make bytes that nest one field in itself far deeper than any message."""
    data = b""
    for _ in range(rng.choice((50, 200, 5_000))):
        data = b"\x52" + _varint(len(data)) + data
    return data


def _varint(value):
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def raw_bytes(message_class, rng, *, ids=()):
    """Make bytes that may or may not be a message of ``message_class``."""
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.randint(0, 300))
        case 1:
            return invalid_utf8(rng)
        case 2:
            return deep(rng)
        case _:
            return bent(hostile(message_class, rng, ids=ids).SerializeToString(), rng)


def seeded(name, number):
    """Return the randomness of one example; the same in each run."""
    return random.Random(f"{name} {number}")
