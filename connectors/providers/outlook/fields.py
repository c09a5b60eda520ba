"""What is asked of Graph about mails, and in which form."""

from __future__ import annotations

from typing import Final

SLIM: Final = (
    "id",
    "internetMessageId",
    "receivedDateTime",
    "subject",
    "from",
    "toRecipients",
    "ccRecipients",
    "isRead",
    "isDraft",
    "hasAttachments",
)
"""What tells whether a mail is wanted."""
WHOLE: Final = (
    *SLIM,
    "conversationId",
    "parentFolderId",
    "sentDateTime",
    "categories",
    "webLink",
    "body",
    # What is new in the mail: the provider tells it from what is quoted.
    "uniqueBody",
    "internetMessageHeaders",
)
ATTACHMENT: Final = ("id", "name", "contentType", "size", "isInline")

KEPT_HEADERS: Final = frozenset({"in-reply-to", "references"})

_IMMUTABLE = 'IdType="ImmutableId"'
ONLY_IDS: Final = {"Prefer": _IMMUTABLE}
"""Ids that survive a move of the mail. They are another kind of id: every request has to ask for them."""


def preferences(*, page_size: int | None = None) -> dict[str, str]:
    """Return the headers of a request for mails: immutable ids, bodies as text, and pages of a size."""
    wishes = [_IMMUTABLE, 'outlook.body-content-type="text"']
    if page_size is not None:
        wishes.append(f"odata.maxpagesize={page_size}")
    return {"Prefer": ", ".join(wishes)}
