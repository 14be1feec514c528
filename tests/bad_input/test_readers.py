"""Files and words from outside, bent: each is read or refused by the error that its caller knows.

Beside the tests of each reader: many more inputs, made from good ones. 150 of each; 10,000 with
FED_TEST_FULL=1.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib

import pytest
import yaml
from tests.bad_input.messages import TEXTS, bent, examples, seeded

from fedca.csr import make_csr_pem, parse_csr
from fedca.keys import make_private_key
from fedcore.errors import FedError
from fedctl.errors import CliError
from fedctl.manifest import parse
from fedhub.domain.release import Release
from fedhub.planner.intent import check_intent, parse_intent
from fedhub.services.chart_archive import read_chart
from fedsql.cursors import decode, encode

COUNT = examples(150, 10_000)
MANIFEST = b"""\
kind: Federation
name: credit-risk
domain: credit-risk.example.com
exchange: {site: hq, expose: NodePort}
parties:
  - {id: 9999, site: alpha, values: {python: {resources: {requests: {cpu: "2"}}}}}
  - id: 10000
    site: beta
    advertise: {pulsar: "203.0.113.7:30109"}
"""
CSR = make_csr_pem(make_private_key())


def chart():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (
            ("fate/Chart.yaml", b"name: fate\nversion: v1.8.0\nappVersion: 1.8.0\n"),
            ("fate/values.yaml", b"a: 1\n" * 50),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


TAR = chart()


def read_manifest(data):
    for manifest in parse(data, "f.yaml"):
        # What the file says goes to the hub as it is.
        json.dumps(manifest.data)
        parse_intent(manifest.data)


def read_intent_of_yaml(data):
    try:
        tree = yaml.safe_load(data.decode("utf-8", "replace"))
    except (yaml.YAMLError, ValueError, RecursionError):
        return
    intent = parse_intent(tree)
    assert isinstance(check_intent(intent, release=None, known_sites={"hq"}), tuple)


READERS = {
    "manifest": (MANIFEST, read_manifest),
    "intent": (MANIFEST, read_intent_of_yaml),
    "archive, bent as a whole": (gzip.compress(TAR), read_chart),
    "archive, bent inside": (TAR, lambda data: read_chart(gzip.compress(data))),
    "request, bent as text": (CSR, parse_csr),
    "cursor": (
        encode(["credit-risk", 7]).encode(),
        lambda data: decode(data.decode("latin-1"), [str, int]),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_bent_is_read_or_refused(name):
    good, read = READERS[name]
    read(good)
    refused = 0
    for number in range(COUNT):
        data = bent(good, seeded(name, number))
        try:
            read(data)
        except (FedError, CliError) as error:
            refused += 1
            words = str(error)
        else:
            continue
        assert 0 < len(words) < 5_000, number
    assert refused > COUNT / 20


def test_an_archive_that_is_a_bomb_within_a_bomb_takes_no_memory():
    bomb = zlib.compress(b"\0" * 20_000_000, 9)
    assert len(bomb) < 1_000_000
    packed = gzip.compress(b"\0" * 20_000_000)
    with pytest.raises(FedError):
        read_chart(packed)
    with pytest.raises(FedError):
        read_chart(b"\x1f\x8b" + bomb)


@pytest.mark.parametrize("text", [*TEXTS, "flm_api_", "flm_join_" + "A" * 43, "Bearer", "é" * 50])
async def test_no_word_is_taken_for_a_token(lab, text):
    """Whatever can stand in a header is refused as nobody's, without a fault of the hub."""
    word = "".join(c for c in text if c.isprintable())[:4_000]
    answer = await lab.rest.call("GET", "/api/v1/sites", token=word or "x")
    assert answer.status in {400, 401}
    assert answer.status == 401 or not word.isascii()


@pytest.mark.parametrize("cursor", [text for text in TEXTS if 0 < len(text) < 1_000])
async def test_no_word_is_taken_for_a_cursor(lab, cursor):
    for path in ("sites", "federations", "participants", "operations", "certificates", "endpoints"):
        query = "".join(f"%{byte:02x}" for byte in cursor.encode())
        answer = await lab.rest.call("GET", f"/api/v1/{path}?cursor={query}")
        assert answer.status == 422, (path, answer)


def test_a_release_with_a_key_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="surprise"):
        Release.model_validate({"surprise": 1})
