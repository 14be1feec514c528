from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.yaml_reader import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_DOCUMENTS,
    Position,
    YamlError,
    read_document,
    read_documents,
)


def refusal(content: str | bytes) -> YamlError:
    with pytest.raises(YamlError) as caught:
        read_documents(content.encode() if isinstance(content, str) else content)
    return caught.value


def at(content: str | bytes) -> tuple[int, int]:
    position = refusal(content).position
    assert position is not None
    return position.line, position.column


@pytest.mark.parametrize(
    ("text", "position", "part"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}", (3, 3), "the key 'c' is written twice, first at line 2"),
        ("a: 1\n'a': 2", (2, 1), "written twice"),
        ("a: &x 1", (1, 4), "anchors"),
        ("a: &x [1]\nb: *x", (1, 4), "anchors"),
        ("&x a: 1", (1, 1), "anchor"),
        ("a: *x", (1, 4), "aliases"),
        ("<<: {a: 1}", (1, 1), "merge keys"),
        ("a: !!binary xx", (1, 4), "tag"),
        ("!!str a: 1", (1, 1), "tag"),
        ("1: x", (1, 1), "quote it"),
        ("true: x", (1, 1), "quote it"),
        ("null: x", (1, 1), "quote it"),
        ("? [a]\n: 1", (1, 3), "quote it"),
        ("? {a: 1}\n: 1", (1, 3), "quote it"),
        ("a:\n  b: .inf", (2, 6), "no number"),
        ("a: -1e400", (1, 4), "no number"),
        ("a: " + "9" * 401, (1, 4), "400 digits"),
        ("a: x\nb: \x00", (2, 4), "'\\x00'"),
        ("a: x\nbc: d\x07", (2, 6), "'\\x07'"),
        ("a: x\x85y", (1, 5), "remove the character"),
        ("a: [1,\nb: 2", (3, 1), "','"),
        ("a: 'x", (1, 6), "end of stream"),
    ],
)
def test_what_is_refused_has_its_position(text, position, part):
    assert at(text) == position
    assert part in refusal(text).message
    where = f"f.yaml:{position[0]}:{position[1]}"
    assert refusal(text).in_file("f.yaml") == f"{where}: {refusal(text).message}"


@pytest.mark.parametrize("text", ["{0}: 1\n{0}: 2", "a: !{0} x", "a: 1{1}e999", "a: 1{1}"])
def test_what_is_quoted_from_the_file_is_short(text):
    assert len(refusal(text.format("k" * 50_000, "0" * 50_000)).message) < 200


def test_a_bomb_of_aliases_is_refused_at_once():
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert at("\n".join(lines)) == (1, 5)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_is_bounded_before_the_stack_ends(opening):
    deep = opening * (MAX_DEPTH + 2)
    assert refusal(deep).position is not None
    refusal(opening * 100_000)


def test_so_many_levels_as_are_allowed_are_read():
    deep = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)  # the document itself is level 0
    assert json.dumps(read_document(deep.encode())) == deep
    assert at(f"[{deep}]") == (1, MAX_DEPTH + 2)


def test_size_is_bounded_before_anything_is_decoded():
    assert "larger than" in refusal(b"\xff" * (MAX_BYTES + 1)).message
    assert read_document(b"a: 1234567", max_bytes=10) == {"a": 1234567}
    with pytest.raises(YamlError, match="larger than 10 bytes"):
        read_document(b"a: 12345678", max_bytes=10)


def test_documents_are_bounded():
    assert len(read_documents(b"--- a\n" * MAX_DOCUMENTS)) == MAX_DOCUMENTS
    assert at("--- a\n" * (MAX_DOCUMENTS + 1)) == (MAX_DOCUMENTS + 1, 5)


def test_text_that_is_not_utf_8_is_refused_as_a_whole():
    error = refusal(b"a: \xff")
    assert error.position is None
    assert error.in_file("f.yaml") == "f.yaml: it is not UTF-8 text (byte 3)"
    assert refusal("a: ä".encode("utf-16")).position is None


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    assert read_document("\ufeffa: 1\r\nb: 2\r\n".encode()) == {"a": 1, "b": 2}


def test_a_document_may_be_anything_and_an_empty_one_is_none():
    assert read_document(b"- 1\n- x\n") == [1, "x"]
    assert read_document(b"x") == "x"
    assert read_document(b"# nothing\n") is None
    assert read_documents(b"---\n---\n") == ()


def test_a_second_document_is_refused_where_one_is_expected():
    with pytest.raises(YamlError, match="only one document") as caught:
        read_document(b"a: 1\n---\nb: 2\n")
    assert caught.value.position == Position(3, 1)


def test_every_value_has_its_position_and_what_is_missing_that_of_its_parent():
    (document,) = read_documents(b"a:\n  - b: 1\n  - {c: [x,\n     yy]}\n")
    assert document.position_of("") == Position(1, 1)
    assert document.position_of("a.0.b") == Position(2, 8)
    assert document.position_of("a.1.c.1") == Position(4, 6)
    assert document.position_of("a.1.d.e") == Position(3, 5)
    assert document.position_of("z") == Position(1, 1)


def test_a_federation_of_a_thousand_parties_is_read_in_less_than_a_second_and_a_half():
    party = (
        "  - id: {0}\n    site: site-{0}\n    namespace: fate-{0}\n    expose: NodePort\n"
        '    advertise: {{pulsar: "203.0.113.7:30109"}}\n'
        '    values: {{python: {{resources: {{requests: {{cpu: "2", memory: 4Gi}}}}}}}}\n'
    )
    content = "name: x\nparties:\n" + "".join(party.format(number) for number in range(1_000))
    # Processor time of this thread: what else the machine does is not the reader's.
    started = time.thread_time()
    (document,) = read_documents(content.encode())
    assert time.thread_time() - started < 1.5
    assert len(document.data["parties"]) == 1_000


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]:,-&*!?|>'\"\n #abc1%@`~=<", max_size=40))
def test_anything_is_read_as_jsons_data_or_refused(content):
    data = content if isinstance(content, bytes) else content.encode()
    try:
        documents = read_documents(data)
    except YamlError:
        return
    for document in documents:
        json.dumps(document.data, allow_nan=False)
