from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.kubefate.client import exchange_spec, party_spec

from fedsim.kubefate.apply import three_way
from fedsim.kubefate.release import render
from fedsim.kubefate.specs import BindError, SpecError, bind_cluster_args, parse_spec
from fedsim.kubefate.values import RenderError, go_number, merge, scalar


def rendered(spec, chart=None):
    objects = render(
        chart or spec["chartName"], spec["chartVersion"], spec, spec["name"], spec["namespace"]
    )
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


def table(objects, config, key):
    return yaml.safe_load(objects["ConfigMap", config]["data"][key])


def test_the_samples_of_the_chart_leak_where_a_block_is_not_given():
    spec = party_spec("p")
    del spec["nginx"]["exchange"]
    objects = rendered(spec)
    routes = table(objects, "nginx-config", "route_table.yaml")
    assert routes["default"]["proxy"][0]["host"] == "192.168.10.1"
    assert objects["Ingress", "client"]["spec"]["rules"][0]["host"] == "notebook.example.com"


def test_without_an_exchange_pulsar_needs_no_secret_and_speaks_plain():
    spec = party_spec("p")
    del spec["pulsar"]["exchange"]
    objects = rendered(spec)
    pod = objects["Deployment", "pulsar"]["spec"]["template"]["spec"]
    assert not [volume for volume in pod["volumes"] if "secret" in volume]
    conf = objects["ConfigMap", "pulsar-config"]["data"]["standalone.conf"]
    assert "brokerServicePort=6650" in conf
    assert "Tls" not in conf
    routes = table(objects, "pulsar-route-table", "pulsar_route_table.yaml")
    assert list(routes) == [9999]


def test_a_given_pulsar_table_drops_the_party_itself():
    spec = party_spec("p")
    peer = {"host": "10.0.0.10", "port": 30104, "sslPort": 30109, "proxy": ""}
    spec["pulsar"]["route_table"] = {"10000": peer}
    routes = table(rendered(spec), "pulsar-route-table", "pulsar_route_table.yaml")
    assert routes == {"default": {"proxy": "10.0.0.1:30007", "domain": "example.com"}, 10000: peer}


def test_party_ids_from_a_million_on_are_corrupted_in_labels_and_tables():
    objects = rendered(party_spec("p", party=1_000_001))
    assert objects["Service", "nginx"]["metadata"]["labels"]["partyId"] == "1.000001e+06"
    routes = objects["ConfigMap", "nginx-config"]["data"]["route_table.yaml"]
    assert "\n1.000001e+06:\n" in routes


def test_hdfs_needs_both_its_blocks():
    with pytest.raises(RenderError, match="nil pointer evaluating interface"):
        rendered(party_spec("p", hdfs={"namenode": {"type": "ClusterIP"}}))


def test_without_modules_nothing_is_rendered():
    spec = party_spec("p")
    del spec["modules"]
    assert rendered(spec) == {}


def test_kept_data_lies_on_claims_of_the_release():
    claims = {"size": "1Gi", "storageClass": "-"}
    hdfs = {"namenode": {"size": "1Gi"}, "datanode": {"size": "1Gi"}}
    spec = party_spec("p", persistence=True, hdfs=hdfs, mysql=claims)
    objects = rendered(spec)
    names = {name for kind, name in objects if kind == "PersistentVolumeClaim"}
    assert names == {
        "mysql-data",
        "python-data",
        "client-data",
        "pulsar-data",
        "namenode-data",
        "datanode-data",
    }
    assert objects["PersistentVolumeClaim", "mysql-data"]["spec"]["storageClassName"] == ""
    assert objects["PersistentVolumeClaim", "python-data"]["spec"]["storageClassName"] == "python"
    # A pulsar block without a size renders null, as the chart does.
    claim = objects["PersistentVolumeClaim", "pulsar-data"]["spec"]
    assert claim["resources"]["requests"]["storage"] is None


@pytest.mark.parametrize(
    ("chart", "version"), [("fate-serving", "v1.8.0"), ("fate", "v1.11.2"), ("fate", "none")]
)
def test_what_is_not_in_the_products_catalogue_cannot_be_rendered(chart, version):
    with pytest.raises(RenderError, match="cannot be rendered"):
        render(chart, version, {}, "x", "x")
    with pytest.raises(RenderError, match="no backend"):
        rendered(party_spec("p", backend="eggroll"))


def test_an_absent_nginx_block_keeps_the_charts_node_ports_and_a_given_one_loses_them():
    spec = exchange_spec("x", {})
    del spec["nginx"]
    ports = rendered(spec)["Service", "nginx"]["spec"]["ports"]
    assert [port["nodePort"] for port in ports] == [30003, 30008]
    spec["nginx"] = {"httpNodePort": 30010}
    service = rendered(spec)["Service", "nginx"]["spec"]
    assert "type" not in service
    assert not any("nodePort" in port for port in service["ports"])


def test_traffic_servers_node_port_is_written_whatever_the_type():
    spec = exchange_spec("x", {})
    spec["trafficServer"] |= {"type": "ClusterIP", "nodePort": 30007}
    assert rendered(spec)["Service", "traffic-server"]["spec"]["ports"][0]["nodePort"] == 30007


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1"),
        (999_999, "999999"),
        (1_000_000, "1e+06"),
        (1_000_001, "1.000001e+06"),
        (12_345_678, "1.2345678e+07"),
        (10**10, "1e+10"),
        ("a", "a"),
        (None, ""),
    ],
)
def test_numbers_are_printed_as_go_prints_floats(number, text):
    assert go_number(number) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_a_printed_number_is_still_the_number(number):
    assert float(go_number(number)) == number


@pytest.mark.parametrize(("given", "read"), [("", None), ("30093", 30093), ("a.b", "a.b"), (0, 0)])
def test_scalars_change_their_type_on_the_way_through_yaml(given, read):
    assert scalar(given) == read


def test_null_deletes_a_default_and_maps_merge():
    defaults = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merge(defaults, {"a": {"b": None, "e": 4}, "d": {"f": 5}}) == {
        "a": {"c": 2, "e": 4},
        "d": {"f": 5},
    }


@pytest.mark.parametrize("text", ["a: [", "- a", "word", "a: !!python/object:os.system x"])
def test_a_cluster_yaml_that_is_no_map_is_refused(text):
    with pytest.raises(SpecError):
        parse_spec(text)


@given(st.binary(max_size=200))
def test_no_body_crashes_the_binding(body):
    try:
        bind_cluster_args(body)
    except BindError as error:
        assert str(error)  # noqa: PT017 - either outcome is right; only a crash is wrong


LEAVES = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b"]))
TREES = st.dictionaries(
    st.sampled_from("abcd"),
    st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
    max_size=4,
)


@given(TREES, TREES, TREES)
def test_a_merge_ends_with_what_the_new_manifest_says_and_without_what_only_the_old_said(
    old, new, live
):
    merged = three_way(old, new, live)
    assert three_way(new, new, merged) == merged
    for key in old:
        if key not in new:
            assert key not in merged
    for key in live:
        if key not in old and key not in new:
            assert merged[key] == live[key]
    for key, value in new.items():
        if not isinstance(value, dict):
            assert merged[key] == value


def test_a_cluster_yaml_is_read_into_what_json_has():
    text = "2: {a: 2026-01-01, b: [yes, 1.5, null]}\ntrue: x\n"
    expected = {"2": {"a": "2026-01-01", "b": [True, 1.5, None]}, "true": "x"}
    assert parse_spec(text) == expected
