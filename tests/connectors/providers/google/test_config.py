"""Where Google may be."""

from __future__ import annotations

import pytest

from connectors.providers.google.config import GoogleConfig


def test_the_default_is_google_itself() -> None:
    config = GoogleConfig(client_id="id", client_secret="s3cret")

    hosts = [base.url.host for base in (config.accounts, config.oauth2, config.api)]

    assert hosts == ["accounts.google.com", "oauth2.googleapis.com", "gmail.googleapis.com"]
    assert "s3cret" not in repr(config)


def test_it_may_be_this_machine() -> None:
    config = GoogleConfig(client_id="id", client_secret="s", oauth2_url="http://127.0.0.1:8080")

    assert config.oauth2.is_loopback


@pytest.mark.parametrize("field", ["accounts_url", "oauth2_url", "api_url"])
@pytest.mark.parametrize("url", ["http://oauth2.googleapis.com", "https://evil.example", "https://10.0.0.1", ""])
def test_it_may_be_nowhere_else(field: str, url: str) -> None:
    with pytest.raises(ValueError, match="base URL of"):
        GoogleConfig(client_id="id", client_secret="s", **{field: url})


@pytest.mark.parametrize(("client_id", "client_secret"), [("", "s"), ("id", "")])
def test_a_client_has_an_id_and_a_secret(client_id: str, client_secret: str) -> None:
    with pytest.raises(ValueError, match="an id and a secret"):
        GoogleConfig(client_id=client_id, client_secret=client_secret)
