"""What the operator may set, and what the service says about the rest."""

from __future__ import annotations

import pytest

from adiuva_rpc.settings import SettingsError, load
from connectors.settings import ConnectorsSettings

NEEDED = {
    "ADIUVA_DATABASE_URL": "postgresql+asyncpg:///adiuva?password=canary",
    "ADIUVA_TOKEN_FILE": "tokens.json",
    "ADIUVA_KEY_FILE": "keys.json",
}
GOOGLE = {"ADIUVA_GOOGLE_CLIENT_ID": "g-1", "ADIUVA_GOOGLE_CLIENT_SECRET": "canary-of-google"}
MICROSOFT = {"ADIUVA_MICROSOFT_CLIENT_ID": "m-1"}
HOSTS = {
    "ADIUVA_GOOGLE_ACCOUNTS_URL": "accounts.google.com",
    "ADIUVA_GOOGLE_OAUTH2_URL": "oauth2.googleapis.com",
    "ADIUVA_GMAIL_URL": "gmail.googleapis.com",
    "ADIUVA_MICROSOFT_LOGIN_URL": "login.microsoftonline.com",
    "ADIUVA_GRAPH_URL": "graph.microsoft.com",
}


def faults(**variables: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as refused:
        load(ConnectorsSettings, NEEDED | variables)
    assert "canary" not in str(refused.value)
    return refused.value.faults


def test_what_must_be_set_is_named_all_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load(ConnectorsSettings, {})

    assert refused.value.faults == dict.fromkeys(NEEDED, "is required")


def test_without_more_it_listens_on_this_machine_and_has_no_provider() -> None:
    settings = load(ConnectorsSettings, NEEDED | dict.fromkeys([*GOOGLE, *MICROSOFT], ""))

    assert str(settings.connectors_listen) == "127.0.0.1:7004"
    assert settings.google_client_secret is None
    assert (settings.google_client_id, settings.microsoft_client_id) == ("", "")


def test_secrets_do_not_show() -> None:
    variables = GOOGLE | MICROSOFT | {"ADIUVA_MICROSOFT_CLIENT_SECRET": "canary-of-microsoft"}

    settings = load(ConnectorsSettings, NEEDED | variables)

    assert "canary" not in f"{settings!r} {settings}"


@pytest.mark.parametrize("missing", list(GOOGLE))
def test_a_google_client_has_both_an_id_and_a_secret(missing: str) -> None:
    (fault,) = faults(**{name: value for name, value in GOOGLE.items() if name != missing}).values()

    assert all(name in fault for name in GOOGLE)


def test_a_microsoft_client_may_have_no_secret_but_a_secret_has_a_client() -> None:
    assert load(ConnectorsSettings, NEEDED | MICROSOFT).microsoft_client_secret is None
    (fault,) = faults(ADIUVA_MICROSOFT_CLIENT_SECRET="canary").values()
    assert "ADIUVA_MICROSOFT_CLIENT_ID" in fault


@pytest.mark.parametrize("given", ["ADIUVA_TLS_CERT", "ADIUVA_TLS_KEY"])
def test_a_certificate_has_a_key(given: str) -> None:
    (fault,) = faults(**{given: "file.pem"}).values()

    assert "ADIUVA_TLS_CERT and ADIUVA_TLS_KEY" in fault


@pytest.mark.parametrize("variable", list(HOSTS))
@pytest.mark.parametrize(
    "url",
    [
        "http://{host}",
        "https://{host}.evil.example",
        "https://evil.example/{host}",
        "https://evil.example#{host}",
        "https://someone:canary@{host}",
        "https://{host}:8443",
        "https://{host}/?next=canary",
        "ftp://{host}",
        "{host}",
        "http://10.0.0.1:8080",
        "http://localhost.evil.example:8080",
        "http://127.0.0.1:canary@evil.example/",
    ],
)
def test_a_provider_is_at_its_own_host_over_https_or_on_this_machine(variable: str, url: str) -> None:
    assert list(faults(**{variable: url.format(host=HOSTS[variable])})) == [variable]


@pytest.mark.parametrize("variable", list(HOSTS))
@pytest.mark.parametrize("url", ["https://{host}", "https://{host}/", "http://127.0.0.1:8080", "http://localhost:1/"])
def test_tests_may_bring_their_own_provider(variable: str, url: str) -> None:
    load(ConnectorsSettings, NEEDED | {variable: url.format(host=HOSTS[variable])})


@pytest.mark.parametrize("variable", ["ADIUVA_MICROSOFT_TENANT", "ADIUVA_MICROSOFT_TEAMS_TENANT"])
@pytest.mark.parametrize("tenant", ["a/b", "..", "común", "a b", "x" * 129])
def test_a_tenant_is_part_of_an_address(variable: str, tenant: str) -> None:
    assert list(faults(**{variable: tenant})) == [variable]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ADIUVA_CONNECTORS_LISTEN", "7004"),
        ("ADIUVA_GMAIL_UNITS_PER_MINUTE", "0"),
        ("ADIUVA_GMAIL_PROJECT_UNITS_PER_MINUTE", "-1"),
        ("ADIUVA_GMAIL_CONCURRENCY", "201"),
        ("ADIUVA_OUTLOOK_CONCURRENCY", "0"),
        ("ADIUVA_OUTLOOK_REQUESTS_PER_MINUTE", "many"),
        ("ADIUVA_TEAMS_REQUESTS_PER_SECOND", "0"),
        ("ADIUVA_TEAMS_CHANNEL_REQUESTS_PER_MINUTE", "0.5"),
    ],
)
def test_a_number_that_makes_no_sense_is_named(variable: str, value: str) -> None:
    assert list(faults(**{variable: value})) == [variable]


def test_all_faults_are_told_together() -> None:
    found = faults(ADIUVA_GRAPH_URL="http://evil.example", ADIUVA_GMAIL_CONCURRENCY="0", ADIUVA_MICROSOFT_TENANT="/")

    assert set(found) == {"ADIUVA_GRAPH_URL", "ADIUVA_GMAIL_CONCURRENCY", "ADIUVA_MICROSOFT_TENANT"}
