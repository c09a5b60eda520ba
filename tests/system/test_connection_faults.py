"""Connections while something is down: a provider, the operator's secret, the connectors themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adiuva_rpc.tls import write_private
from tests.emulator.microsoft.login import Decision
from tests.system.accounts import ANNA, WORK, Providers, add_account, come_back, fault, link, linking, state, visit
from tests.system.local_stack import LocalStack
from tests.system.users import User, add_user, check_refused

pytestmark = pytest.mark.system


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


def test_a_token_that_nobody_has_is_refused(cloud: LocalStack, scratch: Path) -> None:
    user = add_user(cloud, "forger", scratch)
    write_private(user.client_file, json.dumps({**user.client, "token": "adv_" + "x" * 43}).encode())

    check_refused(user.adiuva("connections", "list", check=False), "UNAUTHENTICATED", "adiuva up")


def test_the_stack_tells_where_the_connectors_are_and_which_providers_there_are(cloud: LocalStack) -> None:
    assert cloud.facts["connectors"] == cloud.client["connectors"]["target"]
    assert cloud.facts["providers"] == ["gmail", "outlook", "teams"]
    assert cloud.facts["processes"]["connectors"] > 0


def test_a_stack_without_clients_has_no_providers_and_says_what_to_do(stack: LocalStack) -> None:
    assert stack.facts["providers"] == []
    check_refused(stack.adiuva("connections", "link", "gmail", check=False), "PROVIDER_UNKNOWN", "set it up")
    assert stack.json("connections", "list") == {"connections": []}
    assert "No accounts are linked yet" in stack.adiuva("connections", "list").stdout
