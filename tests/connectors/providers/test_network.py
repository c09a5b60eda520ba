"""Where requests may go."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

import httpcore2
import pytest
from hypothesis import given, strategies as st

from connectors.errors import ProviderUnavailable
from connectors.providers.network import AddressRefused, BaseUrl, CheckedNetwork, may_connect, resolve_host

GRAPH = "graph.microsoft.com"
PUBLIC = "142.250.74.10"
OTHER_PUBLIC = "142.250.74.11"


@pytest.mark.parametrize(
    "text",
    [
        "https://graph.microsoft.com",
        "https://graph.microsoft.com/v1.0/",
        "https://GRAPH.microsoft.com:443/v1.0",
        "http://127.0.0.1:8080",
        "http://localhost:8080/v1.0",
        "https://localhost",
        "http://[::1]:8080",
    ],
)
def test_a_base_is_the_known_host_or_this_machine(text: str) -> None:
    base = BaseUrl(text, GRAPH)

    assert base.is_loopback == ("microsoft" not in text.lower())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("http://graph.microsoft.com", "http is for this machine only"),
        ("https://graph.microsoft.com:8443", "port"),
        ("https://graph.microsoft.us", "host must be graph.microsoft.com"),
        ("https://graph.microsoft.com.evil.example", "host"),
        ("https://evil.example/graph.microsoft.com", "host"),
        ("https://graph.microsoft.com.", "host"),
        ("https://gr\u0430ph.microsoft.com", "host"),
        ("https://10.0.0.1", "host"),
        ("http://127.0.0.2:80", "host"),
        ("http://2130706433", "host"),
        ("http://0x7f.1", "host"),
        ("http://[::ffff:127.0.0.1]", "host"),
        ("https://user@graph.microsoft.com", "user name"),
        ("https://graph.microsoft.com@evil.example", "user name"),
        ("https://graph.microsoft.com?x=1", "query"),
        ("https://graph.microsoft.com/?", "query"),
        ("https://graph.microsoft.com/#x", "fragment"),
        ("https://graph.microsoft.com/v1.0/../beta", "path"),
        ("https://graph.microsoft.com/%2e%2e/beta", "path"),
        ("https://graph.microsoft.com\\@evil.example", "backslashes"),
        ("https://graph.microsoft.com /v1.0", "spaces"),
        ("https://graph.microsoft.com\n", "control"),
        ("ftp://graph.microsoft.com", "https://"),
        ("file:///etc/passwd", "https://"),
        ("graph.microsoft.com", "https://"),
        ("//graph.microsoft.com", "https://"),
        ("https://", "https://"),
        ("https://graph.microsoft.com:port", "not an address"),
        ("", "https://"),
    ],
)
def test_any_other_base_is_refused_with_what_is_wrong(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as caught:
        BaseUrl(text, GRAPH)

    assert str(caught.value).startswith("base URL of graph.microsoft.com: ")


def test_a_password_in_a_base_is_not_repeated() -> None:
    with pytest.raises(ValueError) as caught:
        BaseUrl("https://me:hunter2@graph.microsoft.com", GRAPH)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("base", ["https://graph.microsoft.com/v1.0", "https://graph.microsoft.com/v1.0/"])
@pytest.mark.parametrize("path", ["/me/messages?$top=5", "me/messages?$top=5"])
def test_a_path_is_put_behind_the_base(base: str, path: str) -> None:
    assert str(BaseUrl(base, GRAPH).within(path)) == "https://graph.microsoft.com/v1.0/me/messages?$top=5"


@pytest.mark.parametrize(
    "link",
    [
        "https://graph.microsoft.com/v1.0/me/messages?$skiptoken=R0usmcdvmMu7jxWP8%2F%2B%3D&$select=id,subject",
        "https://graph.microsoft.com:443/v1.0/me/messages/delta()?$deltatoken=a..b/../c",
        "https://graph.microsoft.com/v1.0/chats/19:abc@thread.v2/messages",
    ],
)
def test_a_link_below_the_base_is_followed_as_it_is(link: str) -> None:
    url = BaseUrl("https://graph.microsoft.com/v1.0", GRAPH).within(link)

    assert url.raw_path.decode() == "/v1.0" + link.partition("/v1.0")[2]


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/me",
        "http://graph.microsoft.com/v1.0/me",
        "https://graph.microsoft.com:444/v1.0/me",
        "https://graph.microsoft.com/beta/me",
        "https://graph.microsoft.com/v1.00/me",
        "https://graph.microsoft.com/v1.0/../beta/me",
        "https://graph.microsoft.com/v1.0/%2e%2E/beta/me",
        "https://graph.microsoft.com/v1.0/..%2fbeta/me",
        "https://graph.microsoft.com/v1.0/..%5cbeta/me",
        "https://graph.microsoft.com@evil.example/v1.0/me",
        "https://graph.microsoft.com:443@evil.example/v1.0/me",
        "https://evil.example\\@graph.microsoft.com/v1.0/me",
        "https://evil.example#@graph.microsoft.com/v1.0/me",
        "https://evil.example?@graph.microsoft.com/v1.0/me",
        "https://graph.microsoft.com.evil.example/v1.0/me",
        "https:/v1.0/me",
        "https:graph.microsoft.com/v1.0/me",
        "//evil.example/v1.0/me",
        "//graph.microsoft.com/v1.0/me",
        "/../beta/me",
        "/%2e%2e/beta/me",
        "\\\\evil.example/me",
        "/me\r\nHost: evil.example",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://169.254.169.254/v1.0/latest",
        "https://[::1]/v1.0/me",
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(link: str) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        BaseUrl("https://graph.microsoft.com/v1.0", GRAPH).within(link)

    assert caught.value.metadata == {"cause": "FOREIGN_LINK"}
    assert "evil" not in str(caught.value)


def test_a_loopback_base_allows_its_own_port_only() -> None:
    base = BaseUrl("http://127.0.0.1:8080/v1.0", GRAPH)

    assert base.within("http://127.0.0.1:8080/v1.0/me").port == 8080
    for link in ("http://127.0.0.1:8081/v1.0/me", "http://localhost:8080/v1.0/me", "https://127.0.0.1:8080/v1.0/me"):
        with pytest.raises(ProviderUnavailable):
            base.within(link)


@given(st.text(max_size=60))
def test_whatever_a_link_is_it_stays_below_the_base_or_is_refused(link: str) -> None:
    base = BaseUrl("https://graph.microsoft.com/v1.0", GRAPH)
    try:
        url = base.within(link)
    except ProviderUnavailable:
        return

    assert (url.scheme, url.host, url.port) == ("https", GRAPH, None)
    assert url.raw_path.startswith(b"/v1.0/")
    assert url.userinfo == b""


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - to be refused
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_a_public_name_may_not_be_an_address_that_is_not_public(address: str) -> None:
    assert not may_connect(GRAPH, address)


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "2a00:1450:4001:810::200a", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_a_public_name_may_be_a_public_address(address: str) -> None:
    assert may_connect(GRAPH, address)


def test_the_names_of_this_machine_may_be_nothing_else() -> None:
    assert may_connect("localhost", "127.0.0.1")
    assert may_connect("127.0.0.1", "127.0.0.1")
    assert may_connect("localhost", "::1")
    assert not may_connect("localhost", PUBLIC)
    assert not may_connect("localhost", "192.168.1.1")


class FakeStream(httpcore2.AsyncNetworkStream):
    """A connection that nobody uses."""


class FakeNetwork(httpcore2.AsyncNetworkBackend):
    """Notes what is connected to; some addresses cannot be reached."""

    def __init__(self, *, unreachable: Sequence[str] = ()) -> None:
        self.connected: list[str] = []
        self._unreachable = unreachable

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.connected.append(host)
        if host in self._unreachable:
            raise httpcore2.ConnectError
        return FakeStream()


class FakeResolver:
    """Answers each question with the next of its answers."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    resolver, network = FakeResolver([PUBLIC], ["127.0.0.1"]), FakeNetwork()

    await CheckedNetwork(resolve=resolver, inner=network).connect_tcp(GRAPH, 443)

    assert (resolver.asked, network.connected) == (1, [PUBLIC])


