"""The deny list and the spellings of names."""

from __future__ import annotations

import pytest

from device_bridge.agent.sandbox.escapes import escape, unescape
from device_bridge.agent.sandbox.names import is_denied


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".env.local",
        ".envrc",
        "sub/.env/x",
        ".aws/credentials",
        ".azure/x",
        ".gnupg/x",
        ".kube/config",
        ".config/gcloud/x",
        ".docker/config.json",
        ".netrc",
        ".npmrc",
        ".pypirc",
        ".git-credentials",
        "project/.git/config",
        "id_rsa",
        "id_rsa.pub",
        "keys/id_ed25519",
        "server.pem",
        "server.key",
        "old.p12",
        "old.pfx",
        "passwords.kdbx",
        "login.keychain-db",
        "Cookies",
        "Login Data",
        "key4.db",
        ".bash_history",
        ".zsh_history",
    ],
)
def test_credentials_are_denied(path: str) -> None:
    assert is_denied(path.split("/"))
    assert is_denied(path.upper().split("/"))


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "environment.md",
        "config",
        ".git/HEAD",
        "gcloud/x",
        "x/config.json",
        ".config/other",
        "key notes.md",
        "monkey.txt",
        "pem.md",
        "history.md",
        "id_card.pdf",
        "ssh.md",
        "Kekse und Cookies.md",
        "Call 12:30.md",
    ],
)
def test_ordinary_names_are_not_denied(path: str) -> None:
    assert not is_denied(path.split("/"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain name.txt", "plain name.txt"),
        ("Perché 日本 🙂".encode(), "Perché 日本 🙂"),
        (b"back\\slash", "back\\\\slash"),
        (b"\xff", "\\xff"),
        (b"\n", "\\u{a}"),
        ("\u00a0".encode(), "\\u{a0}"),
        ("\ufeff".encode(), "\\u{feff}"),
        (b"%2e", "%2e"),
    ],
)
def test_a_name_is_shown_on_one_line_and_found_again(name: bytes, shown: str) -> None:
    assert escape(name) == shown
    assert unescape(shown) == name


@pytest.mark.parametrize(
    "component", ["\\x2e", "\\u{2e}", "\\u{2f}", "\\xFF", "\\u{0a}", "\\u{110000}", "\\u{d800}", "\\", "\\q", "a\\b"]
)
def test_what_escaping_would_not_write_is_a_name_as_it_stands(component: str) -> None:
    assert unescape(component) == component.encode()
