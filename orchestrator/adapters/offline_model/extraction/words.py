"""The words that the rules look for, in English, Italian, German, French and Spanish.

They stand as `normal` writes them: lower case, no accents, single spaces for everything else.
"""

from __future__ import annotations

import re
import unicodedata

from orchestrator.adapters.offline_model.extraction.items import COMPLETED, IN_PROGRESS, TODO

LANGUAGES = ("en", "it", "de", "fr", "es")

_APART = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """Return the text for comparisons: without accents, case, punctuation, hyphens and extra white space."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    return _APART.sub(" ", "".join(char for char in folded if not unicodedata.combining(char))).strip()


def _words(*lists: str) -> frozenset[str]:
    return frozenset(word.strip() for words in lists for word in words.split(","))


FREQUENT: dict[str, frozenset[str]] = {
    "en": _words("the, and, of, to, is, are, with, for, that, this, from, which, not, be, it, you, we, has, have, by"),
    "it": _words("il, lo, gli, che, di, e, per, con, non, una, sono, del, della, dei, alla, nel, entro, anche, questo"),
    "de": _words("der, die, das, und, ist, nicht, mit, ein, eine, den, dem, von, fur, auf, sich, wir, sie, bis, zum"),
    "fr": _words("le, les, des, et, est, une, pour, dans, que, qui, avec, sur, pas, nous, vous, au, aux, du, ce"),
    "es": _words("el, los, las, y, es, una, por, para, con, que, del, se, al, lo, como, mas, no, sus, antes"),
}
"""Words that tell languages apart."""

STATUS_WORDS: dict[str, str] = {
    **dict.fromkeys(
        _words(
            "done, complete, completed, closed, finished, resolved, delivered, yes, x, ok",
            "erledigt, fertig, abgeschlossen, gemacht",
            "fatto, fatta, completato, completata, finito, finita, concluso, conclusa, chiuso, chiusa",
            "termine, terminee, fait, faite, fini, finie",
            "hecho, hecha, completado, completada, terminado, terminada, listo, lista, cerrado, cerrada",
        ),
        COMPLETED,
    ),
    **dict.fromkeys(
        _words(
            "in progress, doing, wip, started, ongoing, under way",
            "in arbeit, in bearbeitung, lauft, begonnen, angefangen",
            "in corso, iniziato, iniziata, in lavorazione",
            "en cours, commence, commencee",
            "en curso, en progreso, en proceso, empezado, empezada, iniciado, iniciada",
        ),
        IN_PROGRESS,
    ),
    **dict.fromkeys(
        _words(
            "todo, to do, open, pending, not started, planned, new, no",
            "offen, geplant, neu, da fare, aperto, aperta",
            "a faire, ouvert, ouverte, por hacer, pendiente, abierto, abierta",
        ),
        TODO,
    ),
}
"""What a status cell says."""

LINE_STATUS_WORDS = {word: status for word, status in STATUS_WORDS.items() if word not in _words("x, ok, yes, no, new")}
"""What a word in brackets or behind a dash says at the end of a task."""

DROPPED = _words(
    "cancelled, canceled, dropped, annullato, annullata, abgesagt, verworfen, gestrichen, annule, annulee",
    "cancelado, cancelada",
)
"""A row with this status is no task any more."""

TASK_COLUMNS = _words(
    "task, tasks, todo, to do, action, action item, aufgabe, aufgaben, attivita, da fare, azione, compito",
    "tache, taches, a faire, tarea, tareas, por hacer",
)
WEAK_TASK_COLUMNS = _words("title, name, titolo, titel, titre, titulo, item, what, was, cosa")
"""These are tasks only in a table that has a column for the status, too."""
OWNER_COLUMNS = _words(
    "owner, assignee, assignees, assigned to, responsible, who",
    "verantwortlich, verantwortliche, zustandig, bearbeiter, wer",
    "responsabile, assegnato a, assegnata a, chi",
    "responsable, assigne a, assignee a, qui, asignado a, asignada a, encargado, encargada, quien",
)
DUE_COLUMNS = _words(
    "due, due date, due on, deadline, by, until, when, date",
    "fallig, fallig am, falligkeit, frist, termin, bis, wann, datum",
    "scadenza, entro, entro il, quando, data",
    "echeance, date limite, pour le, quand, vencimiento, fecha limite, plazo, para el, fecha, cuando",
)
STATUS_COLUMNS = _words(
    "status, state, progress, done, stato, fatto, stand, erledigt, statut, etat, fait, estado, hecho"
)

MILESTONE_COLUMNS = _words("milestone, event, meilenstein, tappa, evento, jalon, evenement, hito")

TASK_HEADINGS = _words(
    "actions, action items, action points, to do, todo, todos, to dos, next steps, tasks",
    "azioni, da fare, prossimi passi, attivita, compiti, aufgaben, nachste schritte, zu erledigen",
    "a faire, prochaines etapes, taches, tareas, acciones, pendientes, por hacer, proximos pasos",
)
"""Under a heading that is just this, every bullet is a task."""

AGENDA_HEADINGS = _words(
    "agenda, date, dates, key dates, important dates, timeline, schedule, milestones, roadmap, calendar, deadlines",
    "plan, scadenze, calendario, tappe, cronoprogramma, termine, zeitplan, meilensteine, fristen",
    "calendrier, echeances, jalons, planning, fechas, plazos, hitos, cronograma",
)
"""Under a heading that is just this, every line of a label and a day is a milestone."""

KINDS_OF_FILES = _words(
    "archive, attachments, desktop, docs, documents, downloads, files, inbox, mail, mails, misc, new folder, notes",
    "other, scans, temp, tmp, todo, archivio, documenti, note, posta, varie, anhange, dokumente, notizen, sonstiges",
    "courrier, divers, archivo, documentos, correo, notas, varios",
)
"""Names of folders that sort files by kind, whatever project they are about."""

DATE_LABELS = _words("date, data, datum, fecha")
"""What stands before a document's own date."""

