"""What lies in Livia's Gmail account: the older one, where private things end up, too."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.demo_cloud.letters import (
    CLARA,
    LIVIA,
    MARISOL,
    OSTERIA,
    TOM,
    gmail_quote,
    invitation,
    letter,
    table,
    unreadable,
)
from tests.emulator.mails import Attachment, Mail


def private_week(now: datetime) -> list[Mail]:
    """Return the mails of the week before `now`, oldest first."""

    def ago(days: float) -> datetime:
        return now - timedelta(days=days)

    return sorted(
        [
            *_images(now),
            *_relaunch(now),
            *_menu(now),
            *_programme(now),
            *_noise(now),
            _to_herself(ago(1.4)),
            _evening(now),
        ],
        key=lambda mail: mail.received_at,
    )


def _images(now: datetime) -> list[Mail]:
    sizes = Attachment("hero-sizes.txt", b"landing 2400x1200\nabout 1200x1200\nteam 1200x800\n", "text/plain")
    return [
        letter(
            now - timedelta(days=6.1),
            sender=CLARA,
            subject="Acme Website Relaunch: hero images",
            text="Hi Livia,\n\nthe photographer sent the hero images, the sizes are attached.\n\n"
            "Could you crop the three hero images for the landing page by Friday?\n\n"
            "Please tell me which of them needs a licence.\n\nMany thanks\nClara\n\n"
            "-- \nClara Webb\nAcme Garden Tools\n",
            message_id="<hero-1@acme.test>",
            attachments=(sizes,),
            thread="hero",
        ),
        letter(
            now - timedelta(days=5.4),
            sender=LIVIA,
            to=CLARA,
            folder="sent",
            unread=False,
            subject="Re: Acme Website Relaunch: hero images",
            text="Hi Clara,\n\nI will have a look tomorrow. Could you send me the fourth one, too?\n\nLivia\n",
            message_id="<hero-2@montanari.test>",
            in_reply_to="<hero-1@acme.test>",
            thread="hero",
        ),
        letter(
            now - timedelta(days=4.9),
            sender=CLARA,
            subject="Re: Acme Website Relaunch: hero images",
            text="Hi Livia,\n\none more thing: please add a caption to the second hero image.\n\nClara\n\n"
            "On Tuesday Livia Montanari <livia@montanari.test> wrote:\n> Hi Clara,\n>\n"
            "> I will have a look tomorrow. Could you send me the fourth one, too?\n>\n> Livia\n",
            message_id="<hero-3@acme.test>",
            in_reply_to="<hero-2@montanari.test>",
            thread="hero",
        ),
    ]


def _relaunch(now: datetime) -> list[Mail]:
    freeze, shoot = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (20, 12))
    dates = table(("Milestone", "Date"), ("Photo shoot in the showroom", shoot), ("Content freeze", freeze))
    return [
        letter(
            now - timedelta(days=5.6),
            sender=CLARA,
            cc=TOM,
            subject="Fwd: Acme Website Relaunch: analytics",
            text="Hi Livia,\n\nthis one is for you.\n\nClara\n\n---------- Forwarded message ---------\n"
            f"From: {TOM}\nDate: {now - timedelta(days=5.8):%Y-%m-%d %H:%M}\n"
            f"Subject: Acme Website Relaunch: analytics\nTo: {CLARA}\n\n\n"
            "Hi Clara,\n\nthe account for the analytics is ready.\n\n"
            "Please add the tracking code to the staging server.\n\nTom\n",
            message_id="<analytics-1@acme.test>",
        ),
        letter(
            now - timedelta(days=3.6),
            sender=TOM,
            subject="Acme Website Relaunch: dates",
            html=f"<p>Hi Livia,</p><p>these are the days that we agreed on:</p>{dates}<p>Tom</p>",
            message_id="<dates-1@acme.test>",
        ),
        letter(
            now - timedelta(days=0.9),
            sender=CLARA,
            subject="Acme Website Relaunch: where we are",
            text="Hi Livia,\n\nthis is how far we are:\n\n- [x] Add a cookie notice\n"
            "- [ ] Ask the printer for the shop window stickers\n\nClara\n",
            message_id="<list-1@acme.test>",
        ),
    ]


def _menu(now: datetime) -> list[Mail]:
    first = (
        "<p>Ciao Livia,</p><p>la carta dei vini è cambiata.</p>"
        "<p>Per favore aggiungi i due vini nuovi alla pagina 4.</p>"
        "<p>Potresti mandarci il PDF per la stampa entro venerdì?</p><p>Oreste</p>"
    )
    answer = gmail_quote("Il giorno martedì Osteria Gufo Blu &lt;cucina@gufoblu.test&gt; ha scritto:", first)
    return [
        letter(
            now - timedelta(days=4.2),
            sender=OSTERIA,
            subject="Gufo Blu Menu: la carta dei vini",
            html=first,
            message_id="<vini-1@gufoblu.test>",
            thread="vini",
        ),
        letter(
            now - timedelta(days=2.9),
            sender=OSTERIA,
            subject="Re: Gufo Blu Menu: la carta dei vini",
            html="<div><p>Grazie!</p><p>Un'ultima cosa: puoi togliere il prezzo del Barolo?</p><p>Oreste</p></div>"
            + answer,
            message_id="<vini-2@gufoblu.test>",
            in_reply_to="<vini-1@gufoblu.test>",
            thread="vini",
        ),
    ]


def _programme(now: datetime) -> list[Mail]:
    first, second = (f"{now + timedelta(days=days):%d/%m/%Y}" for days in (8, 11))
    tasks = table(
        ("Tarea", "Responsable", "Fecha límite"),
        ("Maquetar el programa de mano", "Livia", first),
        ("Confirmar los horarios del sábado", "Marisol", second),
    )
    return [
        letter(
            now - timedelta(days=0.8),
            sender=MARISOL,
            subject="Luz Menuda Festival: programa de mano",
            html=f"<p>Hola Livia:</p><p>nos hemos repartido el trabajo así:</p>{tasks}<p>Un abrazo<br>Marisol</p>",
            message_id="<programa-1@luzmenuda.test>",
        ),
    ]


def _to_herself(at: datetime) -> Mail:
    return letter(
        at,
        sender=LIVIA,
        subject="Note to myself",
        text="TODO: renew the domain of the studio\nTODO: ask the accountant about the winter invoices\n",
        message_id="<note-1@montanari.test>",
    )


def _evening(now: datetime) -> Mail:
    begin = (now + timedelta(days=16)).replace(hour=18, minute=30, second=0, microsecond=0)
    return invitation(
        now - timedelta(days=1.9),
        sender="Freelancers Meetup <meetup@freelancers.test>",
        to=LIVIA,
        message_id="<evening-1@freelancers.test>",
        title="Portfolio evening",
        begin=begin,
        hours=2.5,
        place="Via del Pratello 12\\, Bologna",
    )


def _noise(now: datetime) -> list[Mail]:
    """Return what holds nothing to do, and what cannot be read."""
    return [
        letter(
            now - timedelta(days=3.3),
            sender="Paper & Type Weekly <news@papertype.test>",
            subject="Ten typefaces for the winter",
            html="<div style='display:none'>Open me!</div><h1>Ten typefaces</h1>"
            "<table><tr><td>Marlow</td><td>12 styles</td></tr><tr><td>Otter</td><td>4 styles</td></tr></table>"
            "<p>Please tell us by Friday which one is yours.</p>"
            "<p><a href='https://papertype.test/unsubscribe'>Unsubscribe</a></p>",
            message_id="<news-88@papertype.test>",
            headers={"List-Unsubscribe": "<https://papertype.test/unsubscribe>", "Precedence": "bulk"},
            labels=("CATEGORY_PROMOTIONS",),
        ),
        unreadable(
            now - timedelta(days=2.2),
            sender="Lists <lists@loop.test>",
            subject="Fwd: Fwd: Fwd: welcome",
            message_id="<loop-1@loop.test>",
        ),
        letter(
            now - timedelta(days=0.6),
            sender="Hosting <no-reply@hosting.test>",
            subject="Your invoice 2291 is ready",
            text="Dear customer,\n\nyour invoice 2291 is ready. It was paid by card; nothing is left to do.\n\n"
            "Please do not reply to this mail.\n",
            message_id="<invoice-2291@hosting.test>",
            headers={"Auto-Submitted": "auto-generated"},
        ),
    ]
