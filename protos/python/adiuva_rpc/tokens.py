"""Bearer tokens: made, stored as hashes, recognised.

A token file is JSON, readable by its owner only:

    [{"name": "cli", "role": "user", "user_id": "anna", "sha256": "…64 hex digits…"},
     {"name": "orchestrator", "role": "service", "sha256": "…"}]
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

import structlog

from adiuva_rpc.identity import Authenticator, Caller, Role

TOKEN_PREFIX = "adv_"  # noqa: S105 - not a token: marks ours, so that logs can be searched and masked for them
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[A-Za-z0-9_-]{8,128}")
_FILE_ROLES = {"service": Role.SERVICE, "user": Role.USER}

_log = structlog.get_logger(__name__)


def new_token() -> tuple[str, str]:
    """Return a new bearer token (256 random bits) and its hash; store the hash, hand out the token once."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, token_hash(token)


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token in hex. Tokens are long and random, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenFileError(ValueError):
    """The token file is absent, open to others, or not as described. The text names the file and the fault."""


@dataclass(frozen=True, slots=True)
class _Entry:
    sha256: str
    caller: Caller


class TokenFile:
    """Recognises the bearer tokens of services and users from a file, which is read again when it changes.

    A changed file that cannot be read leaves the last good one in force, with an error in the log.

    Raises:
        TokenFileError: At the start, the file is not usable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _read(path)
        self._version = _version(path)

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        """Return whose token it is. Takes the same time whichever entry matches."""
        if scheme != "bearer":
            return None
        self._reload()
        presented = token_hash(credential)
        found: Caller | None = None
        for entry in self._entries:
            if hmac.compare_digest(entry.sha256, presented):
                found = entry.caller
        return found

    def _reload(self) -> None:
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._entries = _read(self._path)
        except TokenFileError as error:
            _log.error("token file not reloaded", fault=str(error))


class EnrolmentCodes:
    """Lets a caller with `authorization: Enrolment <code>` in as ENROLLING. The session redeems the code, once."""

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        """Return an ENROLLING caller that carries the code, if it could be one."""
        if scheme != "enrolment" or not _CODE.fullmatch(credential):
            return None
        return Caller(role=Role.ENROLLING, name="enrolling", code=credential)


class FirstOf:
    """Asks several authenticators in turn; the first that knows the credential decides."""

    def __init__(self, *authenticators: Authenticator) -> None:
        self._authenticators = authenticators

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        """Return what the first authenticator that knows the credential says."""
        for authenticator in self._authenticators:
            if (caller := await authenticator.authenticate(scheme, credential)) is not None:
                return caller
        return None


def _version(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _read(path: Path) -> tuple[_Entry, ...]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except OSError as error:
        msg = f"token file {path}: {error.strerror}"
        raise TokenFileError(msg) from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        msg = f"token file {path}: others may read it; run chmod 600 on it"
        raise TokenFileError(msg)
    try:
        rows = json.loads(text)
    except ValueError:
        msg = f"token file {path}: not JSON"
        raise TokenFileError(msg) from None
    if not isinstance(rows, list):
        msg = f"token file {path}: not a list of entries"
        raise TokenFileError(msg)
    return tuple(_entry(path, number, row) for number, row in enumerate(rows, start=1))


def _entry(path: Path, number: int, row: object) -> _Entry:
    def fault(text: str) -> TokenFileError:
        return TokenFileError(f"token file {path}, entry {number}: {text}")

    if not isinstance(row, dict):
        raise fault("not an object")
    if unknown := row.keys() - {"name", "role", "user_id", "sha256"}:
        msg = f"unknown keys: {', '.join(sorted(map(str, unknown)))}"
        raise fault(msg)
    name, user_id, digest = row.get("name"), row.get("user_id"), row.get("sha256")
    role = _FILE_ROLES.get(str(row.get("role", "")).lower())
    if not isinstance(name, str) or not name:
        raise fault("name is missing")
    if role is None:
        raise fault("role must be service or user")
    if (role is Role.USER) != (isinstance(user_id, str) and bool(user_id)):
        raise fault("a user has a user_id, a service has none")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise fault("sha256 must be 64 hex digits in lower case")
    return _Entry(digest, Caller(role=role, name=name, user_id=user_id or None))
