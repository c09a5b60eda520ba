"""What lies in Livia's Outlook account, which most of her clients write to."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.demo_cloud.letters import HELOISE, JONAS, LIVIA_AT_WORK, MARISOL, OSTERIA, letter, outlook_quote
from tests.emulator.mails import Mail


def business_week(now: datetime) -> list[Mail]:
    """Return the mails of the week before `now`, oldest first."""
    return sorted(
        [*_shop(now), *_catalogue(now), *_allergens(now), *_poster(now), *_noise(now)],
        key=lambda mail: mail.received_at,
    )


def _shop(now: datetime) -> list[Mail]:
    due = f"{now + timedelta(days=14):%d.%m.%Y}"
    return [
        letter(
            now - timedelta(days=5.8),
            sender=JONAS,
            to=LIVIA_AT_WORK,
            subject="Zweiblatt Onlineshop: Produktfotos",
            text="Guten Tag Frau Montanari,\n\ndie neuen Produktfotos sind da.\n\n"
            "Bitte schneiden Sie die zwölf Produktfotos bis Freitag frei.\n\n"
            "Könnten Sie bitte den Text der Startseite kürzen?\n\nViele Grüße\nJonas Kern\n",
            message_id="<fotos-1@zweiblatt.test>",
            thread="fotos",
        ),
        letter(
            now - timedelta(days=2.1),
            sender=JONAS,
            to=LIVIA_AT_WORK,
            subject="AW: Zweiblatt Onlineshop: Produktfotos",
            text="Guten Tag Frau Montanari,\n\nbitte ergänzen Sie noch das Foto der Teekanne.\n\nJonas Kern\n\n"
            "-----Ursprüngliche Nachricht-----\nVon: Livia Montanari\nGesendet: Montag\n"
            "Betreff: Re: Zweiblatt Onlineshop: Produktfotos\n\nBitte schicken Sie mir die Fotos noch einmal größer.\n",
            message_id="<fotos-3@zweiblatt.test>",
            in_reply_to="<fotos-1@zweiblatt.test>",
            thread="fotos",
        ),
        letter(
            now - timedelta(days=4.5),
            sender=JONAS,
            to=LIVIA_AT_WORK,
            subject="Zweiblatt Onlineshop: Warenkorb",
            text="Protokoll: Warenkorb\n\nTeilnehmer: Jonas Kern, Livia Montanari\n\n"
            "Der Warenkorb zeigt künftig auch das Gewicht. Gutscheine bleiben, wie sie sind.\n\n"
            f"- [ ] Versandkosten für die Schweiz eintragen @livia bis {due}\n"
            "- [ ] Gewichte der Papiere liefern @jonas\n",
            message_id="<warenkorb-1@zweiblatt.test>",
        ),
        letter(
            now - timedelta(days=3.1),
            sender=JONAS,
            to=LIVIA_AT_WORK,
            subject="WG: Zweiblatt Onlineshop: Impressum",
            html="<p>Guten Tag Frau Montanari, das kam von unserer Anwältin.</p><p>Jonas Kern</p>"
            + outlook_quote(
                {
                    "Von:": "Kanzlei Ahrens &lt;ahrens@kanzlei.test&gt;",
                    "Gesendet:": f"{now - timedelta(days=3.5):%d.%m.%Y} 09:14",
                    "An:": "Jonas Kern &lt;jonas.kern@zweiblatt.test&gt;",
                    "Betreff:": "Zweiblatt Onlineshop: Impressum",
                },
                "<p>Guten Morgen,</p><p>bitte tauschen Sie die Telefonnummer im Impressum aus.</p><p>Ahrens</p>",
            ),
            message_id="<impressum-1@zweiblatt.test>",
        ),
    ]


def _catalogue(now: datetime) -> list[Mail]:
    first = (
        "<p>Bonjour Livia,</p><p>la couverture est superbe.</p>"
        "<p>Pourriez-vous nous envoyer la couverture en PDF avant vendredi ?</p>"
        "<p>Merci de corriger le nom de l'imprimeur en page 2.</p><p>Bien à vous</p><p>Héloïse</p>"
    )
    return [
        letter(
            now - timedelta(days=3.9),
            sender=HELOISE,
            to=LIVIA_AT_WORK,
            subject="Atelier Tournebulle Catalogue : couverture",
            html=first,
            message_id="<couverture-1@tournebulle.test>",
            thread="couverture",
        ),
        letter(
            now - timedelta(days=1.2),
            sender=HELOISE,
            to=LIVIA_AT_WORK,
            subject="RE: Atelier Tournebulle Catalogue : couverture",
            html="<p>Merci beaucoup !</p><p>Pouvez-vous ajouter le numéro ISBN au dos ?</p><p>Héloïse</p>"
            + outlook_quote(
                {
                    "De :": "Livia Montanari &lt;livia.montanari@contoso.example&gt;",
                    "Envoyé :": "lundi",
                    "À :": "Héloïse Marchand &lt;heloise@tournebulle.test&gt;",
                    "Objet :": "RE: Atelier Tournebulle Catalogue : couverture",
                },
                "<p>Bonjour Héloïse, c'est noté. Pourriez-vous m'envoyer le logo de l'imprimeur ?</p>" + first,
            ),
            message_id="<couverture-3@tournebulle.test>",
            in_reply_to="<couverture-1@tournebulle.test>",
            thread="couverture",
        ),
    ]


def _allergens(now: datetime) -> list[Mail]:
    due = f"{now + timedelta(days=9):%d/%m/%Y}"
    return [
        letter(
            now - timedelta(days=5.2),
            sender=OSTERIA,
            to=LIVIA_AT_WORK,
            # The project is not named here: it is known by its client, who writes.
            subject="Allergeni del risotto",
            text=f"Ciao Livia,\n\nper favore correggi gli allergeni del risotto entro il {due}.\n\nGrazie\nOreste\n",
            message_id="<allergeni-1@gufoblu.test>",
        ),
    ]


def _poster(now: datetime) -> list[Mail]:
    return [
        letter(
            now - timedelta(days=2.5),
            sender=MARISOL,
            to=LIVIA_AT_WORK,
            subject="Luz Menuda Festival: cartel definitivo",
            text="Hola Livia:\n\nel cartel nos gusta mucho.\n\n"
            "¿Podrías enviarnos el cartel en tamaño A3 antes del viernes?\n\n"
            "Por favor, revisa el nombre del patrocinador en la última línea.\n\nUn abrazo\nMarisol\n",
            message_id="<cartel-1@luzmenuda.test>",
        ),
    ]


def _noise(now: datetime) -> list[Mail]:
    """Return what holds nothing to do."""
    return [
        letter(
            now - timedelta(days=2.8),
            sender="Petra Ahlers <petra.ahlers@druckhaus.test>",
            to=LIVIA_AT_WORK,
            subject="Automatische Antwort: Andruck",
            text="Ich bin bis Montag nicht im Büro. Bitte wenden Sie sich in dringenden Fällen an meinen Kollegen.\n",
            message_id="<auto-1@druckhaus.test>",
            headers={"Auto-Submitted": "auto-replied"},
        ),
        letter(
            now - timedelta(days=1.7),
            sender="Le Carnet du Graphiste <bonjour@carnet.test>",
            to=LIVIA_AT_WORK,
            subject="Trois papiers pour l'hiver",
            html="<h1>Trois papiers</h1><p>Veuillez trouver notre sélection de la semaine.</p>"
            "<p>Pour vous désabonner, <a href='https://carnet.test/fin'>cliquez ici</a>.</p>",
            message_id="<carnet-12@carnet.test>",
            headers={"List-Unsubscribe": "<https://carnet.test/fin>"},
        ),
        letter(
            now - timedelta(days=0.3),
            sender="Building management <office@courtyard.test>",
            to=LIVIA_AT_WORK,
            subject="Water off on Thursday",
            text="Dear tenants,\n\nthe water is off on Thursday between 9 and 11.\n\nThe management\n",
            message_id="<water-1@courtyard.test>",
        ),
    ]
