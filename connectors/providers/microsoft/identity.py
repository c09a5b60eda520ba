"""How users of Microsoft's services consent, and how their grants stay alive: msal, in threads."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpcore2
import msal

from connectors.errors import CodeRefused, ProviderUnavailable, ScopeMissing, StateInvalid
from connectors.messages.domain import JsonObject
from connectors.providers.identity_http import IdentityHttp, Send
from connectors.providers.microsoft.answers import (
    PENDING,
    are_claims,
    refused_consent,
    refused_grant,
    refused_request,
    seconds_of,
    tokens_of,
)
from connectors.providers.microsoft.config import LOGIN_HOST, MicrosoftConfig
from connectors.providers.microsoft.id_token import KeyUnknown, account_of, checked_claims
from connectors.providers.microsoft.login import LoginHttp, LoginService
from connectors.providers.port import Account, DeviceBegun, Flow, Granted, RedirectBegun, Tokens
from connectors.providers.quotas import Now, Sleep
from connectors.providers.retry import RetryPolicy

OUTLOOK_SCOPES: Final = ("User.Read", "Mail.Read")

_SIGN_IN_SCOPES: Final = frozenset({"openid", "profile", "offline_access"})
"""What msal adds by itself, and refuses to be given."""
_ANSWERED: Final = ("code", "error", "error_description")
"""What is taken from the browser's answer; the rest of it is not ours to believe."""
_KEPT_OF_FLOW: Final = ("state", "redirect_uri", "scope", "nonce", "code_verifier", "claims_challenge")
_LONGEST_URL: Final = 2048
_LONGEST_INTERVAL: Final = 60
_NOTHING_LASTING: Final = (
    "Microsoft granted no lasting access (offline_access). Begin again and allow it; if that does not help, the"
    " operator has to add it to the application."
)


class _NoCache(msal.TokenCache):  # type: ignore[misc]  # msal is not typed
    """Keeps nothing: grants are kept sealed, by others. The one of msal's would also log codes."""

    def add(self, event: object, now: object = None) -> None:
        """Do nothing."""


