"""The identity on the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from device_bridge.agent.identity_store import BridgeAddress, IdentityStore, StoredIdentity
from device_bridge.agent.private_files import DamagedFile

IDENTITY = StoredIdentity(
    installation_id="installation",
    bridge=BridgeAddress(target="bridge.example:7003", ca_pem="PEM", server_name="bridge"),
    device_id="laptop",
    user_id="anna",
    credential="adv_secret",
)


def test_a_device_that_was_never_set_up_has_no_identity(tmp_path: Path) -> None:
    assert IdentityStore(tmp_path / "device").load() is None


def test_an_identity_is_read_as_it_was_stored(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "device")

    store.save(IDENTITY)

    assert store.load() == IDENTITY


def test_a_new_installation_id_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    first = IdentityStore(tmp_path).load_or_create()

    assert first.credential == ""
    assert IdentityStore(tmp_path).load_or_create() == first
    assert IdentityStore(tmp_path / "other").load_or_create().installation_id != first.installation_id


def test_only_the_user_can_read_the_identity(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "device")

    store.save(IDENTITY)

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_rights_that_others_got_on_it_are_taken_away(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    store.save(IDENTITY)
    store.path.chmod(0o644)

    store.load()

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_the_credential_is_not_shown_when_an_identity_is_printed() -> None:
    assert "adv_secret" not in repr(IDENTITY)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 2, "installation_id": "i", "device_id": "", "user_id": "", "credential": "", "bridge": null}',
        '{"version": 1, "installation_id": "", "device_id": "", "user_id": "", "credential": "", "bridge": null}',
        '{"version": 1, "installation_id": "i", "device_id": 3, "user_id": "", "credential": "", "bridge": null}',
        '{"version": 1, "installation_id": "i", "device_id": "", "user_id": "", "credential": "", "bridge": []}',
        '{"version": 1, "installation_id": "i", "device_id": "", "user_id": "", "credential": "", "bridge": {}}',
        "[" * 100_000,
    ],
    ids=["empty", "cut", "list", "nothing in it", "newer", "no id", "number", "bridge list", "bridge empty", "deep"],
)
def test_a_damaged_file_is_named_and_never_overwritten(tmp_path: Path, content: str) -> None:
    store = IdentityStore(tmp_path)
    store.path.write_text(content)

    with pytest.raises(DamagedFile, match=r"identity\.json is damaged"):
        store.load_or_create()

    assert store.path.read_text() == content


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_identity_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = IdentityStore(tmp_path)
    store.save(IDENTITY)

    def full(*_args: object, **_others: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path if step == "replace" else os, step, full)
        with pytest.raises(OSError, match="No space left"):
            store.save(StoredIdentity(installation_id="other"))

    assert store.load() == IDENTITY
    assert [path.name for path in tmp_path.iterdir()] == ["identity.json"]
