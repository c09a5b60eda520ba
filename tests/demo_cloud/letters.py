"""How the week's mails are written: from people to Livia, at times that are counted back from the present."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

from tests.emulator.mails import Attachment, Folder, Mail, compose

GMAIL = "livia@montanari.test"
OUTLOOK = "livia.montanari@contoso.example"
LIVIA = f"Livia Montanari <{GMAIL}>"
LIVIA_AT_WORK = f"Livia Montanari <{OUTLOOK}>"

CLARA = "Clara Webb <clara.webb@acme.test>"
TOM = "Tom Ellis <tom.ellis@acme.test>"
JONAS = "Jonas Kern <jonas.kern@zweiblatt.test>"
OSTERIA = "Osteria Gufo Blu <cucina@gufoblu.test>"
HELOISE = "Héloïse Marchand <heloise@tournebulle.test>"
MARISOL = "Marisol Vega <festival@luzmenuda.test>"


def letter(
    at: datetime,
    *,
    sender: str,
    subject: str,
    message_id: str,
    to: str = LIVIA,
    cc: str = "",
    text: str | None = None,
    html: str | None = None,
    attachments: tuple[Attachment, ...] = (),
    in_reply_to: str = "",
    headers: Mapping[str, str] | None = None,
    folder: Folder = "inbox",
    labels: tuple[str, ...] = (),
    thread: str = "",
    unread: bool = True,
) -> Mail:
    """Return a mail as most programs write it."""
    raw = compose(
        sender=sender,
        to=to,
        cc=cc,
        subject=subject,
        text=text,
        html=html,
        attachments=attachments,
        message_id=message_id,
        sent_at=at,
        in_reply_to=in_reply_to,
        headers=headers,
    )
    return Mail(raw=raw, received_at=at, folder=folder, labels=labels, thread=thread, unread=unread)


def invitation(
    at: datetime, *, sender: str, to: str, message_id: str, title: str, begin: datetime, hours: float, place: str
) -> Mail:
    """Return a mail that is nothing but a calendar's invitation."""
    name, _, address = sender.partition(" <")
    end = begin + timedelta(hours=hours)
    calendar = "\r\n".join(
        [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:-//Calendars of Others//EN",
            "METHOD:REQUEST",
            "BEGIN:VEVENT",
            f"UID:{message_id.strip('<>')}",
            f"DTSTART:{begin:%Y%m%dT%H%M%SZ}",
            f"DTEND:{end:%Y%m%dT%H%M%SZ}",
            f"SUMMARY:{title}",
            f"LOCATION:{place}",
            f"ORGANIZER;CN={name}:mailto:{address.rstrip('>')}",
            f"ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{to.partition('<')[2].rstrip('>')}",
            "END:VEVENT",
            "END:VCALENDAR",
            "",
        ]
    )
    mail = _headed(at, sender=sender, to=to, subject=f"Invitation: {title}", message_id=message_id)
    mail.set_content(calendar, subtype="calendar")
    mail.set_param("method", "REQUEST")
    return Mail(raw=mail.as_bytes(), received_at=at)


def unreadable(at: datetime, *, sender: str, subject: str, message_id: str, depth: int = 60) -> Mail:
    """Return a mail that two mailing lists have wrapped in each other until nobody reads it any more."""
    lines = [f"{name}: {value}" for name, value in _headed(at, sender=sender, to=LIVIA, subject=subject).items()]
    lines.append(f"Message-ID: {message_id}")
    for level in range(depth):
        lines += [f'Content-Type: multipart/mixed; boundary="b{level}"', "", f"--b{level}"]
    lines += [
        "Content-Type: text/plain",
        "",
        "You are subscribed.",
        *(f"--b{level}--" for level in reversed(range(depth))),
    ]
    return Mail(raw="\r\n".join(lines).encode(), received_at=at)


def _headed(at: datetime, *, sender: str, to: str, subject: str, message_id: str = "") -> EmailMessage:
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"], mail["To"], mail["Subject"], mail["Date"] = sender, to, subject, format_datetime(at)
    if message_id:
        mail["Message-ID"] = message_id
    return mail


def table(*rows: tuple[str, ...]) -> str:
    """Return an HTML table as mail programs write them; its first row is the header."""
    head, *others = rows
    written = [f"<tr>{''.join(f'<th style={chr(34)}padding:4px{chr(34)}>{cell}</th>' for cell in head)}</tr>"]
    written += [
        f"<tr>{''.join(f'<td style={chr(34)}padding:4px{chr(34)}>{cell}</td>' for cell in row)}</tr>" for row in others
    ]
    return f'<table border="1" cellspacing="0">{"".join(written)}</table>'


def gmail_quote(introduction: str, html: str) -> str:
    """Return what Gmail puts below an answer."""
    return (
        f'<div class="gmail_quote"><div dir="ltr" class="gmail_attr">{introduction}<br></div>'
        f'<blockquote class="gmail_quote" style="margin:0 0 0 .8ex;border-left:1px #ccc solid;padding-left:1ex">'
        f"{html}</blockquote></div>"
    )


def outlook_quote(headers: Mapping[str, str], html: str) -> str:
    """Return what Outlook puts below an answer."""
    lines = "<br>".join(f"<b>{name}</b> {value}" for name, value in headers.items())
    return (
        '<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm">'
        f'<p class="MsoNormal">{lines}</p></div>{html}'
    )
