"""A text of an overlay must stay one value when KubeFATE's templates write it raw into YAML.

Each text that is refused here made the real charts render a foreign Pod (KubeFATE's own
``MapToConfig`` and Helm's engine), or could not be rendered at all.
"""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fedagent.wire.decode import decode_document
from fedcore.errors import Invalid
from fedcore.yaml_safety import unsafe_document_reason, unsafe_reason
from fedhub.planner.intent import parse_intent
from fedproto.agent.v1 import document_pb2

POD = "\n---\nkind: Pod\nspec: {containers: [{image: evil.example/x}]}\n---\n#"
QUOTED = json.dumps(POD)
TAGGED = "!!binary " + base64.b64encode(POD.encode()).decode()
BREAKING = [
    QUOTED,
    f"&a {QUOTED}",
    f"[{QUOTED}]",
    QUOTED[1:-1],
    TAGGED,
    f"a, {TAGGED}",
    f"!<tag:yaml.org,2002:binary> {TAGGED.split()[1]}",
    "{Image: evil.example/x}",
    "[a, b]",
    "*anchor",
    "a #b",
    "a: b",
    "a:",
    "- a",
    "-",
    "? a",
    "'a'",
    "|",
    ">",
    "%a",
    "@a",
    "`a",
    " a",
    "a ",
    "a<no value>b",
]
HARMLESS = [
    "",
    "fast-ssd",
    "registry.example.com:5000/fate",
    "2Gi",
    "500m",
    "hdfs://namenode:9000",
    "P@ssw0rd!!#1",
    "a{b}[c]",
    "it's",
    "-Xmx4g",
    "10.0.0.1",
    "1.8.0-release",
]


def intent(values, role="exchange"):
    exchange = {"site": "hq"}
    parties = [{"id": 9999, "site": "alpha"}]
    (exchange if role == "exchange" else parties[0])["values"] = values
    return {"name": "f", "domain": "f.example.com", "exchange": exchange, "parties": parties}


def refusal(values, role="cluster"):
    with pytest.raises(Invalid) as caught:
        parse_intent(intent(values, role))
    (fault,) = caught.value.errors
    return fault


@pytest.mark.parametrize("text", BREAKING)
def test_what_would_be_more_than_a_text_is_refused_with_its_path_and_the_cure(text):
    fault = refusal({"python": {"storageClass": text}})
    assert fault.path == "parties.0.values.python.storageClass"
    assert "remove" in fault.message
    assert refusal({"registry": text}, "exchange").path == "exchange.values.registry"


@pytest.mark.parametrize("text", BREAKING)
def test_keys_are_texts_like_any_other(text):
    fault = refusal({"spark": {"worker": {"ImageTag": {text: 1}}}})
    assert fault.path == "parties.0.values.spark.worker.ImageTag"
    assert fault.message.startswith("has a key that ")
    assert refusal({"imagePullSecrets": [{"name": text}]}).path.endswith("imagePullSecrets.0.name")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_operators_write_passes(text):
    parse_intent(intent({"python": {"storageClass": text}}, "cluster"))


@pytest.mark.parametrize("text", [one for one in BREAKING if "<no value>" not in one])
def test_what_the_charts_write_whole_may_be_any_text(text):
    """Annotations hold JSON and regular expressions; toYaml quotes them."""
    spark = {"annotations": {"example.com/snippet": text}, "hosts": [{"name": text, "path": "/"}]}
    parse_intent(intent({"ingress": {"spark": spark}}, "cluster"))


def test_what_kubefate_deletes_is_refused_even_where_texts_are_quoted():
    """Quoted for what it is, and then another text: ``<no value>!!binary ...`` loses its quotes."""
    hosts = [{"name": f"<no value>{TAGGED}"}]
    assert "deletes" in refusal({"ingress": {"spark": {"hosts": hosts}}}).message
    assert unsafe_document_reason("<no value>")


def test_texts_beside_the_overlay_have_their_own_rules():
    payload = intent({})
    payload["name"] = '"f"'
    with pytest.raises(Invalid) as caught:
        parse_intent(payload)
    assert "DNS-1123" in caught.value.errors[0].message


CHARACTERS = st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Cn"))
HOSTILE = st.lists(
    st.sampled_from(
        [*"[]{}&*!|>'\"%@`#,:?- \\", "!!binary ", "\\n", "<no value>", ": ", " #", "a"]
    ),
    max_size=8,
).map("".join)


def read_texts(written):
    """Read YAML with every scalar as text."""
    loader = yaml.BaseLoader(written)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


@given(st.text(CHARACTERS, max_size=30) | HOSTILE)
@example("=a")
@example("~")
def test_what_passes_is_one_scalar_in_every_place_that_templates_have(text):
    """Plain, after another word, and between double quotes; on the one line that it was put on."""
    if unsafe_reason(text):
        return
    for template in ("k: {}\nnext: 1\n", "k: good.example/{}:1.0\nnext: 1\n", 'k: "{}"\nnext: 1\n'):
        read = read_texts(template.replace("{}", text))
        assert read.keys() == {"k", "next"}
        assert isinstance(read["k"], str)
        assert "\n" not in read["k"]
    assert read_texts(f"k: {text}\n")["k"] == text


def document(more, *, absent=False):
    """Write a document of a hub that checks nothing."""
    cluster = {"name": "n", "namespace": "ns", "chartName": "fate", "chartVersion": "v1", **more}
    spec = document_pb2.ParticipantSpec(
        kind=document_pb2.PARTICIPANT_KIND_CLUSTER,
        namespace="ns",
        release_name="n",
        chart=document_pb2.ChartRef(name="fate", version="v1"),
        cluster_json=json.dumps(cluster),
    )
    return document_pb2.DesiredDocument(resource_id="r", absent=absent, participant=spec)


@pytest.mark.parametrize("text", [*BREAKING, "half a character: \ud800"])
@pytest.mark.parametrize(
    "more",
    [
        lambda text: {"python": {"storageClass": text}},
        lambda text: {"pulsar": {"route_table": {text: {"host": "x"}}}},
        lambda text: {"trafficServer": {"route_table": {"sni": [{"fqdn": text}]}}},
        lambda text: {text: "x"},
    ],
)
def test_an_agent_does_not_rely_on_its_hub(text, more):
    with pytest.raises(Invalid) as caught:
        decode_document(document(more(text)))
    assert caught.value.errors[0].path == "participant.cluster_json"
    assert decode_document(document(more(text), absent=True)).absent, "a removal is never hindered"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_refused_by_the_agent(word):
    message = document({"python": {"size": 0}})
    written = message.participant.cluster_json.replace(": 0}", f": {word}}}")
    message.participant.cluster_json = written
    with pytest.raises(Invalid, match="not JSON"):
        decode_document(message)
