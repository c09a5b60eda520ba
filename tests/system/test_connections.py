"""Accounts are linked, listed, tested, renewed and ended: real commands on a running stack, at emulated providers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adiuva_rpc.tls import write_private
from tests.emulator.client import ControlClient
from tests.emulator.microsoft.login import Decision
from tests.system.accounts import Providers, come_back, database, link, linking, parameter, visit
from tests.system.local_stack import LocalStack
from tests.system.users import Json, User, add_user, check_refused

pytestmark = pytest.mark.system

ANNA, WORK = "anna@example.com", "anna@contoso.example"


def state(connection: Json) -> str:
    return str(connection["state"]).removeprefix("CONNECTION_STATE_")


def add_account(providers: Providers, address: str) -> str:
    """Make an account at both providers, and return its address."""

    async def add(emulator: ControlClient) -> None:
        await emulator.google.add_account(address)
        await emulator.microsoft.add_account(address)

    providers.do(add)
    return address


@contextmanager
def consenting(providers: Providers, **answer: Any) -> Iterator[None]:
    """Let the person at both consent screens do something else than approve everything, for the block."""

    async def decide(emulator: ControlClient, answer: Json) -> None:
        await emulator.google.consent(**answer)
        await emulator.microsoft.consent(**answer)

    providers.do(lambda emulator: decide(emulator, answer))
    try:
        yield
    finally:
        providers.do(lambda emulator: decide(emulator, {}))


@contextmanager
def fault(providers: Providers, route: str, **fields: Any) -> Iterator[None]:
    """Let requests to a path fail, for the block."""
    providers.do(lambda emulator: emulator.add_fault(route, times=0, **fields))
    try:
        yield
    finally:
        providers.do(lambda emulator: emulator.clear_faults())


@pytest.fixture(scope="module", autouse=True)
def accounts(providers: Providers) -> None:
    add_account(providers, ANNA)
    add_account(providers, WORK)
    providers.do(lambda emulator: emulator.microsoft.set_device_interval(1))


@pytest.fixture(scope="module")
def anna(cloud: LocalStack, scratch: Path) -> User:
    return add_user(cloud, "anna", scratch)


@pytest.fixture(scope="module")
def ben(cloud: LocalStack, scratch: Path) -> User:
    return add_user(cloud, "ben", scratch)


# --- how a user consents


@pytest.mark.parametrize(("provider", "account"), [("gmail", ANNA), ("outlook", WORK), ("teams", WORK)])
def test_an_account_is_linked_with_a_browser_on_this_machine(provider: str, account: str, anna: User) -> None:
    with linking(anna, "link", provider, "--account", account, "--no-browser", "--json") as command:
        page = visit(command.address)
        linked = command.linked()

    assert (linked["provider"], linked["account"], linked["user_id"]) == (provider, account, "anna")
    assert (state(linked), linked["reason"]) == ("ACTIVE", "")
    assert "close this window" in page
    assert anna.json("connections", "show", linked["connection_id"])["account"] == account


@pytest.mark.parametrize(("provider", "account"), [("gmail", ANNA), ("outlook", WORK)])
def test_an_account_is_linked_with_a_browser_elsewhere_whose_last_address_is_pasted(
    provider: str, account: str, anna: User
) -> None:
    with linking(anna, "link", provider, "--by", "paste", "--account", account, "--json") as command:
        linked = command.linked(pasted=f"  {come_back(command.address)}  ")

    assert (state(linked), linked["account"]) == ("ACTIVE", account)


@pytest.mark.parametrize("provider", ["outlook", "teams"])
def test_an_account_is_linked_with_a_code_that_is_typed_in_elsewhere(
    provider: str, anna: User, providers: Providers
) -> None:
    with linking(anna, "link", provider, "--by", "device-code", "--json") as command:
        code = command.user_code
        providers.do(lambda emulator: emulator.microsoft.decide_device(code, Decision.APPROVED, WORK))
        linked = command.linked()

    assert (state(linked), linked["account"]) == ("ACTIVE", WORK)


def test_people_are_told_what_to_do_next(anna: User) -> None:
    with linking(anna, "link", "gmail", "--account", ANNA, "--no-browser") as command:
        visit(command.address)
        done = command.ended()

    # The id alone is on stdout, for scripts.
    connection = done.stdout.strip()
    assert anna.json("connections", "show", connection)["connection_id"] == connection
    assert f"linked {ANNA} (gmail)" in done.stderr
    assert f"adiuva agents create NAME --connection {connection}" in done.stderr


def test_linking_the_same_account_again_renews_its_connection(anna: User) -> None:
    first, second = (link(anna, "gmail", ANNA) for _ in range(2))

    assert first["connection_id"] == second["connection_id"]
    assert int(second["version"]) > int(first["version"])


# --- what a user does with a connection


def test_a_connection_is_listed_shown_tested_and_ended(anna: User, providers: Providers) -> None:
    account = add_account(providers, "whole.life@example.com")
    connection = link(anna, "gmail", account)["connection_id"]

    tested = anna.json("connections", "test", connection)
    shown = anna.json("connections", "show", connection)
    listed = anna.json("connections", "list")["connections"]
    ended = anna.json("connections", "disconnect", connection, "--yes")
    again = anna.json("connections", "disconnect", connection, "--yes")

    assert tested["connection"] == shown
    assert shown["last_success_at"]
    assert shown in listed
    assert (state(ended["connection"]), ended["revoked"], ended["manage_url"]) == ("DISCONNECTED", True, "")
    assert again["connection"] == ended["connection"]
    assert connection not in [one["connection_id"] for one in anna.json("connections", "list")["connections"]]
    assert connection in [one["connection_id"] for one in anna.json("connections", "list", "--all")["connections"]]
    assert not any(grant["alive"] for grant in providers.do(lambda emulator: emulator.google.grants(account)))
    check_refused(anna.adiuva("connections", "test", connection, check=False), "DISCONNECTED", "Link the account anew")
    check_refused(anna.adiuva("connections", "reauthorize", connection, check=False), "DISCONNECTED")


def test_tables_show_ids_in_full(anna: User, providers: Providers) -> None:
    account = add_account(providers, "table@contoso.example")
    connection = link(anna, "outlook", account)["connection_id"]

    listed, shown, tested, ended = (
        anna.adiuva("connections", *arguments).stdout
        for arguments in (
            ("list",),
            ("show", connection),
            ("test", connection),
            ("disconnect", connection, "--yes"),
        )
    )

    assert all(words in listed for words in (connection, "outlook", account, "active"))
    assert all(words in shown for words in (connection, account, "Mail.Read".lower(), "anna", "never"))
    assert f"works: {account} answered in " in tested
    # Microsoft has no way to end a consent for its user.
    assert "destroyed here." in ended
    assert "remove it at https://" in ended


def test_a_grant_that_was_revoked_elsewhere_is_renewed_under_the_same_id(anna: User, providers: Providers) -> None:
    account = add_account(providers, "revoked@example.com")
    before = link(anna, "gmail", account)
    connection = before["connection_id"]
    providers.do(lambda emulator: emulator.google.revoke(account))

    check_refused(
        anna.adiuva("connections", "test", connection, check=False), "NEEDS_REAUTH", "adiuva connections reauthorize"
    )
    broken = anna.json("connections", "show", connection)
    with linking(anna, "reauthorize", connection, "--no-browser", "--json") as command:
        visit(command.address)
        renewed = command.linked()

    assert (state(broken), broken["reason"]) == ("NEEDS_REAUTH", "GRANT_REVOKED")
    assert (renewed["connection_id"], state(renewed), renewed["reason"]) == (connection, "ACTIVE", "")
    assert anna.json("connections", "test", connection)["connection"]["account"] == account


def test_an_expired_token_is_renewed_without_its_user(anna: User, providers: Providers) -> None:
    account = add_account(providers, "expired@contoso.example")
    connection = link(anna, "outlook", account)["connection_id"]
    providers.do(lambda emulator: emulator.microsoft.expire_access(account))

    assert state(anna.json("connections", "test", connection)["connection"]) == "ACTIVE"
    (grant,) = providers.do(lambda emulator: emulator.microsoft.grants(account))
    assert grant["refreshes"] == 1


# --- consents that fail


def test_a_provider_that_is_not_there_is_refused(anna: User) -> None:
    check_refused(anna.adiuva("connections", "link", "fastmail", check=False), "PROVIDER_UNKNOWN", "README")


def test_google_has_no_codes_for_mail(anna: User) -> None:
    done = anna.adiuva("connections", "link", "gmail", "--by", "device-code", check=False)

    check_refused(done, "FLOW_UNSUPPORTED", "--by paste")


@pytest.mark.parametrize("provider", ["gmail", "outlook"])
def test_a_refused_consent_links_nothing(provider: str, anna: User, providers: Providers) -> None:
    account = add_account(providers, f"refused.{provider}@contoso.example")
    with (
        consenting(providers, approve=False),
        linking(anna, "link", provider, "--account", account, "--no-browser") as command,
    ):
        visit(command.address)
        done = command.ended()

    check_refused(done, "CONSENT_REFUSED", "Begin again")
    assert account not in anna.adiuva("connections", "list", "--all", "--json").stdout


def test_a_declined_code_links_nothing(anna: User, providers: Providers) -> None:
    with linking(anna, "link", "outlook", "--by", "device-code") as command:
        code = command.user_code
        providers.do(lambda emulator: emulator.microsoft.decide_device(code, Decision.DECLINED))
        check_refused(command.ended(), "CONSENT_REFUSED")


def test_less_access_than_is_needed_links_nothing(anna: User, providers: Providers) -> None:
    account = add_account(providers, "scopes@contoso.example")
    with (
        consenting(providers, without_scopes=["Mail.Read"]),
        linking(anna, "link", "outlook", "--account", account, "--no-browser") as command,
    ):
        visit(command.address)
        done = command.ended()

    check_refused(done, "SCOPE_MISSING", "leave every box ticked")
    assert account not in anna.adiuva("connections", "list", "--json").stdout


@pytest.mark.parametrize("provider", ["gmail", "outlook"])
def test_another_account_does_not_renew_a_connection(provider: str, anna: User, providers: Providers) -> None:
    account = add_account(providers, f"mine.{provider}@contoso.example")
    before = link(anna, provider, account)
    with (
        consenting(providers, account=WORK),
        linking(anna, "reauthorize", before["connection_id"], "--no-browser") as command,
    ):
        visit(command.address)
        done = command.ended()

    check_refused(done, "ACCOUNT_MISMATCH", "Choose the same account")
    assert anna.json("connections", "show", before["connection_id"]) == before
    assert anna.json("connections", "test", before["connection_id"])["connection"]["account"] == account


def test_a_state_counts_once_and_for_whoever_began(anna: User, ben: User) -> None:
    with linking(anna, "link", "gmail", "--by", "paste", "--account", ANNA, "--json") as command:
        answer = come_back(command.address)
        with linking(ben, "link", "gmail", "--by", "paste", "--account", ANNA) as of_ben:
            _ = of_ben.address
            check_refused(of_ben.ended(pasted=answer), "STATE_INVALID", "Begin a new one")
        # Whoever is not its user does not end it either.
        command.linked(pasted=answer)
    with linking(anna, "link", "gmail", "--by", "paste", "--account", ANNA) as command:
        _ = command.address
        check_refused(command.ended(pasted=answer), "STATE_INVALID")


def test_what_is_no_answer_is_refused_before_the_provider_is_asked(anna: User, providers: Providers) -> None:
    with linking(anna, "link", "gmail", "--by", "paste", "--account", ANNA) as command:
        answer = come_back(command.address)
        code = parameter(answer, "code")
        providers.do(lambda emulator: emulator.reset_counters())
        for pasted in (f"?code={code}&state=forged", f"?code={code}", "no address at all", f"{answer}&state=twice"):
            with linking(anna, "link", "gmail", "--by", "paste", "--account", ANNA) as other:
                _ = other.address
                check_refused(other.ended(pasted=pasted), "STATE_INVALID")

    assert providers.do(lambda emulator: emulator.calls("/token")) == []


def test_an_authorization_that_took_too_long_is_over(anna: User, cloud: LocalStack) -> None:
    with linking(anna, "link", "gmail", "--by", "paste", "--account", ANNA) as command:
        answer = come_back(command.address)
        with database(cloud) as connection:
            aged = connection.execute("UPDATE connectors.flows SET expires_at = now() WHERE used_at IS NULL")
            assert aged.rowcount > 0
        check_refused(command.ended(pasted=answer), "STATE_INVALID")


def test_a_code_that_nobody_typed_in_in_time_is_over(anna: User, providers: Providers) -> None:
    with linking(anna, "link", "outlook", "--by", "device-code") as command:
        code = command.user_code
        providers.do(lambda emulator: emulator.microsoft.decide_device(code, Decision.EXPIRED))
        check_refused(command.ended(), "STATE_INVALID")


@pytest.mark.parametrize("way", ["browser", "paste", "device-code"])
def test_ctrl_c_ends_the_wait_for_a_consent(way: str, anna: User) -> None:
    with linking(anna, "link", "outlook", "--by", way, "--account", WORK, "--no-browser") as command:
        _ = command.user_code if way == "device-code" else command.address
        # The command waits once it has told what to do.
        if way != "device-code":
            command.line("waiting", "The browser then ends")
        done = command.interrupted()

    assert done.returncode in {1, 130}
    assert done.stdout == ""


# --- when something is down


def test_a_provider_that_is_down_says_nothing_about_the_grant(anna: User, providers: Providers) -> None:
    account = add_account(providers, "down@example.com")
    connection = link(anna, "gmail", account)["connection_id"]
    with fault(providers, "/profile|/token", status=503):
        tested = anna.adiuva("connections", "test", connection, check=False)
        shown = anna.json("connections", "show", connection)

    check_refused(tested, "PROVIDER_UNAVAILABLE", "Try again later")
    assert state(shown) == "ACTIVE"
    assert state(anna.json("connections", "test", connection)["connection"]) == "ACTIVE"


def test_a_provider_that_is_down_ends_a_consent_with_one_line(anna: User, providers: Providers) -> None:
    with (
        fault(providers, "/token", status=503),
        linking(anna, "link", "gmail", "--account", ANNA, "--no-browser") as command,
    ):
        visit(command.address)
        check_refused(command.ended(), "PROVIDER_UNAVAILABLE", "Try again later")


def test_a_provider_that_asks_to_wait_is_left_alone_until_then(anna: User, providers: Providers) -> None:
    account = add_account(providers, "throttled@contoso.example")
    connection = link(anna, "outlook", account)["connection_id"]
    with fault(providers, "/v1.0/me", status=429, headers={"Retry-After": "300"}):
        first = anna.adiuva("connections", "test", connection, check=False)
    providers.do(lambda emulator: emulator.reset_counters())
    second = anna.adiuva("connections", "test", connection, check=False)
    shown = anna.json("connections", "show", connection)

    check_refused(first, "THROTTLED", "Try again in 300 s")
    check_refused(second, "THROTTLED", "Try again in 29")
    assert (state(shown), shown["next_allowed_at"] > shown["updated_at"]) == ("THROTTLED", True)
    assert providers.do(lambda emulator: emulator.calls(account=account)) == []


def test_a_wrong_client_secret_is_the_operators_fault_and_kills_no_grant(anna: User, providers: Providers) -> None:
    account = add_account(providers, "operator@example.com")
    connection = link(anna, "gmail", account)["connection_id"]
    providers.do(lambda emulator: emulator.google.switch(reject_clients=True))
    providers.do(lambda emulator: emulator.google.expire_access(account))
    try:
        done = anna.adiuva("connections", "test", connection, check=False)
        shown = anna.json("connections", "show", connection)
    finally:
        providers.do(lambda emulator: emulator.google.switch(reject_clients=False))

    check_refused(done, "OPERATOR_FAULT", "client id and secret")
    assert state(shown) == "ACTIVE"
    assert state(anna.json("connections", "test", connection)["connection"]) == "ACTIVE"


def test_connectors_that_are_down_are_one_clear_error(cloud: LocalStack, scratch: Path) -> None:
    user = add_user(cloud, "nobody", scratch)
    write_private(user.client_file, json.dumps({**user.client, "connectors": {"target": "127.0.0.1:9"}}).encode())

    for arguments in (["list"], ["link", "gmail"], ["test", "x"]):
        check_refused(user.adiuva("connections", *arguments, check=False), "UNAVAILABLE", "Is `adiuva up` running")


def test_connectors_that_are_killed_come_back_with_every_grant_and_every_consent_under_way(
    anna: User, cloud: LocalStack, providers: Providers
) -> None:
    before = link(anna, "gmail", add_account(providers, "survivor@example.com"))
    target = cloud.client["connectors"]["target"]
    with (
        linking(anna, "link", "gmail", "--by", "paste", "--account", ANNA, "--json") as pasting,
        linking(anna, "link", "outlook", "--by", "device-code", "--json") as polling,
    ):
        answer, code = come_back(pasting.address), polling.user_code
        cloud.kill("connectors")
        providers.do(lambda emulator: emulator.microsoft.decide_device(code, Decision.APPROVED, WORK))
        by_code = polling.linked()
        by_paste = pasting.linked(pasted=answer)
    tested = anna.json("connections", "test", before["connection_id"])["connection"]

    assert (state(by_code), state(by_paste), state(tested)) == ("ACTIVE", "ACTIVE", "ACTIVE")
    assert tested["connection_id"] == before["connection_id"]
    assert cloud.client["connectors"]["target"] == target


# --- whose a connection is


def test_another_users_connection_does_not_exist(anna: User, ben: User) -> None:
    connection = link(anna, "gmail", ANNA)["connection_id"]
    commands = (
        ["show", connection],
        ["test", connection],
        ["disconnect", connection, "-y"],
        ["reauthorize", connection],
    )

    missing = [ben.adiuva("connections", *command, check=False) for command in commands]
    invented = [
        ben.adiuva("connections", *[word.replace(connection, "c-0") for word in command], check=False)
        for command in commands
    ]

    for done in missing:
        check_refused(done, "CONNECTION_UNKNOWN", "adiuva connections list")
    assert [done.stderr for done in missing] == [done.stderr for done in invented]
    assert connection not in ben.adiuva("connections", "list", "--all", "--json").stdout
    assert state(anna.json("connections", "test", connection)["connection"]) == "ACTIVE"


def test_a_token_that_nobody_has_is_refused(cloud: LocalStack, scratch: Path) -> None:
    user = add_user(cloud, "forger", scratch)
    write_private(user.client_file, json.dumps({**user.client, "token": "adv_" + "x" * 43}).encode())

    check_refused(user.adiuva("connections", "list", check=False), "UNAUTHENTICATED", "adiuva up")


# --- the service among the others


def test_the_stack_tells_where_the_connectors_are_and_which_providers_there_are(cloud: LocalStack) -> None:
    assert cloud.facts["connectors"] == cloud.client["connectors"]["target"]
    assert cloud.facts["providers"] == ["gmail", "outlook", "teams"]
    assert cloud.facts["processes"]["connectors"] > 0


def test_a_stack_without_clients_has_no_providers_and_says_what_to_do(stack: LocalStack) -> None:
    assert stack.facts["providers"] == []
    check_refused(stack.adiuva("connections", "link", "gmail", check=False), "PROVIDER_UNKNOWN", "set it up")
    assert stack.json("connections", "list") == {"connections": []}
    assert "No accounts are linked yet" in stack.adiuva("connections", "list").stdout
