"""Outlook behind the port: the mail of Microsoft 365 and of Outlook.com."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from connectors.errors import AttachmentGone, AttachmentTooLarge, ProviderUnavailable
from connectors.messages.domain import (
    Attachment,
    JsonObject,
    LeftOut,
    Listing,
    Message,
    MessageFilter,
    Query,
    Ref,
    Unreadable,
    Vanished,
)
from connectors.providers.microsoft.graph import GraphApi, GraphNotFound, GraphRefused, GraphTooLarge
from connectors.providers.outlook.config import OutlookConfig
from connectors.providers.outlook.fields import ATTACHMENT, ONLY_IDS, WHOLE, preferences
from connectors.providers.outlook.filters import check, matches
from connectors.providers.outlook.listing import Lister
from connectors.providers.outlook.mail import attachment_of, message_of
from connectors.providers.port import Account, Identity, Session

MAX_ATTACHMENTS = 200
"""Of one mail, that are told."""
PIECE_BYTES = 256 * 1024

_ID = re.compile(r"[A-Za-z0-9_=+/-]{1,1024}")


class Outlook:
    """A `Provider`."""

    name = "outlook"

    def __init__(self, api: GraphApi, identity: Identity, config: OutlookConfig) -> None:
        """Make one.

        Args:
            api: Graph, within the quota of a mailbox.
            identity: Microsoft's, for `OUTLOOK_SCOPES`.
            config: How mailboxes are listed and read.
        """
        self._api = api
        self._identity = identity
        self._config = config
        self._lister = Lister(self._api, config)

    @property
    def identity(self) -> Identity:
        """How its users consent."""
        return self._identity

    @property
    def concurrency(self) -> int:
        """How many mails of one mailbox are read at a time."""
        return self._config.concurrency

    def check_filter(self, wanted: MessageFilter) -> None:
        """Refuse a filter that cannot be looked for; see the port."""
        check(wanted)

    async def account(self, session: Session) -> Account:
        """Tell whose account it is."""
        try:
            return await self._api.account(session)
        except GraphRefused as refused:
            raise _unexpected(refused) from None

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Find what is new; see the port."""
        return await self._lister.list_new(session, query)

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        """Read one mail; see the port. A mail with attachments takes a call to name them."""
        carried = ref.carried
        try:
            mail = carried if isinstance(carried, dict) else await self._mail(session, ref.provider_id)
            if not matches(mail, wanted):
                raise LeftOut
            attachments = await self._attachments(session, ref.provider_id) if mail.get("hasAttachments") else ()
        except GraphNotFound:
            raise Vanished from None
        except GraphTooLarge:
            raise Unreadable("The mail is longer than may be read.", reason="MESSAGE_TOO_LARGE") from None
        except GraphRefused as refused:
            raise _unexpected(refused) from None
        return await asyncio.to_thread(message_of, mail, ref, attachments, max_body_chars=max_body_chars)

    async def attachment(self, session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        """Yield an attachment's bytes; see the port."""
        if not _ID.fullmatch(provider_id) or not _ID.fullmatch(attachment_id):
            raise AttachmentGone
        path = f"{_path(provider_id)}/attachments/{quote(attachment_id, safe='')}/$value"
        pieces = self._api.stream(session, path, headers=ONLY_IDS, largest=self._config.attachment_bytes)
        # Not `async with`: this generator may be left in the middle, and is then closed by its caller.
        try:
            async for piece in pieces:
                for begin in range(0, len(piece), PIECE_BYTES):
                    yield piece[begin : begin + PIECE_BYTES]
        except GraphTooLarge:
            raise AttachmentTooLarge(retry_after=None) from None
        except GraphRefused:
            # Gone, an id of something else, or a link to a file in a cloud, which has no bytes here.
            raise AttachmentGone from None
        finally:
            await pieces.aclose()

    async def _mail(self, session: Session, provider_id: str) -> JsonObject:
        return await self._api.get(
            session, _path(provider_id), params={"$select": ",".join(WHOLE)}, headers=preferences()
        )

    async def _attachments(self, session: Session, provider_id: str) -> tuple[Attachment, ...]:
        params = {"$select": ",".join(ATTACHMENT), "$top": str(MAX_ATTACHMENTS)}
        page = await self._api.page(session, f"{_path(provider_id)}/attachments", params=params, headers=ONLY_IDS)
        return tuple(attachment_of(told) for told in page.values[:MAX_ATTACHMENTS])


def _path(provider_id: str) -> str:
    return f"/me/messages/{quote(provider_id, safe='')}"


def _unexpected(refused: GraphRefused) -> ProviderUnavailable:
    return ProviderUnavailable(metadata={"cause": f"HTTP_{refused.status}"})
