"""Accounts are linked, listed, tested, renewed and ended: real commands on a running stack, at emulated providers."""

from __future__ import annotations

import pytest

from tests.emulator.microsoft.login import Decision
from tests.system.accounts import ANNA, WORK, Providers, add_account, come_back, link, linking, state, visit
from tests.system.users import User, check_refused

pytestmark = pytest.mark.system


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
