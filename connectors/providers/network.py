"""Where requests may go: base addresses, the links below them, and the network addresses that a name may stand for."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import unquote

import httpcore2
import httpx2

from connectors.errors import ProviderUnavailable

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the network addresses of a host name and port. Raises OSError when there are none."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"https": 443, "http": 80}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNSAFE = re.compile(r"[\s\\]")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOST_ADDRESSES_TRIED = 4


class AddressRefused(Exception):
    """A host name stands for a network address that must not be connected to."""


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """Where an API of a provider is: https at its known host, or anything on this machine.

    Everything that is sent goes to this origin and below this path.
    """

    text: str
    """Such as `https://graph.microsoft.com/v1.0` or `http://127.0.0.1:8080`; a slash at its end does not matter."""
    host: str
    """The only host that it may name beside those of the loopback interface."""
    url: httpx2.URL = field(init=False, repr=False, compare=False)
    is_loopback: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ValueError: It is not what it may be; the message names what is wrong.
        """
        try:
            url = _parsed(self.text)
            self._check(url)
        except ValueError as error:
            # Without the address itself: somebody may have put a password into it.
            raise ValueError(f"base URL of {self.host}: {error}") from None
        object.__setattr__(self, "url", url.copy_with(raw_path=url.raw_path.rstrip(b"/") or b"/"))
        object.__setattr__(self, "is_loopback", _host(url) in _LOOPBACK_NAMES)

    def _check(self, url: httpx2.URL) -> None:
        host = _host(url)
        if url.scheme not in _PORTS:
            raise ValueError("it must begin with https://")
        if "?" in self.text:
            raise ValueError("it must have no query")
        if host in _LOOPBACK_NAMES:
            return
        if host != self.host:
            raise ValueError(f"its host must be {self.host} or this machine (127.0.0.1, ::1, localhost)")
        if url.scheme != "https":
            raise ValueError("http is for this machine only: it must begin with https://")
        if url.port not in {None, 443}:
            raise ValueError("its port must be 443")

    def within(self, url_or_path: str) -> httpx2.URL:
        """Return the address of a path below this one, or a whole address as it is if it lies below this one.

        Args:
            url_or_path: `/me/messages` (with or without the first slash; it is put behind the base's own path), or an
                address that the provider gave, such as a next link.

        Raises:
            ProviderUnavailable: It leads anywhere else, or could be read in two ways. The cause is FOREIGN_LINK.
        """
        whole = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url_or_path) is not None
        prefix = self.url.raw_path.decode().rstrip("/")
        if not whole and not url_or_path.startswith("//"):
            url_or_path = f"{self._origin_text()}{prefix}/{url_or_path.removeprefix('/')}"
        try:
            url: httpx2.URL | None = _parsed(url_or_path)
        except ValueError:
            url = None
        if url is None or not self._holds(url, prefix):
            raise ProviderUnavailable(
                "The provider named an address that is not its own.", metadata={"cause": "FOREIGN_LINK"}
            )
        return url

    def _holds(self, url: httpx2.URL, prefix: str) -> bool:
        path = url.raw_path.decode().partition("?")[0]
        return (
            url.scheme == self.url.scheme
            and _host(url) == _host(self.url)
            and _port(url) == _port(self.url)
            and (path == prefix or path.startswith(f"{prefix}/"))
        )

    def _origin_text(self) -> str:
        return f"{self.url.scheme}://{self.url.netloc.decode()}"


def may_connect(host: str, address: str) -> bool:
    """Return whether a host may have this network address.

    The names of this machine may have its loopback addresses; every other name an address of the open internet that
    does not stand for one that is not.
    """
    found = ipaddress.ip_address(address)
    return found.is_loopback if host in _LOOPBACK_NAMES else _is_public(found)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver; see `Resolve`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that may be connected to.

    A name is resolved once a connection, all its addresses are checked, and one of those very addresses is connected
    to: a name that stands for something else a moment later changes nothing. TLS is still checked against the name.
    """

    def __init__(self, *, resolve: Resolve = resolve_host, inner: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._resolve = resolve
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect.

        Raises:
            AddressRefused: One of the addresses is not allowed, or there is none.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: No address can be reached.
        """
        addresses = await self._addresses(host, port)
        failure: Exception = httpcore2.ConnectError()
        for address in addresses[:_MOST_ADDRESSES_TRIED]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: no provider is there."""
        raise AddressRefused

    async def sleep(self, seconds: float) -> None:
        """Wait; the pool does so between its own retries, of which there are none."""
        await self._inner.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError from error
        # One bad address among good ones is no accident: the whole name is not to be trusted.
        if not addresses or not all(may_connect(host, address) for address in addresses):
            raise AddressRefused
        return addresses


class CheckedTransport(httpx2.AsyncHTTPTransport):
    """HTTP/1.1 over connections of a `CheckedNetwork`. No proxies, redirects, cookies or retries."""

    def __init__(
        self,
        network: httpcore2.AsyncNetworkBackend,
        *,
        most_connections: int = 256,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        trust = ssl_context or httpx2.create_ssl_context(trust_env=False)
        super().__init__(verify=trust, trust_env=False)
        # httpx2 has no public way to give a pool its network. `test_network.py` notices when this stops working.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=most_connections,
            max_keepalive_connections=most_connections // 4,
            keepalive_expiry=30.0,
            network_backend=network,
        )


def _parsed(text: str) -> httpx2.URL:
    """Return an absolute address; ValueError says what is wrong with it."""
    front, _, _ = text.partition("?")
    if _UNSAFE.search(front) or _CONTROL.search(text):
        raise ValueError("it must have no spaces, backslashes or control characters")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        raise ValueError("it is not an address") from None
    authority, _, path = front.partition("://")[2].partition("/")
    if not url.host:
        raise ValueError("it must begin with https:// and name a host")
    if url.userinfo or "@" in authority:
        raise ValueError("it must have no user name")
    if "#" in text:
        raise ValueError("it must have no fragment")
    # Whoever answers may decode the path before it looks for `..`, so that has to be done here as well.
    if any(part in {".", ".."} for part in re.split(r"[/\\]", unquote(path))):
        raise ValueError("it must have no `.` or `..` in its path")
    return url


def _host(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii").lower().strip("[]")


def _port(url: httpx2.URL) -> int | None:
    return url.port or _PORTS.get(url.scheme)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.teredo is not None:
            return False
        carried = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            carried = IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return _is_public(carried)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
