from __future__ import annotations

import pytest
import yaml

from fedcore.errors import Invalid, NotFound
from fedhub.catalogue.load import load, read_release
from fedhub.domain.federation import Expose
from fedhub.planner.values import exposure_values


def built_in():
    return load().get("1.8.0", "spark-pulsar")


def test_the_official_charts_of_1_8_0_are_pinned():
    release = built_in()
    assert release.exchange.chart.sha256.startswith("bbfd87636b9c02dd")
    assert release.cluster.chart.sha256.startswith("49f60635d205159d")
    assert release.minimum_kubefate == "v1.4.4"


def test_the_nine_components_of_a_party_are_expected_healthy():
    names = [each.name for each in built_in().cluster.components]
    assert names == [
        "client",
        "datanode",
        "mysql",
        "namenode",
        "nginx",
        "pulsar",
        "python",
        "spark-master",
        "spark-worker",
    ]
    assert {each.name for each in built_in().exchange.components} == {"nginx", "traffic-server"}


def test_the_secrets_have_the_keys_that_the_charts_mount():
    (pulsar,) = built_in().cluster.certificates
    assert (pulsar.secret, pulsar.key_format) == ("pulsar-cert", "PKCS8")
    assert (pulsar.certificate_key, pulsar.private_key_key, pulsar.ca_key) == (
        "broker.cert.pem",
        "broker.key-pk8.pem",
        "ca.cert.pem",
    )
    (ats,) = built_in().exchange.certificates
    assert (ats.secret, ats.key_format) == ("traffic-server-cert", "TRADITIONAL")
    assert ats.restart_deployments == ("traffic-server",)


@pytest.mark.parametrize("topology", ["exchange", "direct"])
@pytest.mark.parametrize("expose", Expose)
@pytest.mark.parametrize("part", ["exchange", "cluster"])
def test_every_exposure_has_its_keys_and_one_address_a_role(part, expose, topology):
    role = getattr(built_in(), part)
    values = exposure_values(role, expose, topology)
    assert all("type" in block for block in values.values())
    roles = [
        each.role
        for each in role.addresses
        if each.expose == expose.value and each.topology in ("any", topology)
    ]
    assert sorted(roles) == (["ats", "nginx"] if part == "exchange" else ["nginx", "pulsar"])


@pytest.mark.parametrize("part", ["exchange", "cluster"])
def test_what_a_release_sets_or_reserves_is_known_to_its_chart(part):
    role = getattr(built_in(), part)
    known = set(role.known_keys)
    blocks = {each.partition(".")[0] for each in known if "." in each}
    assert blocks <= known
    assert set(role.reserved) <= known
    for tree in (role.defaults, *(each.values for each in role.exposures)):
        for key, value in tree.items():
            assert key in known
            if key in blocks:
                assert {f"{key}.{inner}" for inner in value} <= known


@pytest.mark.parametrize("part", ["exchange", "cluster"])
def test_every_exposed_key_is_reserved(part):
    role = getattr(built_in(), part)
    for exposure in role.exposures:
        for block, keys in exposure.values.items():
            assert {f"{block}.{each}" for each in keys} <= set(role.reserved)


def test_an_unknown_release_names_the_known_ones():
    with pytest.raises(NotFound, match=r"1\.8\.0 \(spark-pulsar\)"):
        load().get("3.0.0", "spark-pulsar")


def test_a_file_in_another_folder_adds_or_replaces_a_release(tmp_path):
    release = built_in().model_dump(mode="json")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(release | {"title": "Ours"}))
    (tmp_path / "later.yaml").write_text(yaml.safe_dump(release | {"version": "1.10.0"}))
    (tmp_path / "sooner.yaml").write_text(yaml.safe_dump(release | {"version": "1.9.2"}))
    catalogue = load([tmp_path])
    assert [each.version for each in catalogue.releases] == ["1.8.0", "1.9.2", "1.10.0"]
    assert catalogue.get("1.8.0", "spark-pulsar").title == "Ours"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 5", "version"),
        ("[]", "bad.yaml"),
        ("a: [", "cannot be read"),
        ("version: 1.8.0\nversion: 1.9.0", r"bad\.yaml:2:1 cannot be read: the key 'version'"),
        ("typo: 1", "bad.yaml"),
        ("x" * 1_048_577, "over"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_field(tmp_path, text, says):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(Invalid, match=says) as caught:
        read_release(path)
    assert "bad.yaml" in caught.value.message
