"""Where a consent may come back to, and what is read of what it comes back with."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import InvalidArgument
from connectors.connections.redirects import MAX_RESPONSE_CHARS, check_redirect_uri, parse_response
from connectors.errors import StateInvalid

OURS = "https://app.example.test/consents"


@pytest.mark.parametrize(
    "uri",
    [
        OURS,
        "http://127.0.0.1:1/",
        "http://127.0.0.1:65535/callback",
        "http://localhost:8765/",
        "http://localhost:8765/callback",
    ],
)
def test_the_operators_own_and_any_port_of_loopback_are_allowed(uri: str) -> None:
    check_redirect_uri(uri, {OURS})


@pytest.mark.parametrize(
    "uri",
    [
        "",
        OURS + "/",
        OURS + "?a=b",
        OURS.upper(),
        OURS.replace("https", "http"),
        OURS.replace("app", "app.evil"),
        OURS + "/../other",
        "https://app.example.test@evil.test/consents",
        "http://127.0.0.1/",
        "http://127.0.0.1:80",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:080/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:99999999/",
        "http://127.0.0.1:-1/",
        "http://127.0.0.1:8\u0660/",
        "http://127.0.0.1:80/other",
        "http://127.0.0.1:80/callback/",
        "http://127.0.0.1:80/Callback",
        "http://127.0.0.1:80/callback?next=http://evil.test",
        "http://127.0.0.1:80/callback#x",
        "http://127.0.0.1:80/../callback",
        "http://127.0.0.1:80//",
        "http://127.0.0.1:80/\n",
        " http://127.0.0.1:80/",
        "http://127.0.0.1:80\\@evil.test/",
        "http://127.0.0.1:80@evil.test/",
        "http://user:pass@127.0.0.1:80/",
        "http://user@localhost:80/",
        "http://127.0.0.1.evil.test:80/",
        "http://localhost.evil.test:80/",
        "http://evil-localhost:80/",
        "http://LOCALHOST:80/",
        "HTTP://localhost:80/",
        "https://localhost:80/",
        "http://127.0.0.2:80/",
        "http://127.1:80/",
        "http://2130706433:80/",
        "http://[::1]:80/",
        "http://0.0.0.0:80/",
        "javascript:alert(1)",
        "urn:ietf:wg:oauth:2.0:oob",
    ],
)
def test_anything_else_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_redirect_uri(uri, {OURS})

    assert refused.value.field == "redirect_uri"
    assert not uri.strip() or uri not in refused.value.description


@given(st.text(max_size=80))
def test_no_other_text_slips_through(text: str) -> None:
    with pytest.raises(InvalidArgument):
        check_redirect_uri("http://127.0.0.1:80" + text.lstrip("/0123456789") + "/x", {OURS})


@pytest.mark.parametrize(
    "response",
    [
        "http://127.0.0.1:80/?state=s&code=4/0Ab?c",
        "HTTPS://app.example.test/consents?state=s&code=4/0Ab?c#fragment",
        "/?state=s&code=4/0Ab?c",
        "?state=s&code=4/0Ab?c",
        "state=s&code=4/0Ab?c",
        "  code=4%2F0Ab%3Fc&state=s#_=_ \n",
    ],
)
def test_an_address_its_path_and_its_query_say_the_same(response: str) -> None:
    assert parse_response(response) == {"state": "s", "code": "4/0Ab?c"}


@pytest.mark.parametrize(
    "response",
    [
        "",
        "http://127.0.0.1:80/",
        "http://[::1/?state=s",
        "code=c",
        "state=&code=c",
        "state",
        "state=a&state=b&code=c",
        "state=a&code=b&code=c",
        "state=%ff&code=c",
        "http://127.0.0.1/#state=s&code=c",
        "&".join(f"a{number}=1" for number in range(40)) + "&state=s",
    ],
)
def test_a_response_without_one_state_is_none(response: str) -> None:
    with pytest.raises(StateInvalid):
        parse_response(response)


def test_a_response_that_is_too_long_is_not_even_read() -> None:
    with pytest.raises(InvalidArgument):
        parse_response("state=s&code=" + "c" * MAX_RESPONSE_CHARS)


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=20), max_size=5), st.text(min_size=1))
def test_what_a_browser_sends_is_what_is_read(others: dict[str, str], state: str) -> None:
    fields = {**others, "state": state}

    assert parse_response("http://127.0.0.1:80/?" + urlencode(fields)) == fields


@given(st.text(max_size=300))
def test_whatever_is_pasted_there_is_an_answer_or_a_refusal(text: str) -> None:
    with suppress(StateInvalid):
        assert parse_response(text)["state"]