MONTHS_AFTER_STOP = _words(
    "jan, januar, janner, feb, februar, mar, marz, apr, april, mai, jun, juni, jul, juli, aug, august, sep, sept",
    "september, okt, oktober, nov, november, dez, dezember",
)
"""German writes `12. März`: a full stop there ends no sentence."""

WEEKDAYS: dict[str, int] = {
    word: day
    for day, words in enumerate(
        (
            "monday, mon, lunedi, montag, lundi, lunes",
            "tuesday, tue, tues, martedi, dienstag, mardi, martes",
            "wednesday, wed, mercoledi, mittwoch, mercredi, miercoles",
            "thursday, thu, thurs, giovedi, donnerstag, jeudi, jueves",
            "friday, fri, venerdi, freitag, vendredi, viernes",
            "saturday, sat, sabato, samstag, sonnabend, samedi, sabado",
            "sunday, domenica, sonntag, dimanche, domingo",
        )
    )
    for word in _words(words)
}
"""Monday is 0."""

WEEKDAY_PATTERN = (
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|mon|tues?|wed|thu(?:rs)?|fri|sat"
    r"|(?:lune|marte|mercole|giove|vener)d[iì]|sabato|domenica"
    r"|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|sonnabend"
    r"|(?:lun|mar|mercre|jeu|vendre|same)di|dimanche"
    r"|lunes|martes|mi[eé]rcoles|jueves|viernes|s[aá]bado|domingo"
)
"""A regular expression of the same words as they are written."""

AROUND_WEEKDAYS = _words(
    "next, this, coming, prossimo, prossima, questo, questa, nachsten, nachster, kommenden, diesen",
    "prochain, ce, proximo, este",
)
"""What may stand before or behind a weekday and changes nothing: it is always the first one that comes."""

DAYS_AHEAD: dict[str, int] = {
    **dict.fromkeys(_words("today, oggi, heute, aujourd hui, hoy"), 0),
    **dict.fromkeys(_words("tomorrow, domani, morgen, demain, manana"), 1),
    **dict.fromkeys(_words("day after tomorrow, dopodomani, ubermorgen, apres demain, pasado manana"), 2),
}

INSTRUCTION = re.compile(
    r"\b(?:ignor|disregard|forget|overrid|missacht|vergiss|dimentic|oubli|olvid)\w*\b.{0,60}?"
    r"\b(?:instruction|prompt|rule|istruzion|regol|anweisung|regel|consigne|règle|instruccion|regla)\w*\b"
    r"|\bsystem\s+prompt\b",
    re.IGNORECASE,
)
"""What is said to assistants and not to the user is nobody's task."""
