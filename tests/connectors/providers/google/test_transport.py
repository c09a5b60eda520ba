"""What google-auth sees of our client."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from connectors.errors import ProviderUnavailable
from connectors.providers.google.transport import GoogleTransport
from connectors.providers.wire import Answer


class FakeSend:
    """Answers always the same."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[tuple[str, str, Mapping[str, str] | None, bytes | None]] = []

    def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        self.sent.append((method, url, headers, content))
        return self.answer


def test_a_request_is_made_as_google_auth_wants_it() -> None:
    send = FakeSend(Answer(status=400, headers={"a": "b"}, body=json.dumps({"error": "x"}).encode()))
    transport = GoogleTransport(send)

    response = transport("https://x.example/token", method="POST", body=b"c", headers={"h": "v"}, timeout=1, proxies={})

    assert (response.status, response.headers, response.data) == (400, {"a": "b"}, b'{"error": "x"}')
    assert send.sent == [("POST", "https://x.example/token", {"h": "v"}, b"c")]
    assert transport.last is send.answer


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"expires_in": 1}'])
def test_google_auth_does_not_see_what_it_would_stumble_over(body: bytes) -> None:
    with pytest.raises(ProviderUnavailable):
        GoogleTransport(FakeSend(Answer(status=200, headers={}, body=body)))("https://x.example/token")
