"""Consents that fail: refused, incomplete, of somebody else, forged, late. Nothing is linked, and one line says why."""

from __future__ import annotations

import pytest

from tests.emulator.microsoft.login import Decision
from tests.system.accounts import (
    ANNA,
    WORK,
    Providers,
    add_account,
    come_back,
    consenting,
    database,
    link,
    linking,
    parameter,
    visit,
)
from tests.system.local_stack import LocalStack
from tests.system.users import User, check_refused

pytestmark = pytest.mark.system


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
