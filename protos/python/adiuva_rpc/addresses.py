"""Where a server listens and where a channel goes: host and port, and whether they leave the machine."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

MAX_PORT = 65_535


class ListenAddress:
    """A host and a port: "127.0.0.1:7001", "localhost:0", "[::1]:7001", "0.0.0.0:7001". Immutable.

    Attributes:
        host: A name or an IP address, without brackets.
        port: 0 lets the system choose.
    """

    __slots__ = ("host", "port")

    host: str
    port: int

    def __init__(self, host: str, port: int) -> None:
        if not host or not 0 <= port <= MAX_PORT or any(character.isspace() or character in "/@" for character in host):
            raise ValueError("not a host and a port from 0 to 65535")
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", port)

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read "host:port" or "[ipv6]:port".

        Raises:
            ValueError: It is neither.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or not port.isascii() or not port.isdigit():
            raise ValueError("must be host:port, e.g. 127.0.0.1:7001")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("an IPv6 address stands in brackets, e.g. [::1]:7001")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> ListenAddress:
        """Return the same host with another port."""
        return ListenAddress(self.host, port)

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"{type(self).__name__} is immutable"
        raise AttributeError(msg)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"ListenAddress({self.host!r}, {self.port})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListenAddress) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """Let settings hold addresses: text is parsed."""
        from pydantic_core import core_schema

        def validate(value: object) -> ListenAddress:
            if isinstance(value, ListenAddress):
                return value
            if isinstance(value, str):
                return cls.parse(value)
            raise ValueError("must be host:port")

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())
