"""The endpoints that an application calls itself: token, devicecode, and the OpenID Connect documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.emulator.microsoft.login import Decision, DeviceFlow, Login, belongs
from tests.emulator.microsoft.login_errors import (
    BAD_GRANT,
    BAD_GRANT_TYPE,
    BAD_PARAMETER,
    BAD_SCOPE,
    BLOCKED,
    CODE_EXPIRED,
    CODE_REDIRECT,
    CODE_USED,
    CODE_VERIFIER,
    CONSENT_MISSING,
    DEVICE_DECLINED,
    DEVICE_EXPIRED,
    DEVICE_UNKNOWN,
    MISSING_PARAMETER,
    PENDING,
    REFRESH_EXPIRED,
    REVOKED,
    LoginError,
    Problem,
)
from tests.emulator.microsoft.people import CONSUMERS, SIGN_IN_SCOPES, WORK_ONLY_SCOPES, guid, known_scopes
from tests.emulator.microsoft.signing import base64url_json, jwks, signed
from tests.emulator.oauth import Grant, Issued, Refused, Why
from tests.emulator.parameters import BadParameter, Parameter, checked

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

HOST = "https://login.microsoftonline.com"
"""What the documents name, as the real ones do: clients that are pointed here rewrite it."""
VERIFICATION_URI = "https://microsoft.com/devicelogin"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

_CLIENT_PARAMETERS = {name: Parameter() for name in ("client_id", "client_secret", "scope", "claims", "client_info")}
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "authorization_code": ("code", "redirect_uri", "code_verifier"),
    "refresh_token": ("refresh_token",),
    _DEVICE_GRANT: ("device_code",),
}
"""What each grant type must come with."""
_REFUSALS: Mapping[Why, Problem] = {
    Why.USED: CODE_USED,
    Why.EXPIRED: CODE_EXPIRED,
    Why.REDIRECT: CODE_REDIRECT,
    Why.VERIFIER: CODE_VERIFIER,
}
_REFRESH_REFUSALS: Mapping[Why, Problem] = {
    Why.USED: REVOKED,
    Why.REVOKED: REVOKED,
    Why.EXPIRED: REFRESH_EXPIRED,
}


async def configuration(emulator: Emulator, request: web.Request) -> web.Response:
    """Answer `GET /{tenant}/v2.0/.well-known/openid-configuration`."""
    tenant = emulator.microsoft.login.check_tenant(request.match_info["tenant"])
    issued_by = {"common": "{tenantid}", "organizations": "{tenantid}", "consumers": CONSUMERS}.get(tenant, tenant)
    base = f"{HOST}/{tenant}"
    return web.json_response(
        {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_modes_supported": ["query"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "scopes_supported": list(SIGN_IN_SCOPES),
            "issuer": f"{HOST}/{issued_by}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "tenant_region_scope": None,
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
        }
    )


async def keys(emulator: Emulator, request: web.Request) -> web.Response:
    """Answer `GET /{tenant}/discovery/v2.0/keys`."""
    emulator.microsoft.login.check_tenant(request.match_info["tenant"])
    return web.json_response(jwks())


async def device_code(emulator: Emulator, request: web.Request) -> web.Response:
    """Answer `POST /{tenant}/oauth2/v2.0/devicecode`."""
    login = emulator.microsoft.login
    tenant = login.check_tenant(request.match_info["tenant"])
    form = _form(await request.post(), {name: Parameter() for name in ("client_id", "scope", "claims")})
    client = login.client(_needed(form, "client_id"))
    scopes = _existing(_needed(form, "scope"))
    flow = login.new_device(client_id=client.client_id, tenant=tenant, scopes=scopes)
    return web.json_response(
        {
            "user_code": flow.user_code,
            "device_code": flow.device_code,
            "verification_uri": VERIFICATION_URI,
            "expires_in": int((flow.expires_at - emulator.now()).total_seconds()),
            "interval": login.device_interval,
            "message": f"To sign in, open the page {VERIFICATION_URI} and enter the code {flow.user_code}.",
        }
    )


async def token(emulator: Emulator, request: web.Request) -> web.Response:
    """Answer `POST /{tenant}/oauth2/v2.0/token`."""
    login = emulator.microsoft.login
    tenant = login.check_tenant(request.match_info["tenant"])
    posted = await request.post()
    grant_type = str(posted.get("grant_type", ""))
    if not grant_type:
        raise LoginError(MISSING_PARAMETER, "grant_type")
    if grant_type not in _PARAMETERS:
        raise LoginError(BAD_GRANT_TYPE, grant_type)
    # Real clients send the device code a second time, under the name that an old version of the platform knew.
    extra = ("code",) if grant_type == _DEVICE_GRANT else ()
    names = ("grant_type", *_PARAMETERS[grant_type], *extra)
    form = _form(posted, {**_CLIENT_PARAMETERS, **{name: Parameter() for name in names}})
    client = login.authenticated(_needed(form, "client_id"), form.get("client_secret", ""))
    for name in _PARAMETERS[grant_type]:
        _needed(form, name)
    issue: dict[str, Callable[[Login, str, dict[str, str]], Issued]] = {
        "authorization_code": _by_code,
        "refresh_token": _by_refresh_token,
        _DEVICE_GRANT: _by_device_code,
    }
    issued = issue[grant_type](login, client.client_id, form)
    if not belongs(login.accounts[issued.grant.account], tenant):
        raise LoginError(BAD_GRANT, "tenant")
    nonce = issued.grant.nonce if grant_type == "authorization_code" else ""
    return web.json_response(
        _tokens(login, issued, nonce=nonce, client_info="client_info" in form),
        headers={"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"},
    )


def _by_code(login: Login, client_id: str, form: dict[str, str]) -> Issued:
    _existing(form.get("scope", ""))
    try:
        return login.grants.redeem(
            form["code"], client_id=client_id, redirect_uri=form["redirect_uri"], verifier=form["code_verifier"]
        )
    except Refused as refused:
        raise LoginError(_REFUSALS.get(refused.why, BAD_GRANT), "code") from refused


def _by_refresh_token(login: Login, client_id: str, form: dict[str, str]) -> Issued:
    asked = _existing(form.get("scope", ""))
    login.check_alive(form["refresh_token"])
    grant = login.grant_of(form["refresh_token"])
    if grant and set(asked) - set(grant.scopes) - set(SIGN_IN_SCOPES):
        raise LoginError(CONSENT_MISSING)
    kept = (
        ()
        if grant is None or not asked
        else tuple(scope for scope in grant.scopes if scope in asked or scope in SIGN_IN_SCOPES)
    )
    try:
        return login.grants.refresh(form["refresh_token"], client_id=client_id, scopes=kept)
    except Refused as refused:
        raise LoginError(_REFRESH_REFUSALS.get(refused.why, BAD_GRANT), "refresh_token") from refused


def _by_device_code(login: Login, client_id: str, form: dict[str, str]) -> Issued:
    flow = login.devices.get(form["device_code"])
    if flow is None or flow.client_id != client_id or form.get("code", flow.device_code) != flow.device_code:
        raise LoginError(DEVICE_UNKNOWN)
    flow.polls += 1
    _refuse_undecided(flow, expired=login.core.now() >= flow.expires_at)
    account = login.accounts[flow.account]
    forbidden = [scope for scope in flow.scopes if account.personal and scope in WORK_ONLY_SCOPES]
    if forbidden or not belongs(account, flow.tenant):
        raise LoginError(BAD_SCOPE, " ".join(forbidden))
    flow.decision = Decision.USED
    scopes = tuple(scope for scope in flow.scopes if scope not in login.consent.without_scopes)
    return login.grants.issue(
        Grant(account=flow.account, client_id=client_id, scopes=scopes, offline="offline_access" in scopes)
    )


def _refuse_undecided(flow: DeviceFlow, *, expired: bool) -> None:
    if flow.decision is Decision.USED:
        raise LoginError(DEVICE_UNKNOWN)
    if expired or flow.decision is Decision.EXPIRED:
        raise LoginError(DEVICE_EXPIRED)
    problems = {Decision.PENDING: PENDING, Decision.DECLINED: DEVICE_DECLINED, Decision.BLOCKED: BLOCKED}
    if flow.decision in problems:
        raise LoginError(problems[flow.decision])


def _tokens(login: Login, issued: Issued, *, nonce: str, client_info: bool) -> dict[str, Any]:
    account = login.accounts[issued.grant.account]
    answer: dict[str, Any] = {
        "token_type": "Bearer",
        # The platform names what the token is good for, and leaves out `offline_access`.
        "scope": " ".join(scope for scope in issued.scopes if scope != "offline_access"),
        "expires_in": issued.expires_in,
        "ext_expires_in": issued.expires_in,
        "access_token": issued.access_token,
    }
    if issued.refresh_token:
        answer["refresh_token"] = issued.refresh_token
    if "openid" in issued.scopes:
        answer["id_token"] = id_token(login, issued.grant, nonce=nonce)
    if client_info:
        answer["client_info"] = base64url_json({"uid": account.object_id, "utid": account.tenant})
    return answer


def id_token(login: Login, grant: Grant, *, nonce: str = "") -> str:
    """Return the id token that a grant comes with; `Login.id_token_claims` and `id_token_forged` change it."""
    account = login.accounts[grant.account]
    now = login.core.now()
    claims = {
        "aud": grant.client_id,
        "iss": f"{HOST}/{account.tenant}/v2.0",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=60)).timestamp()),
        "oid": account.object_id,
        "sub": guid(f"{grant.client_id}:{account.object_id}"),
        "tid": account.tenant,
        "ver": "2.0",
        "name": account.name if "profile" in grant.scopes else None,
        "preferred_username": account.address if "profile" in grant.scopes else None,
        "email": account.address if "email" in grant.scopes else None,
        "nonce": nonce or None,
        **login.id_token_claims,
    }
    return signed({name: value for name, value in claims.items() if value is not None}, forged=login.id_token_forged)


def _form(posted: Mapping[str, object], allowed: Mapping[str, Parameter]) -> dict[str, str]:
    try:
        given = checked([(name, str(value)) for name, value in posted.items()], allowed)
    except BadParameter as error:
        raise LoginError(BAD_PARAMETER, str(error)) from error
    return {name: values[0] for name, values in given.items()}


def _needed(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise LoginError(MISSING_PARAMETER, name)
    return form[name]


def _existing(asked: str) -> tuple[str, ...]:
    scopes, unknown = known_scopes(asked)
    if unknown:
        raise LoginError(BAD_SCOPE, unknown[0])
    return scopes
