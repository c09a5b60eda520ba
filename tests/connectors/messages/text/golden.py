"""The mails beside this file and what is made of them; `python -m tests.connectors.messages.text.golden` writes it."""

from __future__ import annotations

from pathlib import Path

from connectors.messages.domain import Participant
from connectors.messages.text.compose import compose
from connectors.messages.text.mime import MailText, read_mime

MAILS = Path(__file__).parent / "mails"


def names() -> list[str]:
    return sorted(path.stem for path in MAILS.glob("*.eml"))


def raw(name: str) -> bytes:
    return (MAILS / f"{name}.eml").read_bytes()


def mail(name: str) -> MailText:
    return read_mime(raw(name))


def expected(name: str) -> str:
    return (MAILS / f"{name}.txt").read_text(encoding="utf-8")


def told(name: str) -> str:
    """Everything that is made of a mail, to be read in a review."""
    read = mail(name)
    message = compose(read.text, subject=read.subject)
    lines = [
        f"subject: {read.subject}",
        f"from: {_who(read.from_)}",
        f"to: {', '.join(map(_who, read.to))}",
        f"cc: {', '.join(map(_who, read.cc))}",
        f"sent: {read.sent_at.isoformat() if read.sent_at else ''}",
        f"id: {read.message_id}",
        f"answers: {read.in_reply_to}",
        f"thread: {' '.join(read.references)}",
        f"format: {read.source_format.value}",
        *(
            f"{'picture' if file.inline else 'file'}: {file.name} ({file.media_type}, {file.size_bytes} bytes)"
            for file in read.attachments
        ),
        "======== text",
        message.text,
        "======== new",
        message.new_text if message.quoted_text_present else "(all of it)",
        "",
    ]
    return "\n".join(line.rstrip() if line.endswith(": ") else line for line in lines)


def _who(participant: Participant) -> str:
    return f"{participant.name} <{participant.address}>".strip()


def main() -> None:
    for name in names():
        (MAILS / f"{name}.txt").write_text(told(name), encoding="utf-8")


if __name__ == "__main__":
    main()