class MicrosoftIdentity:
    """The consents of one application for one tenant and one set of scopes; an `Identity`.

    Each call works with an msal application of its own: msal keeps answers and tokens in memory, and replays errors.
    Microsoft has no way to end a single grant: `revoke` is always False.
    """

    def __init__(
        self,
        config: MicrosoftConfig,
        *,
        scopes: tuple[str, ...],
        now: Now,
        sleep: Sleep,
        retry: RetryPolicy | None = None,
        rng: Random | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """Make one; `aclose` ends it, or `async with`.

        Args:
            config: The application.
            scopes: What is asked for and needed, without those of the sign-in itself, such as `OUTLOOK_SCOPES`.
            now: The time, in UTC.
            sleep: Waits so many seconds.
            retry: How often to try.
            rng: Where jitter comes from.
            network: Makes the connections; see `Wire`.
        """
        # At DEBUG it tells of codes and verifiers.
        logging.getLogger("msal").setLevel(logging.WARNING)
        self._config = config
        self._scopes = scopes
        self._now = now
        self._http = IdentityHttp((config.login,), now=now, sleep=sleep, retry=retry, rng=rng, network=network)
        self._service = LoginService(config, http=self._http, now=now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def flows(self) -> frozenset[Flow]:
        """The ways there are."""
        return frozenset(Flow)

    @property
    def required_scopes(self) -> frozenset[str]:
        """Without these nothing can be read; lower case. `offline_access` is checked by whether it was given."""
        return frozenset(scope.lower() for scope in self._scopes)

    @property
    def manage_url(self) -> str:
        """Where users end their consents by hand."""
        if self._config.tenant == "consumers":
            return "https://account.live.com/consent/Manage"
        return "https://myapplications.microsoft.com/"

    async def begin_redirect(self, *, redirect_uri: str, state: str, login_hint: str, claims: str) -> RedirectBegun:
        """Start a consent with PKCE (S256) and a nonce."""
        flow = await self._with_msal(
            lambda app: app.initiate_auth_code_flow(
                scopes=list(self._scopes),
                redirect_uri=redirect_uri,
                state=state,
                login_hint=login_hint or None,
                prompt=None if login_hint else "select_account",
                claims_challenge=claims if claims and are_claims(claims) else None,
                # msal warns of any other; what is asked for is changed below.
                response_mode="form_post",
            )
        )
        secret = json.dumps({name: flow.get(name) for name in _KEPT_OF_FLOW})
        return RedirectBegun(url=self._authorization_url(str(flow["auth_uri"])), secret=secret.encode())

    async def complete_redirect(self, secret: bytes, answer: Mapping[str, str]) -> Granted:
        """Exchange the code of the browser's answer.

        Raises:
            ConsentRefused: The answer is an error of the user's or an administrator's making.
            CodeRefused: The code, the verifier, the issuer or the id token is not right.
            ScopeMissing: No lasting access was granted.
        """
        flow, deadline = json.loads(secret), self._http.deadline()
        metadata = await self._service.metadata(deadline=deadline)
        _check_issuer(answer.get("iss"), metadata.issuer)
        given = {name: answer[name] for name in _ANSWERED if answer.get(name)}
        given["state"] = answer.get("state", flow["state"])
        asked_at = self._now()
        try:
            result = await self._with_msal(
                lambda app: app.acquire_token_by_auth_code_flow(flow, given), deadline=deadline
            )
        except (ValueError, RuntimeError):
            # Another state or nonce, neither a code nor an error, or an id token that cannot be decoded.
            raise CodeRefused from None
        if "error" in result:
            raise refused_consent(result)
        return await self._granted(result, asked_at, deadline)

    async def begin_device(self) -> DeviceBegun:
        """Start a device code flow."""
        asked_at = self._now()
        scopes = sorted({*self._scopes, *_SIGN_IN_SCOPES})
        try:
            flow = await self._with_msal(lambda app: app.client.initiate_device_flow(scope=scopes))
            if "error" in flow:
                raise refused_request(flow)
            expires_at = asked_at + timedelta(seconds=seconds_of(flow["expires_in"]))
            secret = {"device_code": str(flow["device_code"]), "expires_at": expires_at.isoformat()}
            return DeviceBegun(
                user_code=str(flow["user_code"]),
                verification_uri=_https(flow["verification_uri"]),
                expires_at=expires_at,
                interval=timedelta(seconds=max(1, min(_LONGEST_INTERVAL, int(flow["interval"])))),
                secret=json.dumps(secret).encode(),
            )
        except (KeyError, ValueError, TypeError):
            raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"}) from None

    async def poll_device(self, secret: bytes) -> Granted | None:
        """Ask once; None while the user has not decided.

        Raises:
            ConsentRefused: Declined, or an administrator's policy forbids it.
            StateInvalid: Expired.
            CodeRefused: The code or the id token is not right.
            ScopeMissing: No lasting access was granted.
        """
        kept, deadline = json.loads(secret), self._http.deadline()
        asked_at = self._now()
        if asked_at >= datetime.fromisoformat(kept["expires_at"]):
            raise StateInvalid
        # Without the time of the last try, which msal would compare with a clock of its own; the caller keeps the pace.
        flow = {"device_code": kept["device_code"], "interval": 1}
        try:
            result = await self._with_msal(
                lambda app: app.client.obtain_token_by_device_flow(flow, exit_condition=lambda _flow: True),
                deadline=deadline,
            )
        except (ValueError, RuntimeError):
            raise CodeRefused from None
        if str(result.get("error")) in PENDING:
            return None
        if "error" in result:
            raise refused_consent(result)
        return await self._granted(result, asked_at, deadline)

    async def refresh(self, refresh_token: str, *, scopes: frozenset[str]) -> Tokens:
        """Get a new access token, and what Microsoft gives with it: usually a new refresh token.

        Raises:
            GrantRefused: See there.
        """
        ours = {scope.lower(): scope for scope in self._scopes}
        asked = sorted(ours.get(scope, scope) for scope in scopes - _SIGN_IN_SCOPES) or list(self._scopes)
        asked_at = self._now()
        try:
            result = await self._with_msal(lambda app: app.acquire_token_by_refresh_token(refresh_token, scopes=asked))
            if "error" in result:
                raise refused_grant(result)
            return tokens_of(result, asked_at)
        except (ValueError, KeyError, TypeError):
            raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"}) from None

    async def revoke(self, refresh_token: str) -> bool:
        """Return False: what Microsoft offers would end all sessions of the user's, with every application."""
        return False

    async def _with_msal(self, work: Callable[[Any], Any], *, deadline: datetime | None = None) -> JsonObject:
        """Run `work` with an application of msal's, in a thread.

        Raises:
            ProviderUnavailable, Throttled, OperatorFault: See `Identity`.
            ValueError, RuntimeError: What msal makes of answers that it cannot use.
        """
        deadline = deadline or self._http.deadline()
        metadata = await self._service.metadata(deadline=deadline)

        def run(send: Send) -> Any:
            return work(_application(self._config, LoginHttp(self._service, metadata, send)))

        found = await self._http.in_thread(run, deadline=deadline)
        if not isinstance(found, dict):
            raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"})
        return found

    async def _granted(self, result: JsonObject, asked_at: datetime, deadline: datetime) -> Granted:
        account = await self._account(str(result.get("id_token", "")), deadline)
        try:
            tokens = tokens_of(result, asked_at)
        except (ValueError, KeyError, TypeError):
            raise ProviderUnavailable(metadata={"cause": "NOT_UNDERSTOOD"}) from None
        if not tokens.refresh_token:
            raise ScopeMissing(_NOTHING_LASTING)
        return Granted(tokens=tokens, account=account)

    async def _account(self, id_token: str, deadline: datetime) -> Account:
        metadata = await self._service.metadata(deadline=deadline)
        for anew in (False, True):
            with suppress(KeyUnknown):
                claims = checked_claims(
                    id_token,
                    keys=await self._service.keys(metadata, deadline=deadline, anew=anew),
                    client_id=self._config.client_id,
                    issuer=metadata.issuer,
                    tenant=self._config.tenant,
                    now=self._now(),
                )
                return account_of(claims)
        raise CodeRefused("Microsoft's statement about who signed in is signed by nobody known.")

    def _authorization_url(self, url: str) -> str:
        parts = urlsplit(self._service.here(url))
        query = [pair for pair in parse_qsl(parts.query) if pair[0] != "response_mode"]
        return urlunsplit(parts._replace(query=urlencode([*query, ("response_mode", "query")])))


def _check_issuer(named: str | None, issuer: str) -> None:
    """Refuse an answer that says it is another server's (RFC 9207); Microsoft's own say nothing so far."""
    if named is None:
        return
    before, _, behind = issuer.partition("{tenantid}")
    if not (named.startswith(before) and named.endswith(behind)):
        raise CodeRefused("The answer is another server's. Begin a new authorization.")


def _application(config: MicrosoftConfig, http: LoginHttp) -> Any:
    return msal.ClientApplication(
        config.client_id,
        client_credential=config.client_secret,
        authority=f"https://{LOGIN_HOST}/{config.tenant}",
        http_client=http,
        token_cache=_NoCache(),
        http_cache={},
        # The environment is not to say where tokens come from.
        azure_region=msal.ClientApplication.DISABLE_MSAL_FORCE_REGION,
    )


def _https(address: object) -> str:
    if not isinstance(address, str) or not address.startswith("https://") or len(address) > _LONGEST_URL:
        raise ValueError("no address of a page")
    return address
