"""What may be set."""

from __future__ import annotations

import pytest

from connectors.providers.microsoft.config import MicrosoftConfig, graph_base


@pytest.mark.parametrize("tenant", ["common", "organizations", "contoso.onmicrosoft.com", "2432b57b-0abd-43db"])
def test_a_tenant_is_a_name_or_an_id(tenant: str) -> None:
    assert MicrosoftConfig(client_id="c", tenant=tenant).login.host == "login.microsoftonline.com"


@pytest.mark.parametrize("tenant", ["", "../common", "a/b", "a b", "common?x=1", "-x", "t" * 129])
def test_anything_else_is_no_tenant(tenant: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        MicrosoftConfig(client_id="c", tenant=tenant)


@pytest.mark.parametrize("base", ["http://login.microsoftonline.com", "https://evil.example", "https://10.0.0.1"])
def test_users_sign_in_at_microsofts_host_or_at_this_machine(base: str) -> None:
    with pytest.raises(ValueError, match=r"login\.microsoftonline\.com"):
        MicrosoftConfig(client_id="c", login_base_url=base)
    assert MicrosoftConfig(client_id="c", login_base_url="http://127.0.0.1:8080").login.is_loopback


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(MicrosoftConfig(client_id="c", client_secret="hush"))


@pytest.mark.parametrize("base", ["https://graph.microsoft.com", "https://graph.microsoft.com/", "http://127.0.0.1:1"])
def test_graph_is_called_below_its_version(base: str) -> None:
    assert str(graph_base(base).within("/me")) == f"{base.rstrip('/')}/v1.0/me"
