from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.yaml_reader import MAX_BYTES
from fedctl.errors import CliError, ExitCode
from fedctl.manifest import parse


def read(text: str):
    (manifest,) = parse(text.encode(), "f.yaml")
    return manifest.data


def refusal(content: bytes | str) -> CliError:
    with pytest.raises(CliError) as caught:
        parse(content.encode() if isinstance(content, str) else content, "f.yaml")
    assert caught.value.code is ExitCode.INVALID
    return caught.value


def fault(content: bytes | str) -> tuple[str, str]:
    (only,) = refusal(content).errors
    return only.path, only.message


def test_the_example_of_the_documentation_is_read_as_written():
    text = """
kind: Federation
name: credit-risk
exchange: {site: hq, expose: NodePort}
parties:
  - {id: 9999, site: alpha}
  - id: 10000
    values: {python: {resources: {requests: {cpu: "2"}}}}
"""
    assert read(text) == {
        "kind": "Federation",
        "name": "credit-risk",
        "exchange": {"site": "hq", "expose": "NodePort"},
        "parties": [
            {"id": 9999, "site": "alpha"},
            {"id": 10000, "values": {"python": {"resources": {"requests": {"cpu": "2"}}}}},
        ],
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("203.0.113.7:30109", "203.0.113.7:30109"),
        ("1.8.0", "1.8.0"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
        ("true", True),
        ("'true'", "true"),
        ('"5"', "5"),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text, value):
    value_read = read(f"a: {text}")["a"]
    assert value_read == value
    assert type(value_read) is type(value)


def test_a_fault_of_the_hub_is_placed_in_the_file():
    (manifest,) = parse(b"name: x\nparties:\n  - id: 1\n  - site: a\n    id: 0\n", "f.yaml")
    assert manifest.where("parties.1.id") == "f.yaml:5:9"
    assert manifest.where("parties.1.advertise.pulsar") == "f.yaml:4:5"
    assert manifest.where("domain") == "f.yaml:1:1"


def test_a_key_that_is_written_twice_is_refused_with_its_place():
    assert fault("a: 1\nb: {c: 1,\n  c: 2}") == (
        "f.yaml:3:3",
        "the key 'c' is written twice, first at line 2",
    )


def test_aliases_are_refused_so_that_no_bomb_can_go_off():
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    where, message = fault("\n".join(lines))
    assert where == "f.yaml:1:5"
    assert "aliases" in message


def test_depth_is_bounded_without_exhausting_the_stack():
    assert "nested deeper" in fault("a: " + "[" * 200_000)[1]
    assert "nested deeper" in fault("a: " + "{a: " * 51)[1]


def test_size_is_bounded_before_anything_is_parsed():
    assert "larger" in refusal(b"a: " + b"x" * MAX_BYTES).message


def test_a_file_at_the_size_limit_is_read():
    item = b"- {id: 1, site: alpha, expose: NodePort}\n"
    parse(b"parties:\n" + item * (MAX_BYTES // len(item) - 1), "f.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: !!binary xx", "tag"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: {<<: {b: 1}}", "merge"),
        ("1: x", "quote it"),
        ("? [a]\n: 1", "quote it"),
        ("a: .nan", "no number"),
        ("a: 1e999", "no number"),
        ("a: 1" + "0" * 5_000, "digits"),
        ("a: [1", "expected"),
        ("a:\n\t- b", "cannot start any token"),
        ("- a", "mapping"),
        ("just text", "mapping"),
        ("a: \x01", "remove"),
        ("a: x\nb: \x00", "remove"),
        ("a: x\x85y", "remove"),
        ("null: x", "quote it"),
        ("true: x", "quote it"),
        ("a: &x [1]\nb: 2", "anchors"),
        ("&x a: 1", "anchor"),
        ("a: " + "{b: " * 60, "nested deeper"),
    ],
)
def test_what_surprises_is_refused_with_line_and_column(text, part):
    where, message = fault(text)
    assert where.startswith("f.yaml:")
    assert where.count(":") == 2
    assert part in message


def test_text_that_is_no_utf_8_and_an_empty_file_are_named():
    assert "byte 3" in refusal(b"a: \xff").message
    assert "empty" in refusal("# nothing\n---\n---\n").message


def test_several_documents_come_in_their_order():
    manifests = parse(b"---\nname: a\n---\n---\nname: b\n", "f.yaml")
    assert [manifest.data["name"] for manifest in manifests] == ["a", "b"]
    assert manifests[1].where("name") == "f.yaml:5:7"


TREES = st.dictionaries(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**12), 10**12)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text("abcdef", min_size=1, max_size=4), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_json_is_read_as_json_reads_it(tree):
    assert read(json.dumps(tree, ensure_ascii=False)) == tree


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text("{}[]:,-&*!?|>'\"\n #abc1", max_size=40))
def test_any_text_is_read_or_refused_and_never_crashes(text):
    try:
        manifests = parse(text.encode("utf-8", "replace"), "f.yaml")
    except CliError:
        return
    for manifest in manifests:
        json.dumps(manifest.data)
        yaml.safe_dump(manifest.data)
