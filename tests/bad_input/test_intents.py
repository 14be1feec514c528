"""Each kind of bad intent, sent to a running hub: refused by field and cure, and nothing changed.

The rules themselves are tested in ``tests/planner/test_intent.py``, the file's syntax in
``tests/fedctl/test_manifest.py``; here the whole way through REST is, and the store beside it.
"""

from __future__ import annotations

import copy
import io
import json

import pytest
from tests.bad_input.dump import table_dump
from tests.support.hub import federation, party

from fedctl.errors import CliError
from fedctl.manifest import parse

PATH = "/api/v1/federations/credit-risk"
JSON = {"Content-Type": "application/json"}
GOOD = federation([party(9999, "alpha"), party(10000, "alpha")])


@pytest.fixture
async def calm(lab):
    """A hub with a deployed federation and two sites at rest."""
    for name in ("hq", "alpha"):
        await lab.good_site(name)
    applied = await lab.rest.apply(GOOD)
    await lab.rest.operation_ends(applied["operation"]["id"])
    for site in lab.sites:
        await site.stop()
    return lab


def changed(path, value):
    payload = copy.deepcopy(GOOD)
    *owners, last = path.split(".")
    owner = payload
    for step in owners:
        owner = owner[int(step)] if isinstance(owner, list) else owner.setdefault(step, {})
    owner[int(last) if isinstance(owner, list) else last] = value
    return payload


def deep(levels):
    tree = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


FIELDS = {
    "unknown key": ("partys", [], "partys", "did you mean parties?"),
    "unknown key within": ("parties.0.idd", 1, "parties.0.idd", "did you mean id?"),
    "wrong type": ("parties.0.site", 5, "parties.0.site", "quote it"),
    "a list for a mapping": ("exchange", [], "exchange", "one mapping"),
    "two exchanges": (
        "exchange",
        [{"site": "hq"}, {"site": "alpha"}],
        "exchange",
        "one mapping",
    ),
    "party id 0": ("parties.0.id", 0, "parties.0.id", "between 1 and 999999"),
    "party id 1,000,000": ("parties.0.id", 1_000_000, "parties.0.id", "between 1 and 999999"),
    "party id twice": ("parties.1.id", 9999, "parties.1.id", "written twice"),
    "bad domain": ("domain", "Not A Domain", "domain", "lower-case DNS name"),
    "bad namespace": ("parties.0.namespace", "Fate_1", "parties.0.namespace", "DNS-1123"),
    "namespace of Kubernetes": (
        "parties.0.namespace",
        "kube-system",
        "parties.0.namespace",
        "choose another",
    ),
    "unknown site": ("parties.0.site", "alhpa", "parties.0.site", "did you mean alpha?"),
    "unknown release": ("release", "9.9.9", "release", "known: 1.8.0"),
    "an address without a port": (
        "parties.0.advertise",
        {"pulsar": "203.0.113.7"},
        "parties.0.advertise.pulsar",
        "write host:port",
    ),
    "an address that is everyone's": (
        "parties.0.advertise",
        {"nginx": "localhost:30103"},
        "parties.0.advertise.nginx",
        "write an address that all reach",
    ),
    "a port that is not tunnelled to": (
        "parties.0.advertise",
        {"pulsar": "203.0.113.7:8443"},
        "parties.0.advertise.pulsar",
        "use 443",
    ),
    "a text that is more than a text": (
        "parties.0.values",
        {"python": {"storageClass": '"a\\nb"'}},
        "parties.0.values.python.storageClass",
        "remove it",
    ),
    "a deep tree": ("parties.0.values", deep(60), None, "deep"),
}


@pytest.mark.parametrize("kind", FIELDS)
async def test_a_bad_field_is_named_with_its_cure_and_nothing_changes(calm, kind):
    path, value, at, cure = FIELDS[kind]
    before = await table_dump(calm)
    for query in ("", "?dry_run=true"):
        answer = await calm.rest.call("PUT", PATH + query, body=changed(path, value))
        assert answer.status == 422, answer
        errors = [(one["path"], one["message"]) for one in answer.body["errors"]]
        if at is None:
            assert cure in answer.body["detail"]
        else:
            assert any(cure in words and at == where for where, words in errors), errors
    assert await table_dump(calm) == before


BODIES = {
    "a key written twice": (b'{"name": "credit-risk", "name": "x"}', {400, 422}),
    "not JSON": (b"{", {400, 422}),
    "not UTF-8": (b'{"name": "\xff"}', {400, 422}),
    "half a character": (b'{"name": "\\ud800"}', {400, 422}),
    "a number that JSON lacks": (b'{"name": NaN}', {400, 422}),
    "a depth bomb": (b"[" * 100_000, {400, 413, 422}),
    "5 MB": (b'{"name": "' + b"x" * 5_000_000 + b'"}', {413}),
    "no mapping": (b"[]", {422}),
    "nothing": (b"", {400, 422}),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_bad_body_is_refused_and_nothing_changes(calm, kind):
    data, statuses = BODIES[kind]
    before = await table_dump(calm)
    for method, path in (("PUT", PATH), ("POST", "/api/v1/federations"), ("POST", "/api/v1/sites")):
        answer = await calm.rest.call(method, path, data=io.BytesIO(data), headers=JSON)
        assert answer.status in statuses, (path, answer)
        assert answer.body["code"] in {"invalid", "too_large"}
    assert await table_dump(calm) == before


def test_an_alias_bomb_of_a_file_is_refused_with_its_position():
    """JSON has no aliases: they are stopped where the file is read."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, below in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]")
    with pytest.raises(CliError) as caught:
        parse("\n".join(lines).encode(), "f.yaml")
    assert caught.value.errors[0].path.startswith("f.yaml:1:4")
    assert json.dumps(caught.value.errors[0].message)
