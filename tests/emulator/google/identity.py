"""Google's authorization server: consent, tokens, revocation, and the device flow that Gmail does not have."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web

from tests.emulator.google.errors import OAuthError
from tests.emulator.google.state import GoogleState
from tests.emulator.google.tables import SCOPES
from tests.emulator.oauth import Client, Grant, Issued, Refused, Why
from tests.emulator.parameters import BadParameter, Parameter, checked

_NEEDED = Parameter(required=True)
_AUTHORIZE = {
    "client_id": _NEEDED,
    "redirect_uri": _NEEDED,
    "response_type": Parameter(required=True, values=("code",)),
    "scope": _NEEDED,
    # The real one does without these two; nobody should.
    "code_challenge": _NEEDED,
    "code_challenge_method": Parameter(required=True, values=("S256",)),
    "state": Parameter(),
    "access_type": Parameter(values=("online", "offline")),
    "prompt": Parameter(),
    "include_granted_scopes": Parameter(values=("true", "false")),
    "login_hint": Parameter(),
}
_PROMPTS = {"none", "consent", "select_account"}
_CLIENT = {"client_id": _NEEDED, "client_secret": Parameter()}
_TOKEN = {
    "authorization_code": {
        **_CLIENT,
        "grant_type": _NEEDED,
        "code": _NEEDED,
        "redirect_uri": _NEEDED,
        "code_verifier": _NEEDED,
    },
    "refresh_token": {**_CLIENT, "grant_type": _NEEDED, "refresh_token": _NEEDED, "scope": Parameter()},
}
_REFUSED = {
    Why.UNKNOWN: OAuthError("invalid_grant", "Bad Request"),
    Why.EXPIRED: OAuthError("invalid_grant", "Token has been expired or revoked."),
    Why.REVOKED: OAuthError("invalid_grant", "Token has been expired or revoked."),
    Why.USED: OAuthError("invalid_grant", "Bad Request"),
    Why.VERIFIER: OAuthError("invalid_grant", "Invalid code verifier."),
    Why.REDIRECT: OAuthError("redirect_uri_mismatch", "Bad Request"),
    Why.CLIENT: OAuthError("unauthorized_client", "Unauthorized", status=401),
}


class ConsentRefused(Exception):
    """The authorization request is wrong: an error page for the person, and no redirect."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")

    def answer(self) -> web.Response:
        """Return the page."""
        return web.Response(status=400, text=f"<html><title>Error 400: {self}</title></html>", content_type="text/html")


def authorize(google: GoogleState, request: web.Request) -> web.Response:
    """`GET /o/oauth2/v2/auth`: show no screen, but answer at once as `google.consent` says."""
    asked = _asked(request)
    client = google.clients.get(asked["client_id"])
    if client is None:
        raise ConsentRefused("invalid_client", "The OAuth client was not found.")
    if not client.allows(asked["redirect_uri"], any_loopback_path=True):
        raise ConsentRefused("redirect_uri_mismatch", asked["redirect_uri"])
    scopes = tuple(dict.fromkeys(asked["scope"].split()))
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise ConsentRefused("invalid_scope", " ".join(unknown))
    account = _who(google, asked)
    allowed = tuple(scope for scope in scopes if scope not in google.consent.without_scopes)
    if not google.consent.approve or not allowed:
        return _redirect(asked, {"error": "access_denied"})
    grant = _grant(google, asked, account, allowed)
    code = google.grants.new_code(grant, redirect_uri=asked["redirect_uri"], challenge=asked["code_challenge"])
    return _redirect(asked, {"code": code, "scope": " ".join(grant.scopes), "authuser": "0", "prompt": "consent"})


async def token(google: GoogleState, request: web.Request) -> web.Response:
    """`POST /token`."""
    form = await _form(request)
    table = _TOKEN.get(form.get("grant_type", ""))
    if table is None:
        raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
    _check_form(form, table)
    client = _client(google, form)
    try:
        issued = _issued(google, client, form)
    except Refused as refused:
        raise _REFUSED[refused.why] from refused
    reply = {
        "access_token": issued.access_token,
        "expires_in": issued.expires_in,
        "scope": " ".join(issued.scopes),
        "token_type": "Bearer",
    }
    if issued.refresh_token is not None:
        reply["refresh_token"] = issued.refresh_token
    return web.json_response(reply)


