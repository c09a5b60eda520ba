"""Postbox: letters with running numbers, which are also what tells a new one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from connectors import errors
from connectors.messages import domain
from connectors.messages.domain import FetchMode, JsonObject, Listing, Message, MessageFilter, Query, Ref
from connectors.messages.text.compose import compose
from connectors.providers import port
from connectors.providers.http import Answer, ProviderHttp
from connectors.providers.identity_http import IdentityHttp
from connectors.providers.network import BaseUrl
from connectors.providers.port import Account, RedirectBegun, Session
from connectors.providers.quotas import Now, Sleep


class PostboxIdentity:
    """An `Identity`: the redirect flow, and refresh tokens that stay."""

    flows = frozenset({port.Flow.REDIRECT})
    required_scopes = frozenset({"letters.read"})
    manage_url = "https://postbox.example/consents"

    def __init__(self, base: BaseUrl, *, now: Now, sleep: Sleep) -> None:
        self._base, self._now = base, now
        self._http = IdentityHttp((base,), now=now, sleep=sleep)

    async def begin_redirect(self, *, redirect_uri: str, state: str, login_hint: str, claims: str) -> RedirectBegun:
        query = urlencode({"redirect_uri": redirect_uri, "state": state})
        return RedirectBegun(url=f"{self._base.within('/consent')}?{query}", secret=b"{}")

    async def complete_redirect(self, secret: bytes, answer: Mapping[str, str]) -> port.Granted:
        if "error" in answer:
            raise errors.ConsentRefused
        told = await self._token({"code": answer.get("code", "")}, errors.CodeRefused())
        return port.Granted(tokens=self._tokens(told), account=Account(account_id=told["id"], address=told["address"]))

    async def begin_device(self) -> port.DeviceBegun:
        raise errors.FlowUnsupported

    async def poll_device(self, secret: bytes) -> port.Granted | None:
        raise errors.FlowUnsupported

    async def refresh(self, refresh_token: str, *, scopes: frozenset[str]) -> port.Tokens:
        return self._tokens(await self._token({"refresh_token": refresh_token}, port.GrantRefused("GRANT_REVOKED")))

    async def revoke(self, refresh_token: str) -> bool:
        return False

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _token(self, form: Mapping[str, str], refused: Exception) -> JsonObject:
        url, deadline = str(self._base.within("/token")), self._http.deadline()
        told = (await self._http.send("POST", url, deadline=deadline, form=form)).json()
        if told is None:
            raise refused
        return told

    def _tokens(self, told: JsonObject) -> port.Tokens:
        tokens = {name: told[name] for name in ("access_token", "refresh_token")}
        return port.Tokens(**tokens, expires_at=self._now() + timedelta(hours=1), scopes=self.required_scopes)


class Postbox:
    """A `Provider`. Its state is `{"after": <the last number when it was listed>}`."""

    name = "postbox"
    concurrency = 4

    def __init__(self, http: ProviderHttp, identity: port.Identity) -> None:
        self._http, self.identity = http, identity

    def check_filter(self, wanted: MessageFilter) -> None:
        for name, value in asdict(wanted).items():
            if value and name != "include_sent":
                raise errors.FilterUnsupported(f"filter.{name}", "Postbox cannot express this")

    async def account(self, session: Session) -> Account:
        told = await self._get(session, "/me")
        return Account(account_id=told["id"], address=told["address"])

    async def list_new(self, session: Session, query: Query) -> Listing:
        if query.state is None:
            return await self._list(session, query, 0, FetchMode.WINDOW)
        try:
            return await self._list(session, query, query.state["after"], FetchMode.INCREMENTAL)
        except _Gone:
            return await self._list(session, query, 0, FetchMode.RESYNC)

    async def _list(self, session: Session, query: Query, after: int, mode: FetchMode) -> Listing:
        refs: list[Ref] = []
        since = "" if mode is FetchMode.INCREMENTAL else query.since.isoformat()
        last: int | None = None
        while len(refs) <= query.max_refs:
            page = await self._get(session, "/letters", {"after": str(after), "since": since})
            if not isinstance(page.get("letters"), list) or not isinstance(page.get("last"), int):
                raise errors.ProviderUnavailable
            last = page["last"] if last is None else last
            if not page["letters"]:
                return Listing(mode=mode, refs=tuple(refs), state={"after": last})
            for told in page["letters"]:
                after = told["number"]
                refs.append(Ref(provider_id=str(after), received_at=datetime.fromisoformat(told["at"])))
        raise errors.WindowTooLarge(retry_after=None)

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        try:
            told = await self._get(session, f"/letters/{ref.provider_id}")
        except _Gone:
            raise domain.Vanished from None
        if not isinstance(told.get("text"), str):
            raise domain.Unreadable("The letter has no text.")
        return Message(
            key=ref.key,
            provider_id=ref.provider_id,
            thread_id=ref.provider_id,
            received_at=datetime.fromisoformat(told["at"]).astimezone(UTC),
            sender=domain.Participant(name=told["sender"]),
            attachments=tuple(domain.Attachment(**one) for one in told["files"]),
            **asdict(compose(told["text"], subject="", max_chars=max_body_chars)),
        )

    async def attachment(self, session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        if not attachment_id.isalnum():
            raise errors.AttachmentGone
        pieces = self._http.stream(session, f"/letters/{provider_id}/files/{attachment_id}", problem=_problem)
        try:
            async for piece in pieces:
                yield piece
        except _Gone:
            raise errors.AttachmentGone from None
        finally:
            await pieces.aclose()

    async def _get(self, session: Session, path: str, params: Mapping[str, str] | None = None) -> JsonObject:
        return await self._http.get_json(session, path, params=params, problem=_problem)


class _Gone(Exception):
    """There is no such letter, or Postbox does not remember the number to go on from."""


def _problem(answer: Answer) -> Exception | None:
    return _Gone() if answer.status in {404, 410} else None
