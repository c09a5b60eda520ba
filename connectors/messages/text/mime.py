"""A mail to text, from its bytes or from the parts that a provider tells."""

from __future__ import annotations

from connectors.messages.domain import Participant
from connectors.messages.text.addresses import participants
from connectors.messages.text.headers import date, decode_words, header, message_id, message_ids
from connectors.messages.text.mail import AttachmentInfo, MailText, Part, UnreadableCode, UnreadableMessage
from connectors.messages.text.parsing import parse
from connectors.messages.text.walking import read_body

__all__ = ["AttachmentInfo", "MailText", "Part", "UnreadableCode", "UnreadableMessage", "read_mime", "read_parts"]

_OF_A_MAIL = ("from", "to", "subject", "date", "message-id", "received", "return-path", "content-type", "mime-version")


def read_mime(raw: bytes) -> MailText:
    """Return the mail that `raw` is (RFC 5322). Damage is borne as far as anything can be read.

    Raises:
        UnreadableMessage: It is no mail, passes one of the bounds of `parsing`, or breaks the parser.
    """
    root = parse(raw)
    if not any(header(root.headers, name) for name in _OF_A_MAIL):
        raise UnreadableMessage(UnreadableCode.NOT_A_MAIL)
    return read_parts(root)


def read_parts(root: Part) -> MailText:
    """Return the mail whose parts begin at `root`, by the same rules as `read_mime`.

    Raises:
        UnreadableMessage: There are more parts, or they are nested deeper, than `parsing` allows.
    """
    body = read_body(root)
    authors = participants(header(root.headers, "from")) or participants(header(root.headers, "sender"))
    return MailText(
        subject=decode_words(header(root.headers, "subject")),
        from_=authors[0] if authors else Participant(),
        to=participants(header(root.headers, "to")),
        cc=participants(header(root.headers, "cc")),
        sent_at=date(header(root.headers, "date")),
        message_id=message_id(header(root.headers, "message-id")),
        in_reply_to=message_id(header(root.headers, "in-reply-to")),
        references=message_ids(header(root.headers, "references")),
        text=body.text,
        source_format=body.source_format,
        attachments=body.attachments,
    )
