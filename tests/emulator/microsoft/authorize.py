"""The authorize endpoint: what a browser is sent to, and what it brings back to the application."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from aiohttp import web

from tests.emulator.microsoft.login import Login, belongs
from tests.emulator.microsoft.login_errors import (
    ADMIN_NEEDED,
    BAD_CHALLENGE,
    BAD_PARAMETER,
    BAD_REDIRECT,
    BAD_RESPONSE_TYPE,
    BAD_SCOPE,
    CONSENT_REQUIRED,
    DECLINED,
    MISSING_CHALLENGE,
    MISSING_PARAMETER,
    NOT_SIGNED_IN,
    WRONG_TENANT,
    LoginError,
)
from tests.emulator.microsoft.people import WORK_ONLY_SCOPES, Account, guid, known_scopes
from tests.emulator.microsoft.signing import base64url_json
from tests.emulator.oauth import Client, Grant
from tests.emulator.parameters import BadParameter, Parameter, checked

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

_PARAMETERS = {
    "client_id": Parameter(),
    "redirect_uri": Parameter(),
    "response_type": Parameter(),
    "response_mode": Parameter(values=("query",)),
    "scope": Parameter(),
    "state": Parameter(),
    "nonce": Parameter(),
    "code_challenge": Parameter(),
    "code_challenge_method": Parameter(values=("S256",)),
    "login_hint": Parameter(),
    "domain_hint": Parameter(),
    "prompt": Parameter(values=("none", "login", "consent", "select_account")),
    "claims": Parameter(),
    "client_info": Parameter(values=("1",)),
    "X-AnchorMailbox": Parameter(),
    "client-request-id": Parameter(),
}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request whose client and redirect address are right: from here on errors go to the application."""

    login: Login
    tenant: str
    client: Client
    redirect_uri: str
    state: str
    given: dict[str, str]

    def account(self) -> Account:
        """Return who signs in."""
        hint = self.login.consent.account or self.given.get("login_hint", "") or self.login.signed_in
        everyone = self.login.accounts
        account = everyone.get(hint.lower()) if hint else next(iter(everyone.values()), None)
        if account is None or (not hint and len(everyone) > 1):
            raise LoginError(NOT_SIGNED_IN)
        if not belongs(account, self.tenant):
            raise LoginError(WRONG_TENANT, account.address)
        return account

    def scopes(self, account: Account) -> tuple[str, ...]:
        """Return the scopes that were asked for."""
        scopes, unknown = known_scopes(self.given["scope"])
        refused = [*unknown, *(scope for scope in scopes if account.personal and scope in WORK_ONLY_SCOPES)]
        if refused:
            raise LoginError(BAD_SCOPE, refused[0])
        return scopes

    def check(self) -> None:
        """Refuse what is missing or wrong."""
        for name in ("response_type", "scope"):
            if not self.given.get(name):
                raise LoginError(MISSING_PARAMETER, name)
        if self.given["response_type"] != "code":
            raise LoginError(BAD_RESPONSE_TYPE, self.given["response_type"])
        if not self.given.get("code_challenge") or "code_challenge_method" not in self.given:
            raise LoginError(MISSING_CHALLENGE)
        if not _CHALLENGE.fullmatch(self.given["code_challenge"]):
            raise LoginError(BAD_CHALLENGE)

    def decide(self, account: Account, scopes: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the person at the consent screen grants."""
        if self.given.get("prompt") == "none":
            consented = [one for one in self.login.grants.grants_of(account.address) if one.alive]
            if not any(set(scopes) <= set(one.scopes) for one in consented):
                raise LoginError(CONSENT_REQUIRED)
            return scopes
        if self.login.admin_needed:
            raise LoginError(ADMIN_NEEDED)
        if not self.login.consent.approve:
            raise LoginError(DECLINED)
        return tuple(scope for scope in scopes if scope not in self.login.consent.without_scopes)

    def sent_back(self, answer: dict[str, str]) -> web.Response:
        """Return the redirect to the application."""
        whole = answer | ({"state": self.state} if self.state else {})
        glue = "&" if "?" in self.redirect_uri else "?"
        location = f"{self.redirect_uri}{glue}{urlencode(whole, quote_via=quote)}"
        return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store, no-cache"})


async def authorize(emulator: Emulator, request: web.Request) -> web.Response:
    """Answer `GET /{tenant}/oauth2/v2.0/authorize`."""
    try:
        asked = _read(emulator.microsoft.login, request)
    except LoginError as error:
        return error.page(emulator.now(), emulator.number())
    try:
        return asked.sent_back(_answer(asked, request))
    except LoginError as error:
        if error.problem is WRONG_TENANT:
            return error.page(emulator.now(), emulator.number())
        answer = {
            "error": error.problem.error,
            "error_description": error.description(emulator.now(), emulator.number()),
            "error_uri": f"https://login.microsoftonline.com/error?code={error.problem.code}",
        }
        return asked.sent_back(answer | ({"error_subcode": "cancel"} if error.problem is DECLINED else {}))


def _read(login: Login, request: web.Request) -> _Asked:
    tenant = login.check_tenant(request.match_info["tenant"])
    given = {name: request.query.get(name, "") for name in ("client_id", "redirect_uri", "state")}
    for name in ("client_id", "redirect_uri"):
        if not given[name]:
            raise LoginError(MISSING_PARAMETER, name)
    client = login.client(given["client_id"])
    if not client.allows(given["redirect_uri"]):
        raise LoginError(BAD_REDIRECT, given["redirect_uri"])
    return _Asked(
        login=login,
        tenant=tenant,
        client=client,
        redirect_uri=given["redirect_uri"],
        state=given["state"],
        given=dict(request.query),
    )


def _answer(asked: _Asked, request: web.Request) -> dict[str, str]:
    try:
        checked(request.query.items(), _PARAMETERS)
    except BadParameter as error:
        raise LoginError(BAD_PARAMETER, str(error)) from error
    asked.check()
    if asked.given.get("prompt") == "none" and not asked.login.signed_in:
        raise LoginError(NOT_SIGNED_IN)
    account = asked.account()
    granted = asked.decide(account, asked.scopes(account))
    grant = Grant(
        account=account.address,
        client_id=asked.client.client_id,
        scopes=granted,
        offline="offline_access" in granted,
        nonce=asked.given.get("nonce", ""),
    )
    code = asked.login.grants.new_code(grant, redirect_uri=asked.redirect_uri, challenge=asked.given["code_challenge"])
    answer = {"code": code, "session_state": guid(f"session:{code}")}
    if "client_info" in asked.given:
        answer["client_info"] = base64url_json({"uid": account.object_id, "utid": account.tenant})
    return answer
