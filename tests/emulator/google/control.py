"""The control routes of the Google half, below `/_emulator/google/`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast, get_args

from aiohttp import web

from tests.emulator.control import Body, controlled, ok
from tests.emulator.google.mailbox import GmailMessage
from tests.emulator.google.quota import Tells
from tests.emulator.google.state import GoogleState
from tests.emulator.google.tables import READONLY
from tests.emulator.mails import Folder, Mail
from tests.emulator.oauth import Client, Consent, RefreshMode

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

_AT = "/_emulator/google"


def control_routes(emulator: Emulator) -> list[web.RouteDef]:
    """Return the control routes of this half."""
    google = emulator.google
    return [*_mail_routes(google), *_consent_routes(google), *_grant_routes(google), *_behaviour_routes(google)]


def _shown(message: GmailMessage) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "thread_id": message.thread_id,
        "label_ids": message.label_ids,
        "subject": message.mail.header("Subject"),
    }


def folder_of(name: str) -> Folder:
    """Return a folder by its name.

    Raises:
        ValueError: There is none of this name.
    """
    if name not in get_args(Folder):
        raise ValueError(f"no such folder: {name}")
    return cast("Folder", name)


def _mail_routes(google: GoogleState) -> list[web.RouteDef]:
    async def account(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.add_account(body.text("email"))
        body.done()
        return ok()

    async def deliver(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = google.mailbox(body.text("email"))
        mails = [Mail.from_json(one) for one in body.objects("mails")]
        body.done()
        return ok(message_ids=[mailbox.deliver(mail).message_id for mail in mails])

    async def messages(request: web.Request) -> web.StreamResponse:
        return ok(messages=[_shown(message) for message in google.mailbox(request.query["email"]).newest_first()])

    async def move(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.mailbox(body.text("email")).move(body.text("message_id"), folder_of(body.text("folder")))
        body.done()
        return ok()

    async def relabel(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = google.mailbox(body.text("email"))
        mailbox.relabel(body.text("message_id"), add=body.texts("add", []), remove=body.texts("remove", []))
        body.done()
        return ok()

    async def delete(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = google.mailbox(body.text("email"))
        for message_id in body.texts("message_ids"):
            mailbox.remove(message_id)
        body.done()
        return ok()

    async def expire_history(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.mailbox(body.text("email")).expire_history()
        body.done()
        return ok()

    return [
        web.post(f"{_AT}/accounts", controlled(account)),
        web.post(f"{_AT}/mails", controlled(deliver)),
        web.get(f"{_AT}/mails", controlled(messages)),
        web.post(f"{_AT}/moves", controlled(move)),
        web.post(f"{_AT}/labels", controlled(relabel)),
        web.post(f"{_AT}/deletions", controlled(delete)),
        web.post(f"{_AT}/expire-history", controlled(expire_history)),
    ]


def _consent_routes(google: GoogleState) -> list[web.RouteDef]:
    async def consent(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.consent = Consent(
            approve=body.boolean("approve", True),
            account=body.text("account", ""),
            without_scopes=tuple(body.texts("without_scopes", [])),
        )
        google.signed_in = body.text("signed_in", google.signed_in)
        body.done()
        return ok()

    async def client(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        client_id, secret = body.text("client_id"), body.text("secret", "")
        google.clients[client_id] = Client(
            client_id=client_id, secret=secret, redirect_uris=tuple(body.texts("redirect_uris"))
        )
        body.done()
        return ok()

    return [web.post(f"{_AT}/consent", controlled(consent)), web.post(f"{_AT}/clients", controlled(client))]


def _grant_routes(google: GoogleState) -> list[web.RouteDef]:
    async def tokens(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        grants = google.grants
        grants.mode = RefreshMode(body.text("mode", grants.mode))
        seconds = grants.access_lifetime.total_seconds(), grants.refresh_lifetime.total_seconds()
        grants.access_lifetime = timedelta(seconds=body.number("access_lifetime_seconds", seconds[0]))
        grants.refresh_lifetime = timedelta(seconds=body.number("refresh_lifetime_seconds", seconds[1]))
        body.done()
        return ok()

    async def link(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        issued = google.link(body.text("email"), scopes=tuple(body.texts("scopes", [READONLY])))
        body.done()
        return ok(access_token=issued.access_token, refresh_token=issued.refresh_token)

    async def expire_access(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.grants.expire_access(body.text("email", ""))
        body.done()
        return ok()

    async def revoke(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.grants.revoke(body.text("email"))
        body.done()
        return ok()

    async def grants(request: web.Request) -> web.StreamResponse:
        found = google.grants.grants_of(request.query.get("email", ""))
        return ok(
            grants=[
                {
                    "account": grant.account,
                    "client_id": grant.client_id,
                    "scopes": list(grant.scopes),
                    "alive": grant.alive,
                    "refreshes": grant.refreshes,
                }
                for grant in found
            ]
        )

    return [
        web.post(f"{_AT}/tokens", controlled(tokens)),
        web.post(f"{_AT}/link", controlled(link)),
        web.post(f"{_AT}/expire-access", controlled(expire_access)),
        web.post(f"{_AT}/revoke", controlled(revoke)),
        web.get(f"{_AT}/grants", controlled(grants)),
    ]


def _behaviour_routes(google: GoogleState) -> list[web.RouteDef]:
    async def quota(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        google.quota.units_per_minute = body.integer("units_per_minute", google.quota.units_per_minute)
        google.quota.most_at_once = body.integer("most_at_once", google.quota.most_at_once)
        google.quota.status = body.integer("status", google.quota.status)
        google.quota.tells = Tells(body.text("tells", google.quota.tells))
        google.quota.units.update({str(name): int(units) for name, units in (body.anything("units") or {}).items()})
        body.done()
        return ok(refused=google.quota.refused)

    async def switches(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        now = google.switches
        google.switches = type(now)(
            empty_history_pages=body.boolean("empty_history_pages", now.empty_history_pages),
            after_compares="Date" if body.text("after_compares", now.after_compares) == "Date" else "internalDate",
            bodies="as-sent" if body.text("bodies", now.bodies) == "as-sent" else "utf-8",
            largest_inline_body=body.integer("largest_inline_body", now.largest_inline_body),
            reject_clients=body.boolean("reject_clients", now.reject_clients),
        )
        body.done()
        return ok()

    return [web.post(f"{_AT}/quota", controlled(quota)), web.post(f"{_AT}/switches", controlled(switches))]