async def revoke(google: GoogleState, request: web.Request) -> web.Response:
    """`POST /revoke`, with the token in the form or, as the documentation shows it, in the query."""
    form = {**await _form(request), **request.query}
    _check_form(form, {"token": _NEEDED})
    if not google.grants.revoke_token(form["token"]):
        raise OAuthError("invalid_token", "Token expired or revoked")
    return web.json_response({})


async def device_code(google: GoogleState, request: web.Request) -> web.Response:
    """`POST /device/code`: no scope of Gmail may be had this way."""
    form = await _form(request)
    _check_form(form, {"client_id": _NEEDED, "scope": _NEEDED})
    if form["client_id"] not in google.clients:
        raise OAuthError("invalid_client", "The OAuth client was not found.", status=401)
    raise OAuthError("invalid_scope", f"Invalid device flow scope: {form['scope']}")


def _asked(request: web.Request) -> dict[str, str]:
    try:
        asked = {name: values[0] for name, values in checked(request.query.items(), _AUTHORIZE).items()}
    except BadParameter as error:
        raise ConsentRefused("invalid_request", str(error)) from error
    prompts = set(asked.get("prompt", "").split())
    if prompts - _PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise ConsentRefused("invalid_request", "Invalid parameter value for prompt")
    return asked


def _who(google: GoogleState, asked: Mapping[str, str]) -> str:
    """Return who consents: whoever the test says, else the hinted account, else who is signed in."""
    only = next(iter(google.accounts)) if len(google.accounts) == 1 else ""
    hinted = asked.get("login_hint", "")
    candidates = (google.consent.account, hinted if hinted in google.accounts else "", google.signed_in, only)
    account = next(filter(None, candidates), "")
    if account not in google.accounts:
        raise ConsentRefused("invalid_request", "nobody is signed in")
    return account


def _grant(google: GoogleState, asked: Mapping[str, str], account: str, scopes: tuple[str, ...]) -> Grant:
    before = [
        grant for grant in google.grants.grants_of(account) if grant.alive and grant.client_id == asked["client_id"]
    ]
    if asked.get("include_granted_scopes") == "true":
        scopes = tuple(dict.fromkeys((*scopes, *(scope for grant in before for scope in grant.scopes))))
    # Who consented before and is not asked again gets no second refresh token.
    again = any(grant.offline for grant in before) and "consent" not in asked.get("prompt", "")
    offline = asked.get("access_type") == "offline" and not again
    return Grant(account=account, client_id=asked["client_id"], scopes=scopes, offline=offline)


def _redirect(asked: Mapping[str, str], parameters: dict[str, str]) -> web.Response:
    if "state" in asked:
        parameters = {"state": asked["state"], **parameters}
    separator = "&" if "?" in asked["redirect_uri"] else "?"
    location = asked["redirect_uri"] + separator + urlencode(parameters)
    return web.Response(status=302, headers={"Location": location})


async def _form(request: web.Request) -> dict[str, str]:
    """Return the form; a field that is given twice is as wrong as one that is a file."""
    if request.content_type not in {"application/x-www-form-urlencoded", "application/octet-stream"}:
        raise OAuthError("invalid_request", f"Bad content type: {request.content_type}")
    pairs = list((await request.post()).items()) if request.body_exists else []
    form = {name: value for name, value in pairs if isinstance(value, str)}
    if len(form) != len(pairs):
        raise OAuthError("invalid_request", "Parameter not allowed more than once")
    return form


def _check_form(form: Mapping[str, str], table: Mapping[str, Parameter]) -> None:
    try:
        checked(form.items(), table)
    except BadParameter as error:
        raise OAuthError("invalid_request", str(error)) from error


def _client(google: GoogleState, form: Mapping[str, str]) -> Client:
    client = google.clients.get(form["client_id"])
    if client is None or google.switches.reject_clients:
        raise OAuthError("invalid_client", "The OAuth client was not found.", status=401)
    if form.get("client_secret", "") != client.secret:
        raise OAuthError("invalid_client", "Unauthorized", status=401)
    return client


def _issued(google: GoogleState, client: Client, form: Mapping[str, str]) -> Issued:
    if form["grant_type"] == "authorization_code":
        return google.grants.redeem(
            form["code"],
            client_id=client.client_id,
            redirect_uri=form["redirect_uri"],
            verifier=form["code_verifier"],
        )
    scopes = tuple(form.get("scope", "").split())
    granted = google.grants.scopes_of_refresh(form["refresh_token"])
    if set(scopes) - set(granted or scopes):
        raise OAuthError("invalid_scope", "Bad Request")
    return google.grants.refresh(form["refresh_token"], client_id=client.client_id, scopes=scopes)
