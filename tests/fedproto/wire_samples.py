"""One sample of every message of the agent protocol, with every field set to a fixed value.

`tests/fedproto/golden/` keeps their bytes. Agents of another version read and write those bytes, so
a field number, a type or an enum's number that changes is a break of the protocol. Where a change
is meant (a new field, a renamed one), write the bytes anew and commit them with the change:

    python -m tests.fedproto.wire_samples
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from tests.bad_input.messages import FILES, message_classes

GOLDEN: Final = Path(__file__).with_name("golden")
ENUMS: Final = GOLDEN / "enums.json"
_INTEGERS: Final = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
}


def samples() -> Iterator[tuple[str, Message]]:
    """Give every sample by name: a message without a oneof once, else once for each case."""
    for message_class in message_classes():
        descriptor = message_class.DESCRIPTOR
        cases = [field for oneof in _oneofs(descriptor) for field in oneof.fields]
        for case in cases or [None]:
            name = descriptor.name if case is None else f"{descriptor.name}.{case.name}"
            yield name, _sample(descriptor, case)


def encoded(message: Message) -> bytes:
    """Return a message's bytes; the same ones in every run."""
    return message.SerializeToString(deterministic=True)


def enum_numbers() -> dict[str, dict[str, int]]:
    """Return the number of every value of every enum."""
    return {
        enum.name: {value.name: value.number for value in enum.values}
        for file in FILES
        for enum in file.DESCRIPTOR.enum_types_by_name.values()
    }


def _oneofs(descriptor: Descriptor) -> list[Any]:
    """Return the oneofs of a message; protobuf models an optional field as one, too."""
    return [oneof for oneof in descriptor.oneofs if not oneof.name.startswith("_")]


def _sample(descriptor: Descriptor, case: FieldDescriptor | None = None) -> Message:
    """Set every field; of a oneof the given case, or the first."""
    message = message_factory.GetMessageClass(descriptor)()
    chosen = {oneof.name: oneof.fields[0] for oneof in _oneofs(descriptor)}
    if case is not None:
        chosen[case.containing_oneof.name] = case
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is None or chosen.get(oneof.name, field) is field:
            _set(message, field)
    return message


def _set(message: Message, field: FieldDescriptor) -> None:
    """Set one field to a value that follows from its name alone."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[f"{field.name} key"] = f"{field.name} value"
    elif field.message_type is not None:
        value = _sample(field.message_type)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            getattr(message, field.name).CopyFrom(value)
    elif field.is_repeated:
        getattr(message, field.name).append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return _last_number(field.enum_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        return field.name
    if field.type == FieldDescriptor.TYPE_BYTES:
        return field.name.encode()
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type in _INTEGERS:
        return 1 + zlib.crc32(field.name.encode()) % 1_000_000
    raise TypeError(f"no sample value for a field of type {field.type}: {field.full_name}")


def _last_number(enum: EnumDescriptor) -> int:
    return max(value.number for value in enum.values)


def write() -> None:
    """Write every sample's bytes, and remove those of messages that are no more."""
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.glob("*.binpb"):
        old.unlink()
    for name, message in samples():
        (GOLDEN / f"{name}.binpb").write_bytes(encoded(message))
    ENUMS.write_text(json.dumps(enum_numbers(), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