async def test_a_name_that_has_become_another_address_is_refused_at_the_next_connection() -> None:
    resolver, network = FakeResolver([PUBLIC], ["169.254.169.254"]), FakeNetwork()
    checked = CheckedNetwork(resolve=resolver, inner=network)
    await checked.connect_tcp(GRAPH, 443)

    with pytest.raises(AddressRefused):
        await checked.connect_tcp(GRAPH, 443)

    assert network.connected == [PUBLIC]


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::ffff:127.0.0.1"], [PUBLIC, "10.0.0.1"], ["fe80::1", PUBLIC], []]
)
async def test_one_bad_address_is_enough_to_connect_to_none(addresses: list[str]) -> None:
    network = FakeNetwork()

    with pytest.raises(AddressRefused):
        await CheckedNetwork(resolve=FakeResolver(addresses), inner=network).connect_tcp(GRAPH, 443)

    assert network.connected == []


async def test_the_next_address_is_tried_when_one_cannot_be_reached() -> None:
    network = FakeNetwork(unreachable=[PUBLIC])

    await CheckedNetwork(resolve=FakeResolver([PUBLIC, OTHER_PUBLIC]), inner=network).connect_tcp(GRAPH, 443)

    assert network.connected == [PUBLIC, OTHER_PUBLIC]


async def test_a_name_with_a_hundred_addresses_is_given_up_after_a_few() -> None:
    addresses = [f"142.250.74.{number}" for number in range(100)]
    network = FakeNetwork(unreachable=addresses)

    with pytest.raises(httpcore2.ConnectError):
        await CheckedNetwork(resolve=FakeResolver(addresses), inner=network).connect_tcp(GRAPH, 443)

    assert network.connected == addresses[:4]


async def test_a_name_that_does_not_exist_cannot_be_reached() -> None:
    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror

    with pytest.raises(httpcore2.ConnectError):
        await CheckedNetwork(resolve=unknown, inner=FakeNetwork()).connect_tcp(GRAPH, 443)


async def test_there_are_no_sockets_of_files() -> None:
    with pytest.raises(AddressRefused):
        await CheckedNetwork().connect_unix_socket("/run/somebody.sock")


async def test_the_system_knows_this_machine() -> None:
    assert all(may_connect("localhost", address) for address in await resolve_host("localhost", 80))
