"""What the made-up provider calls: somebody else's service with a small HTTP API, on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from urllib.parse import urlencode

from aiohttp import web

from tests.emulator.core import Clock, Core
from tests.emulator.door import Handler, arrive

ADDRESS = "me@postbox.example"
PAGE = 100


@dataclass(slots=True)
class Letter:
    """A letter. One whose text is none cannot be read."""

    at: datetime
    text: str | None
    sender: str = "Ada"
    file: bytes | None = None


class PostboxService:
    """The letters of one user. Whoever asks for their consent is given it, and every token works for ever."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.core = Core(clock)
        self.base_url = ""
        self.letters: dict[int, Letter] = {}
        self.last = 0
        self.oldest_start = 0
        """Numbers before this one are too old to go on from."""
        self.core.identifiers.append(lambda request: ADDRESS if self._is_signed_in(request) else "")

    def put(self, letter: Letter) -> int:
        """Let a letter come in; returns its number."""
        self.last += 1
        self.letters[self.last] = letter
        return self.last

    def token(self) -> str:
        """Return a token that works."""
        return self.core.secret("postbox-")

    def app(self) -> web.Application:
        """Return the service."""

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await arrive(self.core, request, handler)

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method == "GET" and request.path != "/consent" and not self._is_signed_in(request):
                raise web.HTTPUnauthorized
            return await handler(request)

        app = web.Application(middlewares=[door, guard])
        app.router.add_get("/me", self._me)
        app.router.add_get("/letters", self._list)
        app.router.add_get("/letters/{number}", self._one)
        app.router.add_get("/letters/{number}/files/{file}", self._file)
        app.router.add_get("/consent", self._consent)
        app.router.add_post("/token", self._tokens)
        return app

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "1", "address": ADDRESS})

    async def _list(self, request: web.Request) -> web.Response:
        after, since = int(request.query["after"]), request.query["since"]
        if not since and after < self.oldest_start:
            raise web.HTTPGone
        found = [
            {"number": number, "at": letter.at.isoformat()}
            for number, letter in self.letters.items()
            if number > after and (not since or letter.at >= datetime.fromisoformat(since))
        ]
        return web.json_response({"letters": found[:PAGE], "last": self.last})

    async def _one(self, request: web.Request) -> web.Response:
        letter = self._letter(request)
        file = {"attachment_id": "1", "name": "file", "media_type": "", "size_bytes": len(letter.file or b"")}
        told = {"at": letter.at.isoformat(), "sender": letter.sender, "text": letter.text}
        return web.json_response({**told, "files": [] if letter.file is None else [file]})

    async def _file(self, request: web.Request) -> web.Response:
        letter = self._letter(request)
        if letter.file is None or request.match_info["file"] != "1":
            raise web.HTTPNotFound
        return web.Response(body=letter.file)

    async def _consent(self, request: web.Request) -> web.Response:
        query = urlencode({"code": self.token(), "state": request.query["state"]})
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{query}")

    async def _tokens(self, request: web.Request) -> web.Response:
        form = await request.post()
        if str(form.get("code") or form.get("refresh_token")) not in self.core.secrets:
            raise web.HTTPBadRequest
        tokens = {"access_token": self.token(), "refresh_token": self.token()}
        return web.json_response({**tokens, "id": "1", "address": ADDRESS})

    def _letter(self, request: web.Request) -> Letter:
        letter = self.letters.get(int(request.match_info["number"]))
        if letter is None:
            raise web.HTTPNotFound
        return letter

    def _is_signed_in(self, request: web.Request) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in self.core.secrets


@asynccontextmanager
async def postbox_service(clock: Clock | None = None) -> AsyncIterator[PostboxService]:
    """Serve the letters on a port of its own."""
    service = PostboxService(clock)
    runner = web.AppRunner(service.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.base_url = f"http://127.0.0.1:{cast('tuple[str, int]', runner.addresses[0])[1]}"
        yield service
    finally:
        await service.core.faults.clear()
        await runner.cleanup()
    assert not service.core.crashes
