"""How users consent at Google, and how their grants stay alive."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import google.auth.exceptions
import google.oauth2.credentials
import httpcore2

from connectors.errors import (
    CodeRefused,
    ConnectionBlocked,
    ConsentRefused,
    FlowUnsupported,
    NeedsReauth,
    OperatorFault,
)
from connectors.providers.google.config import GMAIL_READONLY, GoogleConfig
from connectors.providers.google.problems import google_problem
from connectors.providers.google.replies import error_of, operator_fault, refresh_refusal, tokens_of
from connectors.providers.google.transport import GoogleTransport
from connectors.providers.identity_http import IdentityHttp, Send
from connectors.providers.port import Account, DeviceBegun, Flow, Granted, RedirectBegun, Tokens
from connectors.providers.quotas import Now, Sleep
from connectors.providers.retry import RetryPolicy, unavailable
from connectors.providers.wire import Answer

_SCOPES = frozenset({GMAIL_READONLY})
_TEMPORARY = frozenset({"server_error", "temporarily_unavailable"})


class GoogleIdentity:
    """The `Identity` of Gmail accounts: the redirect flow with PKCE, for reading only.

    Google offers its device flow for no scope of Gmail. An account is known by its address: the one scope that is
    asked for does not reveal Google's own id of it.
    """

    def __init__(
        self,
        config: GoogleConfig,
        *,
        now: Now,
        sleep: Sleep,
        retry: RetryPolicy | None = None,
        rng: Random | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """Make one; `aclose` ends it, or `async with`.

        Args:
            config: The client, and where Google is.
            now: The time, in UTC.
            sleep: Waits so many seconds.
            retry: How often to try.
            rng: Where jitter comes from.
            network: Makes the connections; see `Wire`.
        """
        self._config = config
        self._now = now
        self._http = IdentityHttp(
            (config.oauth2, config.api), now=now, sleep=sleep, retry=retry, rng=rng, network=network
        )

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
        """The redirect flow only."""
        return frozenset({Flow.REDIRECT})

    @property
    def required_scopes(self) -> frozenset[str]:
        """To read mail."""
        return _SCOPES

    @property
    def manage_url(self) -> str:
        """Where users end their consents by hand."""
        return "https://myaccount.google.com/connections"

    async def begin_redirect(self, *, redirect_uri: str, state: str, login_hint: str, claims: str) -> RedirectBegun:
        """Start a consent. Google knows no `claims`."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": self._config.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": " ".join(sorted(_SCOPES)),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "access_type": "offline",
            # Whoever consented before gets a refresh token again only if the question is put again.
            "prompt": "consent",
            **({"login_hint": login_hint} if login_hint else {}),
        }
        return RedirectBegun(
            url=f"{self._config.accounts.within('/o/oauth2/v2/auth')}?{urlencode(query)}",
            secret=json.dumps({"redirect_uri": redirect_uri, "verifier": verifier}).encode(),
        )

    async def complete_redirect(self, secret: bytes, answer: Mapping[str, str]) -> Granted:
        """Exchange the code of the browser's answer, and look up whose account it is.

        When less than `required_scopes` was granted, the account cannot be looked up, and both its fields are empty.

        Raises:
            ConsentRefused: The user or an administrator refused.
            CodeRefused: The code, the verifier or the issuer is not right, or no refresh token came with it.
        """
        code = self._code_of(answer)
        begun: dict[str, str] = json.loads(secret)
        deadline = self._http.deadline()
        reply = await self._http.send(
            "POST",
            self._endpoint("/token"),
            deadline=deadline,
            form={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": begun["redirect_uri"],
                "code_verifier": begun["verifier"],
                "client_id": self._config.client_id,
                "client_secret": self._config.client_secret,
            },
        )
        if not reply.is_success:
            raise operator_fault(reply) or CodeRefused()
        tokens = tokens_of(reply, asked=_SCOPES, now=self._now())
        if tokens.refresh_token is None:
            raise CodeRefused("Google gave no lasting access. Begin a new authorization.")
        if not tokens.scopes >= _SCOPES:
            return Granted(tokens=tokens, account=Account(account_id="", address=""))
        profile = await self._http.send(
            "GET",
            str(self._config.api.within("/gmail/v1/users/me/profile")),
            deadline=deadline,
            headers={"Authorization": f"Bearer {tokens.access_token}"},
        )
        return Granted(tokens=tokens, account=_account_of(profile))

    async def begin_device(self) -> DeviceBegun:
        """Refuse: there is none for Gmail."""
        raise FlowUnsupported

    async def poll_device(self, secret: bytes) -> Granted | None:
        """Refuse: there is none for Gmail."""
        raise FlowUnsupported

    async def refresh(self, refresh_token: str, *, scopes: frozenset[str]) -> Tokens:
        """Get a new access token. Google seldom gives a new refresh token with it.

        A caller who must not lose a new refresh token shields this call.

        Raises:
            GrantRefused: With GRANT_REVOKED, CONSENT_NEEDED (such as proving again who one is) or ACCESS_DENIED.
        """
        credentials = google.oauth2.credentials.Credentials(  # type: ignore[no-untyped-call] # it has no types
            token=None,
            refresh_token=refresh_token,
            token_uri=self._endpoint("/token"),
            client_id=self._config.client_id,
            client_secret=self._config.client_secret,
        )

        def work(send: Send) -> Answer | None:
            transport = GoogleTransport(send)
            # The error's text is Google's; the answer says the same in codes.
            with suppress(google.auth.exceptions.RefreshError):
                credentials.refresh(transport)  # type: ignore[no-untyped-call] # it has no types
            return transport.last

        answer = await self._http.in_thread(work, deadline=self._http.deadline())
        if answer is None:
            raise unavailable("UNREACHABLE")
        if not answer.is_success:
            raise refresh_refusal(answer)
        return tokens_of(answer, asked=scopes, now=self._now())

    async def revoke(self, refresh_token: str) -> bool:
        """End the grant. One that is dead already counts as ended."""
        answer = await self._http.send(
            "POST", self._endpoint("/revoke"), deadline=self._http.deadline(), form={"token": refresh_token}
        )
        if answer.is_success or error_of(answer) in {"invalid_token", "invalid_grant"}:
            return True
        raise unavailable(f"HTTP_{answer.status}")

    def _endpoint(self, path: str) -> str:
        return str(self._config.oauth2.within(path))

    def _code_of(self, answer: Mapping[str, str]) -> str:
        """Return the code of a browser's answer.

        What it says was written by the browser's user, if they want: no error in it is taken for the operator's.
        """
        if answer.get("iss", self._config.issuer) != self._config.issuer:
            raise CodeRefused("The answer came from somebody else than Google. Begin a new authorization.")
        error = answer.get("error", "")
        if error in _TEMPORARY:
            raise unavailable("TEMPORARY")
        if error:
            raise ConsentRefused
        code = answer.get("code", "")
        if not code:
            raise CodeRefused
        return code


def _account_of(profile: Answer) -> Account:
    if not profile.is_success:
        raise _no_account(profile)
    address = (profile.json() or {}).get("emailAddress")
    if not isinstance(address, str) or not address:
        raise unavailable("NOT_JSON")
    return Account(account_id=address.lower(), address=address)


def _no_account(profile: Answer) -> Exception:
    """Return why a new grant cannot be used, in the words of a consent."""
    problem = google_problem(profile)
    if isinstance(problem, OperatorFault):
        return problem
    if isinstance(problem, ConnectionBlocked | NeedsReauth):
        return ConsentRefused("Google or an administrator forbids access to this mailbox. Ask the administrator.")
    return CodeRefused() if profile.status == 401 else unavailable(f"HTTP_{profile.status}")
