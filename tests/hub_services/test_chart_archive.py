from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore import limits
from fedcore.errors import ErrorCode, FedError, Invalid
from fedhub.services.chart_archive import read_chart

CHART = b"name: fate\nversion: v1.8.0\nappVersion: 1.8.0\n"


def archive(*members: tuple[str, bytes | None, dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content, changes in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


def chart(*more: tuple[str, bytes | None, dict[str, object]]) -> bytes:
    return archive(("fate/Chart.yaml", CHART, {}), *more)


def test_a_chart_says_its_name_and_version():
    facts = read_chart(chart(("fate/values.yaml", b"a: 1\n", {})))
    assert (facts.name, facts.version, facts.app_version) == ("fate", "v1.8.0", "1.8.0")


@pytest.mark.parametrize(
    "member",
    [
        ("fate/../../etc/passwd", b"x", {}),
        ("/etc/passwd", b"x", {}),
        ("fate/link", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("fate/hard", b"", {"type": tarfile.LNKTYPE, "linkname": "fate/Chart.yaml"}),
        ("fate/device", b"", {"type": tarfile.CHRTYPE}),
        ("fate/fifo", b"", {"type": tarfile.FIFOTYPE}),
        ("fate/Chart.yaml", CHART, {}),
        ("other/file", b"x", {}),
        ("fate\\..\\x", b"x", {}),
    ],
)
def test_an_archive_that_leads_out_or_hides_something_is_refused(member):
    with pytest.raises(Invalid):
        read_chart(chart(member))


def test_what_is_no_archive_is_refused():
    for text in (b"", b"not gzip", gzip.compress(b"not tar"), gzip.compress(b"")):
        with pytest.raises(Invalid):
            read_chart(text)


def test_an_archive_cut_short_is_refused():
    whole = chart(("fate/values.yaml", b"a: 1\n" * 1000, {}))
    for end in range(10, len(whole) - 1, 37):
        with pytest.raises(FedError):
            read_chart(whole[:end])


def test_an_archive_that_explodes_is_refused_before_it_is_in_memory():
    bomb = gzip.compress(b"\0" * (60 * 1024 * 1024))
    with pytest.raises(FedError) as caught:
        read_chart(bomb)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_an_archive_beyond_the_limit_is_refused():
    with pytest.raises(FedError) as caught:
        read_chart(b"\x1f\x8b" + b"x" * limits.MAX_CHART_BYTES)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_an_archive_of_too_many_files_is_refused():
    many = chart(*((f"fate/{number}", b"", {}) for number in range(limits.MAX_CHART_FILES)))
    with pytest.raises(FedError) as caught:
        read_chart(many)
    assert caught.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"name: 1\nversion: 2\n", b"a: [", b"name: fate\n", b"\xff\xfe\x00"]
)
def test_a_chart_yaml_without_name_and_version_is_refused(text):
    with pytest.raises(Invalid):
        read_chart(archive(("fate/Chart.yaml", text, {})))


@given(st.binary(max_size=300))
def test_random_bytes_never_escape_the_errors_that_callers_know(data):
    for text in (data, gzip.compress(data)):
        with pytest.raises(FedError):
            read_chart(text)


def bomb() -> bytes:
    levels = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 7):
        names = b", ".join([b"*a%d" % (level - 1)] * 10)
        levels.append(b"a%d: &a%d [%s]" % (level, level, names))
    return b"\n".join([b"name: fate\nversion: v1", *levels, b"appVersion: *a6\n"])


@pytest.mark.parametrize(
    "more",
    [
        b"x: &x 1\n",
        b"x: " + b"9" * 5_000 + b"\n",
        b"appVersion: [1]\n",
        b"appVersion: 0x" + b"f" * 5_000 + b"\n",
        b"appVersion: " + b"a" * 101 + b"\n",
        b'appVersion: "\\e[31m"\n',
    ],
)
def test_a_chart_yaml_with_tricks_is_refused(more):
    with pytest.raises(Invalid):
        read_chart(archive(("fate/Chart.yaml", b"name: fate\nversion: v1\n" + more, {})))


@pytest.mark.parametrize("date", ["2001-01-01", "2001-99-99"])
def test_a_date_in_a_chart_yaml_is_text(date):
    text = f"name: fate\nversion: v1\nappVersion: {date}\n".encode()
    assert read_chart(archive(("fate/Chart.yaml", text, {}))).app_version == date


def test_a_chart_yaml_that_cannot_be_read_is_refused_with_the_position():
    text = b"name: fate\nversion: v1\nversion: v2\n"
    with pytest.raises(Invalid, match=r"Chart\.yaml:3:1: the key 'version' is written twice"):
        read_chart(archive(("fate/Chart.yaml", text, {})))


def test_a_chart_yaml_that_unfolds_to_millions_is_refused_at_once():
    with pytest.raises(Invalid):
        read_chart(archive(("fate/Chart.yaml", bomb(), {})))


@pytest.mark.parametrize("name", [b"f" * 101, b'"a b"', "fät".encode(), b'"a\\n"'])
def test_a_name_that_is_no_plain_word_is_refused(name):
    with pytest.raises(Invalid):
        read_chart(archive(("fate/Chart.yaml", b"version: v1\nname: " + name, {})))


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.map": "x,y"},
        {"GNU.sparse.size": "x"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"GNU.sparse.realsize": "x"},
    ],
)
def test_an_archive_with_headers_that_make_no_sense_is_refused(headers):
    with pytest.raises(Invalid):
        read_chart(archive(("fate/Chart.yaml", CHART, {"pax_headers": headers}), ("b", b"", {})))
