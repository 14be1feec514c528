from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.kubefate.client import archive_of

from fedsim.kubefate import charts

ABOUT = b"apiVersion: v1\nname: fate\nversion: v1.8.0\n"


def pack(*members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("archive", "text"),
    [
        (b"", "EOF"),
        (b"plain", "gzip: invalid header"),
        (gzip.compress(b"no tar" * 200), "archive/tar: invalid tar header"),
        (gzip.compress(ABOUT)[:-9], "gzip: invalid data"),
        (pack(), "Chart.yaml file is missing"),
        (pack(("fate/values.yaml", b"")), "Chart.yaml file is missing"),
        (pack(("fate/Chart.yaml", b"a: [")), "cannot load Chart.yaml"),
        (pack(("fate/Chart.yaml", b"[]")), "chart.metadata.apiVersion is required"),
        (pack(("fate/Chart.yaml", b"apiVersion: v1\nname: x\n")), "chart.metadata.version is"),
        (pack(("fate/Chart.yaml", b"name: x\nversion: v1\n")), "chart.metadata.apiVersion is"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_that_is_no_chart_is_refused(archive, text):
    with pytest.raises(charts.ChartError, match=text):
        charts.load_archive(archive)


def test_links_are_passed_over():
    chart = charts.load_archive(pack(("fate/Chart.yaml", ABOUT), ("fate/templates/x", None)))
    assert chart.templates == []


def test_an_archive_that_explodes_is_refused():
    zeros = gzip.compress(bytes(charts.MAX_UNPACKED_BYTES + 1024), 9)
    with pytest.raises(charts.ChartError, match="larger than the maximum size"):
        charts.load_archive(zeros)


def test_an_archive_is_read_whole():
    chart = charts.load_archive(archive_of("fate", "v1.8.0"))
    assert (chart.name, chart.version, chart.app_version) == ("fate", "v1.8.0", "v1.8.0")
    assert [file.name for file in chart.templates] == ["templates/a.yaml"]


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(content):
    for archive in (content, gzip.compress(content)):
        with pytest.raises(charts.ChartError):
            charts.load_archive(archive)


def test_the_repository_has_no_chart_of_fate_2():
    with pytest.raises(charts.ChartError, match='failed to download "kubefate/fate" at version'):
        charts.download("fate", "v2.0.0", offline=False, repo_url="https://charts.example")
    chart = charts.download("fate", "v1.8.0", offline=False, repo_url="https://charts.example")
    assert chart.version == "v1.8.0"


def test_an_unreachable_repository_is_told_as_helm_tells_it():
    with pytest.raises(charts.ChartError) as caught:
        charts.download("fate", "v1.8.0", offline=True, repo_url="https://charts.example/x")
    assert str(caught.value) == (
        'looks like "https://charts.example/x" is not a valid Chart repository or cannot be '
        'reached: Get "https://charts.example/x/index.yaml": dial tcp: lookup charts.example: '
        "no such host"
    )
