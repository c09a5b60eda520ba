"""The control routes of the Microsoft half, below `/_emulator/microsoft/`: accounts, mail, the login, and switches."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.emulator.control import Body, controlled, ok
from tests.emulator.mails import Mail
from tests.emulator.microsoft.graph import RetryAfter
from tests.emulator.microsoft.login import Decision, DeviceFlow
from tests.emulator.microsoft.login_errors import Death
from tests.emulator.microsoft.mailbox import OutlookMessage
from tests.emulator.microsoft.people import CONTOSO, MAIL_SCOPES
from tests.emulator.microsoft.state import MicrosoftState
from tests.emulator.microsoft.teams_control import teams_routes
from tests.emulator.microsoft.walks import Expiry
from tests.emulator.oauth import Client, Consent, Grant, RefreshMode

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

_AT = "/_emulator/microsoft"


def control_routes(emulator: Emulator) -> list[web.RouteDef]:
    """Return the control routes of this half."""
    microsoft = emulator.microsoft
    return [
        *_mail_routes(microsoft),
        *_consent_routes(microsoft),
        *_token_routes(microsoft),
        *_behaviour_routes(microsoft),
        *teams_routes(microsoft.teams, _AT),
    ]


def _shown(message: OutlookMessage) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "default_id": message.default_id,
        "folder": message.folder.well_known or message.folder.name,
        "unread": message.unread,
        "subject": message.mail.header("Subject"),
    }


def _mail_routes(microsoft: MicrosoftState) -> list[web.RouteDef]:
    async def account(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        made = microsoft.add_account(
            body.text("address"),
            name=body.text("name", ""),
            tenant=body.text("tenant", CONTOSO),
            personal=body.boolean("personal", False),
        )
        body.done()
        return ok(object_id=made.object_id, graph_id=made.graph_id, tenant=made.tenant)

    async def folder(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        made = microsoft.mailbox(body.text("address")).add_folder(body.text("name"))
        body.done()
        return ok(folder_id=made.folder_id)

    async def deliver(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = microsoft.mailbox(body.text("address"))
        mails = [Mail.from_json(one) for one in body.objects("mails")]
        body.done()
        return ok(message_ids=[mailbox.deliver(mail).message_id for mail in mails])

    async def messages(request: web.Request) -> web.StreamResponse:
        inside = microsoft.mailbox(request.query["address"]).inside(None)
        return ok(messages=[_shown(message) for message in inside])

    async def move(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = microsoft.mailbox(body.text("address"))
        mailbox.move(body.text("message_id"), body.text("folder"))
        body.done()
        return ok()

    async def mark(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = microsoft.mailbox(body.text("address"))
        mailbox.mark(body.text("message_id"), unread=body.boolean("unread"))
        body.done()
        return ok()

    async def delete(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        mailbox = microsoft.mailbox(body.text("address"))
        for message_id in body.texts("message_ids"):
            mailbox.remove(message_id)
        body.done()
        return ok()

    return [
        web.post(f"{_AT}/accounts", controlled(account)),
        web.post(f"{_AT}/folders", controlled(folder)),
        web.post(f"{_AT}/mails", controlled(deliver)),
        web.get(f"{_AT}/mails", controlled(messages)),
        web.post(f"{_AT}/moves", controlled(move)),
        web.post(f"{_AT}/marks", controlled(mark)),
        web.post(f"{_AT}/deletions", controlled(delete)),
    ]


def _device_shown(flow: DeviceFlow) -> dict[str, Any]:
    return {
        "user_code": flow.user_code,
        "client_id": flow.client_id,
        "scopes": list(flow.scopes),
        "decision": flow.decision,
        "polls": flow.polls,
    }


def _consent_routes(microsoft: MicrosoftState) -> list[web.RouteDef]:
    login = microsoft.login

    async def consent(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        login.consent = Consent(
            approve=body.boolean("approve", True),
            account=body.text("account", ""),
            without_scopes=tuple(body.texts("without_scopes", [])),
        )
        login.signed_in = body.text("signed_in", login.signed_in)
        login.admin_needed = body.boolean("admin_needed", False)
        body.done()
        return ok()

    async def devices(_: web.Request) -> web.StreamResponse:
        return ok(devices=[_device_shown(flow) for flow in login.devices.values()])

    async def decide_device(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        user_code, decision = body.text("user_code"), Decision(body.text("decision"))
        login.decide_device(user_code, decision, body.text("address", ""))
        body.done()
        return ok()

    async def device_interval(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        login.device_interval = body.integer("seconds")
        body.done()
        return ok()

    async def client(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        client_id, secret = body.text("client_id"), body.text("secret", "")
        login.clients[client_id] = Client(
            client_id=client_id, secret=secret, redirect_uris=tuple(body.texts("redirect_uris"))
        )
        (login.expired_secrets.add if body.boolean("expired", False) else login.expired_secrets.discard)(client_id)
        body.done()
        return ok()

    async def id_tokens(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        login.id_token_claims = dict(body.anything("claims") or {})
        login.id_token_forged = body.boolean("forged", False)
        body.done()
        return ok()

    return [
        web.post(f"{_AT}/consent", controlled(consent)),
        web.get(f"{_AT}/devices", controlled(devices)),
        web.post(f"{_AT}/device-decisions", controlled(decide_device)),
        web.post(f"{_AT}/device-interval", controlled(device_interval)),
        web.post(f"{_AT}/clients", controlled(client)),
        web.post(f"{_AT}/id-tokens", controlled(id_tokens)),
    ]


def _grant_shown(grant: Grant, death: Death | None) -> dict[str, Any]:
    return {
        "account": grant.account,
        "client_id": grant.client_id,
        "scopes": list(grant.scopes),
        "alive": grant.alive,
        "refreshes": grant.refreshes,
        "death": death or "",
    }


def _token_routes(microsoft: MicrosoftState) -> list[web.RouteDef]:
    login = microsoft.login
    grants = login.grants

    async def tokens(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        grants.mode = RefreshMode(body.text("mode", grants.mode))
        seconds = grants.access_lifetime.total_seconds(), grants.refresh_lifetime.total_seconds()
        grants.access_lifetime = timedelta(seconds=body.number("access_lifetime_seconds", seconds[0]))
        grants.refresh_lifetime = timedelta(seconds=body.number("refresh_lifetime_seconds", seconds[1]))
        body.done()
        return ok()

    async def link(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        issued = microsoft.link(body.text("address"), scopes=tuple(body.texts("scopes", list(MAIL_SCOPES))))
        body.done()
        return ok(access_token=issued.access_token, refresh_token=issued.refresh_token)

    async def expire_access(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        grants.expire_access(body.text("address", "").lower())
        body.done()
        return ok()

    async def revoke(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        grants.revoke(body.text("address").lower())
        body.done()
        return ok()

    async def refuse_refresh(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        death = body.text("death", "")
        login.refuse_refresh(body.text("address"), Death(death) if death else None)
        body.done()
        return ok()

    async def shown_grants(request: web.Request) -> web.StreamResponse:
        found = grants.grants_of(request.query.get("address", "").lower())
        return ok(grants=[_grant_shown(grant, login.deaths.get(grant)) for grant in found])

    return [
        web.post(f"{_AT}/tokens", controlled(tokens)),
        web.post(f"{_AT}/link", controlled(link)),
        web.post(f"{_AT}/expire-access", controlled(expire_access)),
        web.post(f"{_AT}/revoke", controlled(revoke)),
        web.post(f"{_AT}/refuse-refresh", controlled(refuse_refresh)),
        web.get(f"{_AT}/grants", controlled(shown_grants)),
    ]


def _behaviour_routes(microsoft: MicrosoftState) -> list[web.RouteDef]:
    async def delta(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        now = microsoft.delta
        now.empty_pages = body.integer("empty_pages", now.empty_pages)
        now.duplicates = body.boolean("duplicates", now.duplicates)
        now.replays = body.integer("replays", now.replays)
        now.strays = body.integer("strays", now.strays)
        now.filtered_at_most = body.integer("filtered_at_most", now.filtered_at_most)
        now.expire_at_page = body.integer("expire_at_page", now.expire_at_page)
        now.expiry = _expiry(body, now.expiry)
        body.done()
        return ok()

    async def expire_delta(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        microsoft.expire_delta(body.text("address"), _expiry(body, microsoft.delta.expiry))
        body.done()
        return ok()

    async def graph(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        now = microsoft.graph
        now.links_to = body.text("links_to", now.links_to)
        now.requests_at_once = body.integer("requests_at_once", now.requests_at_once)
        now.over_limit = RetryAfter(body.text("over_limit", now.over_limit))
        body.done()
        return ok()

    async def throttle(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        microsoft.graph.throttle(
            body.text("route"),
            times=body.integer("times", 1),
            skip=body.integer("skip", 0),
            status=body.integer("status", 429),
            wait=timedelta(seconds=body.number("wait_seconds", 10)),
            retry_after=RetryAfter(body.text("retry_after", RetryAfter.SECONDS)),
            account=body.text("account", "").lower(),
        )
        body.done()
        return ok()

    async def stop_throttling(_: web.Request) -> web.StreamResponse:
        microsoft.graph.throttlings.clear()
        return ok()

    return [
        web.post(f"{_AT}/delta", controlled(delta)),
        web.post(f"{_AT}/expire-delta", controlled(expire_delta)),
        web.post(f"{_AT}/graph", controlled(graph)),
        web.post(f"{_AT}/throttles", controlled(throttle)),
        web.delete(f"{_AT}/throttles", controlled(stop_throttling)),
    ]


def _expiry(body: Body, now: Expiry) -> Expiry:
    return Expiry(
        status=body.integer("status", now.status),
        code=body.text("code", now.code),
        location=body.boolean("location", now.location),
    )
