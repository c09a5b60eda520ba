"""Teams behind the port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from connectors.errors import AttachmentGone, ConnectionBlocked, ProviderUnavailable
from connectors.messages.domain import JsonObject, Listing, Message, MessageFilter, Query, Ref, Unreadable, Vanished
from connectors.providers.microsoft.graph import GraphApi, GraphNotFound, GraphRefused, GraphTooLarge
from connectors.providers.microsoft.id_token import CONSUMERS
from connectors.providers.port import Account, Identity, Session
from connectors.providers.teams.config import CHANNELS, CHATS, TeamsConfig
from connectors.providers.teams.items import is_deleted, message_of, times_of, version_of
from connectors.providers.teams.listing import Lister
from connectors.providers.teams.places import is_chat, message_path, places

_PERSONAL = "Personal Microsoft accounts have no Teams that can be read. Link a work or school account."


class Teams:
    """A `Provider`."""

    name = "teams"

    def __init__(self, api: GraphApi, identity: Identity, config: TeamsConfig) -> None:
        """Make one.

        Args:
            api: Calls to Graph, within the quota.
            identity: Microsoft's, for work and school accounts: personal ones have no Teams.
            config: How Teams is asked.
        """
        self._api = api
        self._identity = identity
        self._config = config
        self._lister = Lister(api, config)

    @property
    def identity(self) -> Identity:
        """How its users consent."""
        return self._identity

    @property
    def concurrency(self) -> int:
        """How many messages of one user are read at a time."""
        return self._config.concurrency

    def check_filter(self, wanted: MessageFilter) -> None:
        """Refuse a filter that Teams cannot express; see the port."""
        places(wanted)

    async def account(self, session: Session) -> Account:
        """Tell whose account it is."""
        _refuse_personal(session)
        with _translated():
            return await self._api.account(session, cost=CHATS)

    async def list_new(self, session: Session, query: Query) -> Listing:
        """Find what is new; see the port."""
        _refuse_personal(session)
        with _translated():
            return await self._lister.list_new(session, query)

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        """Read one message; see the port. The filter was kept to by the listing."""
        item = ref.carried if isinstance(ref.carried, dict) else await self._item(session, ref)
        return await asyncio.to_thread(partial(message_of, item, ref, max_body_chars=max_body_chars))

    async def attachment(self, session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        """Refuse: files of chats lie in SharePoint, which these grants do not reach."""
        for piece in _stored_elsewhere():
            yield piece

    async def _item(self, session: Session, ref: Ref) -> JsonObject:
        """Return a message as Graph tells it now.

        Raises:
            Vanished: It is gone, or says something else by now: then it is listed again, under another key.
        """
        with _translated():
            item = await self._found(session, ref)
        times = times_of(item)
        if is_deleted(item) or (times is not None and version_of(times) != ref.version):
            raise Vanished
        return item

    async def _found(self, session: Session, ref: Ref) -> JsonObject:
        path = message_path(ref.provider_id)
        if path is None:
            raise Vanished
        try:
            return await self._api.get(session, path, cost=CHATS if is_chat(ref.container) else CHANNELS)
        except GraphNotFound:
            raise Vanished from None
        except GraphTooLarge:
            raise Unreadable("The message is longer than may be read.", reason="MESSAGE_TOO_LARGE") from None
        except ConnectionBlocked:
            if not is_chat(ref.container):
                raise
        # The user has left the chat, unless no chat may be read any more.
        await self._lister.chats.check_access(session)
        raise Vanished


@contextmanager
def _translated() -> Iterator[None]:
    """Make what only Graph's own callers know an error of the port's."""
    try:
        yield
    except GraphTooLarge:
        raise ProviderUnavailable(metadata={"cause": "TOO_LARGE"}) from None
    except GraphRefused as refused:
        raise ProviderUnavailable(metadata={"cause": f"HTTP_{refused.status}"}) from None


def _refuse_personal(session: Session) -> None:
    if session.account.account_id.endswith(f".{CONSUMERS}"):
        raise ConnectionBlocked(_PERSONAL)


def _stored_elsewhere() -> Iterable[bytes]:
    raise AttachmentGone
