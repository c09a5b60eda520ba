"""The one place where the text of a message is built from its body, of every provider alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.messages.text.cleaning import clean
from connectors.messages.text.clipping import DEFAULT_MAX_CHARS, clip
from connectors.messages.text.quotes import is_forward, split_quotes


@dataclass(frozen=True, slots=True)
class MessageText:
    """What a message says. Its repr shows nothing of it."""

    text: str = field(repr=False)
    """The whole body with its quotations, cut visibly when it is too long."""
    text_truncated: bool
    full_chars: int
    """Characters of the whole body."""
    new_text: str = field(repr=False)
    """What its author wrote in this message, cut likewise; the whole body when that cannot be told."""
    quoted_text_present: bool
    """Whether the body quotes something that `new_text` leaves out."""


def compose(
    body: str, *, subject: str, unique_body: str | None = None, max_chars: int = DEFAULT_MAX_CHARS
) -> MessageText:
    """Return the text of a message.

    Args:
        body: The whole body as text.
        subject: By which forwards are told; '' for a chat message.
        unique_body: What the provider says is new in the body; None when it does not say. It is believed, but for
            forwards and where it is empty: there the whole body is what the message says. Where the provider has left
            out nothing, our own rules look for quotations.
        max_chars: How long `text` and `new_text` may be, each.

    Raises:
        ValueError: `max_chars` is negative.
    """
    whole = clean(body).strip("\n").rstrip()
    new = _new_text(whole, subject, unique_body)
    clipped = clip(whole, max_chars)
    return MessageText(
        text=clipped.text,
        text_truncated=clipped.truncated,
        full_chars=clipped.full_chars,
        new_text=clip(new, max_chars).text,
        quoted_text_present=len("".join(new.split())) < len("".join(whole.split())),
    )


def _new_text(whole: str, subject: str, unique_body: str | None) -> str:
    if unique_body is None:
        return split_quotes(whole, subject=subject).new_text.strip("\n").rstrip()
    unique = clean(unique_body).strip("\n").rstrip()
    if not unique.strip() or is_forward(whole, subject=subject):
        return whole
    return split_quotes(whole, subject=subject).new_text.strip("\n").rstrip() if unique == whole else unique
