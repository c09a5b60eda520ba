"""How the device proves who it is, through crashes, lost answers and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_bridge.agent.enrolment import DeviceIdentity
from device_bridge.agent.identity_store import BridgeAddress, IdentityStore, StoredIdentity
from device_bridge.agent.link.domain import EndKind, SessionEnd
from tests.device_bridge.agent.link.support import welcome

BRIDGE = BridgeAddress(target="bridge.example:7003", ca_pem="PEM")
ELSEWHERE = BridgeAddress(target="other.example:7003", ca_pem="PEM")
REFUSED = SessionEnd(kind=EndKind.REFUSED)
REVOKED = SessionEnd(kind=EndKind.REVOKED)


def identity(
    tmp_path: Path, *, credential: str = "", code: str = "", bridge: BridgeAddress = BRIDGE
) -> tuple[IdentityStore, DeviceIdentity]:
    store = IdentityStore(tmp_path)
    if credential:
        store.save(StoredIdentity(installation_id="installation", bridge=BRIDGE, credential=credential))
    return store, DeviceIdentity(store, store.load_or_create(), bridge, code)


def test_the_first_session_presents_the_code(tmp_path: Path) -> None:
    _, device = identity(tmp_path, code="code")

    assert device.authorization() == "Enrolment code"
    assert not device.enrolled


def test_the_issued_credential_is_on_the_disk_when_the_welcome_is_noted(tmp_path: Path) -> None:
    store, device = identity(tmp_path, code="code")

    device.welcomed(welcome(issued_credential="secret", device_id="laptop", user_id="anna"))

    stored = store.load()
    assert stored is not None
    assert (stored.credential, stored.device_id, stored.user_id, stored.bridge) == ("secret", "laptop", "anna", BRIDGE)
    assert device.authorization() == "Bearer secret"
    assert device.enrolled


def test_a_second_start_needs_no_code(tmp_path: Path) -> None:
    _, first = identity(tmp_path, code="code")
    first.welcomed(welcome(issued_credential="secret"))

    _, second = identity(tmp_path)

    assert second.authorization() == "Bearer secret"
    assert second.installation_id == first.installation_id


def test_a_start_that_is_repeated_with_its_code_uses_the_credential(tmp_path: Path) -> None:
    _, first = identity(tmp_path, code="code")
    first.welcomed(welcome(issued_credential="secret"))

    _, second = identity(tmp_path, code="code")

    assert second.authorization() == "Bearer secret"


def test_a_lost_welcome_is_repaired_by_the_same_code_and_installation(tmp_path: Path) -> None:
    _, first = identity(tmp_path, code="code")
    assert first.authorization() == "Enrolment code"  # and the answer never came, or the process died

    _, second = identity(tmp_path, code="code")

    assert second.authorization() == "Enrolment code"
    assert second.installation_id == first.installation_id


def test_a_credential_that_could_not_be_stored_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, device = identity(tmp_path, code="code")

    def full(_identity: StoredIdentity) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", full)
    with pytest.raises(OSError, match="No space left"):
        device.welcomed(welcome(issued_credential="secret"))

    assert device.authorization() == "Enrolment code"


def test_a_later_welcome_without_news_writes_nothing(tmp_path: Path) -> None:
    store, device = identity(tmp_path, code="code")
    device.welcomed(welcome(issued_credential="secret"))
    before = store.path.stat().st_ino

    device.welcomed(welcome(epoch=2))

    assert store.path.stat().st_ino == before


def test_a_bridge_that_moved_is_remembered_once_it_has_welcomed_the_device(tmp_path: Path) -> None:
    store, device = identity(tmp_path, credential="secret", bridge=ELSEWHERE)
    assert device.authorization() == "Bearer secret"

    device.welcomed(welcome())

    stored = store.load()
    assert stored is not None
    assert stored.bridge == ELSEWHERE
    assert stored.credential == "secret"


def test_a_code_for_another_bridge_keeps_the_credential_from_it(tmp_path: Path) -> None:
    _, device = identity(tmp_path, credential="secret", code="code", bridge=ELSEWHERE)

    assert device.authorization() == "Enrolment code"


def test_a_refused_code_is_the_end(tmp_path: Path) -> None:
    _, device = identity(tmp_path, code="code")

    assert device.refused(REFUSED).permanent


@pytest.mark.parametrize("end", [REFUSED, REVOKED], ids=["refused", "revoked"])
def test_a_refused_credential_gives_way_to_the_code(tmp_path: Path, end: SessionEnd) -> None:
    _, device = identity(tmp_path, credential="old", code="code")
    assert device.authorization() == "Bearer old"

    judged = device.refused(end)

    assert (judged.kind, judged.permanent) == (EndKind.REFUSED, False)
    assert device.authorization() == "Enrolment code"
    assert not device.enrolled


def test_a_refused_credential_without_a_code_is_tried_again(tmp_path: Path) -> None:
    _, device = identity(tmp_path, credential="old")

    assert device.refused(REFUSED) == REFUSED
    assert device.authorization() == "Bearer old"


def test_a_revocation_without_a_code_stays_one(tmp_path: Path) -> None:
    _, device = identity(tmp_path, credential="old")

    assert device.refused(REVOKED) == REVOKED
