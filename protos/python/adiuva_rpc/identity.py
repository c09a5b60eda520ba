"""Who calls, and what they may call.

A caller presents `authorization: Bearer <token>` (a device that enrols: `authorization: Enrolment <code>`), or a client
certificate with the URI `spiffe://adiuva/<role>/<name>`, or both, which must then agree. A table says which roles may
call each method; a method that is not in it is refused. A servicer asks `current_caller()` who calls and
`user_for(caller, named)` whom the call is for. Authenticators of tokens are in `adiuva_rpc.tokens`.

This module imports no grpc.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import structlog

from adiuva_rpc.errors import Internal, InvalidArgument, PermissionDenied, Unauthenticated

AUTHORIZATION_HEADER: Final = "authorization"
USER_HEADER: Final = "adiuva-user"
"""Metadata in which a SERVICE names the user it acts for."""

MAX_CREDENTIAL_CHARS: Final = 4096
MAX_USER_CHARS: Final = 128

Metadata = Sequence[tuple[str, str | bytes]]

_log = structlog.get_logger(__name__)


@unique
class Role(Enum):
    """What kind of caller it is."""

    SERVICE = "service"
    """An internal service: acts for any user, whom it names."""
    USER = "user"
    """Bound to one user."""
    DEVICE = "device"
    """Bound to one user and one device."""
    ENROLLING = "enrolling"
    """Holds a one-time code, which the session has yet to redeem."""
    ANONYMOUS = "anonymous"
    """Nobody asked who it is: the method is open to anyone."""


Policy = Mapping[str, frozenset[Role]]
"""Full method name ("/adiuva.orchestrator.v1.RunService/GetRun") to the roles that may call it."""

ANYONE: Final = frozenset({Role.ANONYMOUS})
"""For methods that need no credential; a credential that is presented is not looked at."""
AUTHENTICATED: Final = frozenset({Role.SERVICE, Role.USER, Role.DEVICE})


def only(*roles: Role) -> frozenset[Role]:
    """Return an entry of a policy table: the roles that may call a method."""
    return frozenset(roles)


def methods_of(*modules: Any) -> set[str]:
    """Return the full names of all methods in generated `_pb2` modules: what a policy table must cover."""
    return {
        f"/{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls.

    Attributes:
        role: The kind of caller.
        name: For logs and audit: the service's name, the user's or device's id.
        user_id: The user a USER or DEVICE is bound to.
        device_id: The device a DEVICE is bound to.
        code: The one-time code an ENROLLING caller presented, not yet redeemed.
        acting_for: What the caller put into `adiuva-user`; use `user_for` instead of reading it.
    """

    role: Role
    name: str
    user_id: str | None = None
    device_id: str | None = None
    code: str | None = field(default=None, repr=False)
    acting_for: str | None = None


class Authenticator(Protocol):
    """Knows credentials of some kind."""

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        """Return whose credential it is, or None when it is not known here.

        Args:
            scheme: In lower case: "bearer", "enrolment".
            credential: Not empty, without white space, at most MAX_CREDENTIAL_CHARS. Never log it.

        Raises:
            PermissionDenied: Known, and revoked.
            ResourceExhausted: Too many attempts.
        """
        ...


class UserRequired(InvalidArgument):
    """A SERVICE did not say whom it acts for."""

    reason = "USER_REQUIRED"

    def __init__(self) -> None:
        super().__init__("user_id", f"name the user in the request or in the metadata key {USER_HEADER}")


class WrongUser(PermissionDenied):
    """The credential belongs to another user than the one named."""

    reason = "WRONG_USER"


def user_for(caller: Caller, named: str = "") -> str:
    """Return the user whom a call is for: the caller's own, or the one a SERVICE names.

    Args:
        caller: Who calls.
        named: The user named in the request, if it has such a field.

    Raises:
        WrongUser: A USER or DEVICE names another user, or a SERVICE names two.
        UserRequired: A SERVICE names nobody.
        PermissionDenied: The caller has no user (ENROLLING, ANONYMOUS).
    """
    claims = {claim for claim in (named, caller.acting_for) if claim}
    if caller.role is Role.SERVICE:
        if not claims:
            raise UserRequired
        if len(claims) > 1:
            raise WrongUser("The request and the metadata name different users.")
        return claims.pop()
    if not caller.user_id:
        raise PermissionDenied("This caller acts for no user.")
    if claims - {caller.user_id}:
        raise WrongUser
    return caller.user_id


