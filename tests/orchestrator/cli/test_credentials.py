"""The credentials of a local stack: made once, private, and renewed in time."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adiuva_rpc.tls import Authority
from adiuva_rpc.tokens import token_hash
from orchestrator.cli.stack.credentials import RENEW_BEFORE, ensure_credentials, write_client_file


def test_a_second_start_finds_the_same_credentials(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path)
    certificate = first.server.cert.read_bytes()

    second = ensure_credentials(tmp_path)

    assert second == first
    assert second.server.cert.read_bytes() == certificate


def test_secrets_are_readable_by_the_owner_alone_and_tokens_are_stored_as_hashes(tmp_path: Path) -> None:
    made = ensure_credentials(tmp_path)
    client = write_client_file(tmp_path, made, orchestrator="a:1", bridge="a:2", bridge_devices="a:3", connectors="a:4")
    callers = json.loads(made.token_file.read_text())

    for secret in (made.server.key, made.token_file, client, tmp_path / "tokens" / "service"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert token_hash(made.client_token) in [caller["sha256"] for caller in callers]
    assert made.client_token not in made.token_file.read_text()


def test_a_certificate_that_ends_soon_is_made_anew(tmp_path: Path) -> None:
    made = ensure_credentials(tmp_path)
    Authority.load(tmp_path / "tls").issue(
        tmp_path / "tls" / "server", validity=RENEW_BEFORE - timedelta(days=1), now=datetime.now(UTC)
    )
    ending = made.server.cert.read_bytes()

    renewed = ensure_credentials(tmp_path)

    assert renewed.server.cert.read_bytes() != ending
