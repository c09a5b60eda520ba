"""A week of a freelancer's mail, in two mailboxes: clients who ask for things, and all the rest that lies in an inbox.

It is the freelancer of the sample folder. The mails are in English, Italian, German, French and Spanish; among them are
a newsletter in HTML, an invitation, tables, answers with what they quote, forwards, an attachment, and one that cannot
be read. Times are counted back from the present, so that the week is always the last one.
"""

from __future__ import annotations

from datetime import datetime

from tests.demo_cloud.business_week import business_week
from tests.demo_cloud.letters import GMAIL, OUTLOOK
from tests.demo_cloud.private_week import private_week
from tests.emulator.mails import Mail

__all__ = ["GMAIL", "OUTLOOK", "gmail", "outlook"]


def gmail(now: datetime) -> list[Mail]:
    """Return what lies in the Gmail account."""
    return private_week(now)


def outlook(now: datetime) -> list[Mail]:
    """Return what lies in the Outlook account."""
    return business_week(now)
