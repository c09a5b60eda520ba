"""Hosts and ports."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.addresses import ListenAddress


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:7001", "127.0.0.1", 7001, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("localhost:1", "localhost", 1, True),
        ("[::1]:7001", "::1", 7001, True),
        ("0.0.0.0:7001", "0.0.0.0", 7001, False),  # noqa: S104 - not bound
        ("[::]:65535", "::", 65535, False),
        ("192.168.1.5:80", "192.168.1.5", 80, False),
        ("localhost.example.com:80", "localhost.example.com", 80, False),
    ],
)
def test_an_address_is_read_and_written(text: str, host: str, port: int, loopback: bool) -> None:
    address = ListenAddress.parse(text)

    assert (address.host, address.port, address.is_loopback, str(address)) == (host, port, loopback, text)


@pytest.mark.parametrize(
    "text",
    ["", ":7001", "host", "host:", "host:-1", "host:65536", "host:1x", "::1:7001", "a b:1", "http://a:1", "h:\u0661"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|brackets"):
        ListenAddress.parse(text)


@given(st.text())
def test_no_text_makes_another_error(text: str) -> None:
    try:
        address = ListenAddress.parse(text)
    except ValueError:
        return
    assert ListenAddress.parse(str(address)) == address


def test_an_address_is_a_value() -> None:
    address = ListenAddress("::1", 7001)

    assert address.with_port(0) == ListenAddress("::1", 0)
    assert {address: 1}[ListenAddress("::1", 7001)] == 1
    with pytest.raises(AttributeError, match="immutable"):
        address.port = 1