_CALLER: ContextVar[Caller] = ContextVar("adiuva_caller")


def current_caller() -> Caller:
    """Return who called the method that runs now; also in the tasks that it started.

    Raises:
        Internal: Not inside a call, or the server has no gate.
    """
    try:
        return _CALLER.get()
    except LookupError:
        raise Internal("nobody was authenticated for this call") from None


@contextlib.contextmanager
def acting_as(caller: Caller) -> Iterator[None]:
    """Make `caller` the current caller inside the block. The server does this for each call."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


class Gate:
    """Decides whether a call may start, before any of its messages is read.

    Args:
        policy: Which roles may call which method.
        authenticator: Knows the credentials.
    """

    def __init__(self, policy: Policy, authenticator: Authenticator) -> None:
        self._policy = policy
        self._authenticator = authenticator

    async def admit(self, method: str, metadata: Metadata, certificate_uris: Iterable[str] = ()) -> Caller:
        """Return who calls `method`.

        Args:
            method: The full method name.
            metadata: Of the call, keys in lower case.
            certificate_uris: URI names of the peer's verified client certificate.

        Raises:
            Unauthenticated: No credential, or none that is accepted. The message is always the same.
            PermissionDenied: The method is not in the table, or not for this role.
        """
        roles = self._policy.get(method)
        if roles is None:
            raise PermissionDenied("This method is not in the server's policy table.")
        if Role.ANONYMOUS in roles:
            return Caller(role=Role.ANONYMOUS, name="anonymous")
        by_token = await self._by_credential(metadata)
        by_certificate = _by_certificate(certificate_uris)
        caller = by_token or by_certificate
        if caller is None:
            raise Unauthenticated
        if by_token and by_certificate and not _same(by_token, by_certificate):
            _log.warning(
                "credential and certificate differ", token_of=by_token.name, certificate_of=by_certificate.name
            )
            raise Unauthenticated
        if caller.role not in roles:
            msg = f"A caller with the role {caller.role.name} may not call this method."
            raise PermissionDenied(msg)
        return replace(caller, acting_for=_acting_for(metadata))

    async def _by_credential(self, metadata: Metadata) -> Caller | None:
        values = [value for key, value in metadata if key == AUTHORIZATION_HEADER]
        if not values:
            return None
        value = values[0]
        if len(values) > 1 or not isinstance(value, str) or len(value) > MAX_CREDENTIAL_CHARS:
            raise Unauthenticated
        scheme, _, credential = value.partition(" ")
        if not scheme or not credential or any(character.isspace() for character in credential):
            raise Unauthenticated
        caller = await self._authenticator.authenticate(scheme.lower(), credential)
        if caller is None:
            raise Unauthenticated
        return caller


def _acting_for(metadata: Metadata) -> str | None:
    values = [value for key, value in metadata if key == USER_HEADER]
    if not values:
        return None
    value = values[0]
    if len(values) > 1 or not isinstance(value, str) or not value.strip() or len(value) > MAX_USER_CHARS:
        raise InvalidArgument(USER_HEADER, f"one user id of at most {MAX_USER_CHARS} characters")
    return value


def _by_certificate(uris: Iterable[str]) -> Caller | None:
    """Read `spiffe://adiuva/service/<name>`, `…/user/<user>` or `…/device/<user>/<device>`; one such URI, or nobody."""
    ours = [parts for uri in uris if (parts := _spiffe_path(uri)) is not None]
    if not ours:
        return None
    match ours:
        case [["service", name]]:
            return Caller(role=Role.SERVICE, name=name)
        case [["user", user]]:
            return Caller(role=Role.USER, name=user, user_id=user)
        case [["device", user, device]]:
            return Caller(role=Role.DEVICE, name=device, user_id=user, device_id=device)
    raise Unauthenticated


def _spiffe_path(uri: str) -> list[str] | None:
    parsed = urlsplit(uri)
    if (parsed.scheme, parsed.netloc) != ("spiffe", "adiuva"):
        return None
    parts = [unquote(part) for part in parsed.path.split("/")[1:]]
    return parts if all(parts) else []


def _same(one: Caller, other: Caller) -> bool:
    if one.role is Role.SERVICE:
        return (one.role, one.name) == (other.role, other.name)
    return (one.role, one.user_id, one.device_id) == (other.role, other.user_id, other.device_id)
