"""Secrets: kept elsewhere, read on demand, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import SiteError
from bridge.site.secret import Secret, mask


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret(env="DARI_TEST_SECRET")
    monkeypatch.delenv("DARI_TEST_SECRET", raising=False)
    with pytest.raises(SiteError, match=r"DARI_TEST_SECRET.*not set") as caught:
        secret.value()
    assert "export DARI_TEST_SECRET" in caught.value.hint
    assert secret.warnings() == ["the environment variable DARI_TEST_SECRET is not set here"]
    monkeypatch.setenv("DARI_TEST_SECRET", "")
    with pytest.raises(SiteError, match="is empty"):
        secret.value()
    monkeypatch.setenv("DARI_TEST_SECRET", "hunter2 ")
    assert secret.value() == "hunter2 "
    assert secret.warnings() == []
    assert "hunter2" not in repr(secret) + str(secret)


def test_from_a_file_beside_the_site_file(tmp_path: Path) -> None:
    secret = Secret(file="key")
    with pytest.raises(SiteError, match="can not be read") as caught:
        secret.value(tmp_path)
    assert str(tmp_path / "key") in caught.value.where
    assert "can not be read" in secret.warnings(tmp_path)[0]
    key = tmp_path / "key"
    key.write_bytes(b"")
    key.chmod(0o600)
    with pytest.raises(SiteError, match="empty"):
        secret.value(tmp_path)
    key.write_bytes(b"hunter2\r\n")
    assert secret.value(tmp_path) == "hunter2"
    assert secret.warnings(tmp_path) == []
    for mode in (0o640, 0o604, 0o644):
        key.chmod(mode)
        assert "others can read" in secret.warnings(tmp_path)[0]
    key.write_bytes(b"\xff\xfe")
    with pytest.raises(SiteError, match="not UTF-8") as caught:
        secret.value(tmp_path)
    assert caught.value.__cause__ is None
    assert "not a regular file" in Secret(file=".").warnings(tmp_path)[0]
    assert Secret(file=str(key)).warnings("/") == secret.warnings(tmp_path)


@pytest.mark.parametrize("places", [{}, {"env": "A", "file": "b"}])
def test_a_secret_is_kept_in_one_place(places: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"in one place.*\{env: NAME\}"):
        Secret(**places)


def test_the_password_of_a_url_is_masked_and_nothing_else() -> None:
    assert mask("see mqtt://bob:pw@h and http://a:b@c") == "see mqtt://bob:**@h and http://a:*@c"
    for text in ("mqtt://bob@h", "mqtt://h:1883/x", "opc.tcp://h:4840/a@b", "a:b@c", "ns=2;s=a://b"):
        assert mask(text) == text
