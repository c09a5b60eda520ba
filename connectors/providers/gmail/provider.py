"""Gmail behind the port."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final
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
from connectors.messages.text.compose import compose
from connectors.messages.text.mail import Part
from connectors.messages.text.mime import read_parts
from connectors.providers.gmail.config import GmailConfig
from connectors.providers.gmail.listing import Lister, begins_at
from connectors.providers.gmail.payload import bytes_of, missing_texts, part_of, with_texts
from connectors.providers.gmail.search import check, matches
from connectors.providers.google.problems import GoogleNotFound, GoogleTooLarge, google_problem
from connectors.providers.http import Answer, Problem, ProviderHttp, Wait
from connectors.providers.port import Account, Identity, Session
from connectors.providers.quotas import Cost

PIECE_BYTES: Final = 256 * 1024

_ID = re.compile(r"[A-Za-z0-9_-]{1,2048}")


class Gmail:
    """A `Provider`."""

    name = "gmail"

    def __init__(self, http: ProviderHttp, identity: Identity, config: GmailConfig) -> None:
        """Make one.

        Args:
            http: Calls to Gmail's base URL, within its quota.
            identity: Google's.
            config: What calls cost.
        """
        self._http = http
        self._identity = identity
        self._config = config
        self._lister = Lister(http, config)

    @property
    def identity(self) -> Identity:
        """How its users consent."""
        return self._identity

    @property
    def concurrency(self) -> int:
        """How many messages of one mailbox are read at a time."""
        return self._config.concurrency

    def check_filter(self, wanted: MessageFilter) -> None:
        """Refuse a filter that cannot be searched for; see the port."""
        check(wanted)

    async def account(self, session: Session) -> Account:
        """Tell whose mailbox it is. The scope for reading mail names no other id than the address."""
        address = str((await self._lister.profile(session)).get("emailAddress") or "")
        if not address:
            raise ProviderUnavailable("Gmail did not tell whose mailbox this is.")
        return Account(account_id=address.lower(), address=address)

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Find what is new; see the port."""
        return await self._lister.list_new(session, query)

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        """Read one message; see the port."""
        try:
            found = await self._http.get_json(
                session,
                _path(ref.provider_id),
                params={"format": "full"},
                cost=Cost(units=self._config.get_units),
                problem=google_problem,
            )
            received_at = _received_at(found)
            if received_at.timestamp() < begins_at(ref.container):
                raise LeftOut
            root = await self._whole(session, ref.provider_id, _root(found))
        except GoogleNotFound:
            raise Vanished from None
        except GoogleTooLarge:
            raise Unreadable("The mail is longer than may be read.", reason="MESSAGE_TOO_LARGE") from None
        labels = tuple(str(label) for label in found.get("labelIds") or [])
        message = await asyncio.to_thread(
            _message, ref, found, root, received_at, labels, session.account.address, max_body_chars
        )
        if not matches(message, labels, wanted):
            raise LeftOut
        return message

    async def attachment(self, session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        """Yield an attachment's bytes; see the port."""
        if not _ID.fullmatch(provider_id) or not _ID.fullmatch(attachment_id):
            raise AttachmentGone
        try:
            data = bytes_of(await self._part(session, provider_id, attachment_id, problem=_gone_or_problem))
        except (GoogleNotFound, Unreadable):
            raise AttachmentGone from None
        except GoogleTooLarge:
            raise AttachmentTooLarge(retry_after=None) from None
        for begin in range(0, len(data), PIECE_BYTES):
            yield data[begin : begin + PIECE_BYTES]

    async def _whole(self, session: Session, message_id: str, root: Part) -> Part:
        """Return the parts with the long texts that Gmail gives one by one."""
        texts = {
            part.attachment_id: bytes_of(await self._part(session, message_id, part.attachment_id))
            for part in missing_texts(root)
        }
        return with_texts(root, texts) if texts else root

    async def _part(
        self, session: Session, message_id: str, attachment_id: str, *, problem: Problem = google_problem
    ) -> JsonObject:
        path = f"{_path(message_id)}/attachments/{quote(attachment_id, safe='')}"
        cost = Cost(units=self._config.attachment_units)
        return await self._http.get_json(session, path, cost=cost, problem=problem)


def _gone_or_problem(answer: Answer) -> Exception | Wait | None:
    """Return what an answer means; an id of a caller's that Gmail takes for none (400) is of nothing that is there."""
    return google_problem(answer) or (GoogleNotFound() if answer.status == 400 else None)


def _path(message_id: str) -> str:
    return f"/gmail/v1/users/me/messages/{quote(message_id, safe='')}"


def _received_at(found: JsonObject) -> datetime:
    """Return when Gmail took a message in: milliseconds of the epoch, as text."""
    try:
        return datetime.fromtimestamp(int(str(found["internalDate"])) / 1000, UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        raise Unreadable("The provider's answer is not a mail.") from None


def _root(found: JsonObject) -> Part:
    payload = found.get("payload")
    if not isinstance(payload, dict):
        raise Unreadable("The provider's answer is not a mail.")
    return part_of(payload)


def _message(
    ref: Ref,
    found: JsonObject,
    root: Part,
    received_at: datetime,
    labels: tuple[str, ...],
    address: str,
    max_body_chars: int,
) -> Message:
    mail = read_parts(root)
    text = compose(mail.text, subject=mail.subject, unique_body=None, max_chars=max_body_chars)
    return Message(
        key=ref.key,
        provider_id=ref.provider_id,
        internet_message_id=mail.message_id,
        thread_id=str(found.get("threadId") or ref.provider_id),
        in_reply_to=mail.in_reply_to,
        references=mail.references,
        received_at=received_at,
        sent_at=mail.sent_at,
        sender=mail.from_,
        to=mail.to,
        cc=mail.cc,
        subject=mail.subject,
        text=text.text,
        text_truncated=text.text_truncated,
        full_chars=text.full_chars,
        new_text=text.new_text,
        quoted_text_present=text.quoted_text_present,
        source_format=mail.source_format,
        attachments=tuple(
            Attachment(
                attachment_id=one.attachment_id,
                name=one.name,
                media_type=one.media_type,
                size_bytes=one.size_bytes,
                inline=one.inline,
            )
            for one in mail.attachments
        ),
        labels=labels,
        web_link=f"https://mail.google.com/mail/?authuser={quote(address)}#all/{quote(ref.provider_id)}",
    )
