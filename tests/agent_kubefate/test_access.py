from __future__ import annotations

from pathlib import Path

import pytest

from fedagent.kubefate.access import BadCredentials, read_credentials_file


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'username = "admin"\npassword = "hush"\n'),
        ("c.yaml", "username: admin\npassword: hush\n"),
        ("c.json", '{"username": "admin", "password": "hush"}'),
    ],
)
def test_credentials_are_read_from_toml_yaml_and_json(tmp_path: Path, name: str, text: str) -> None:
    credentials = read_credentials_file(write(tmp_path / name, text))
    assert (credentials.username, credentials.password) == ("admin", "hush")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", 'username = "a"\npassword = "b"\n', 0o640)
    with pytest.raises(BadCredentials, match="chmod 600"):
        read_credentials_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "password: hush",
        "username: 3\npassword: hush",
        "- hush",
        "hush: [",
        "username: ''",
        "a: !hush x",
    ],
)
def test_a_faulty_file_is_named_and_never_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadCredentials) as caught:
        read_credentials_file(write(tmp_path / "c.yaml", text))
    assert "hush" not in str(caught.value)
    assert "c.yaml" in str(caught.value)


def test_a_missing_or_huge_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCredentials, match="cannot be read"):
        read_credentials_file(tmp_path / "none.yaml")
    with pytest.raises(BadCredentials, match="larger"):
        read_credentials_file(write(tmp_path / "c.yaml", "#" * 70_000))
