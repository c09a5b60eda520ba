"""What the discovery document of Gmail v1 allows, written by hand for the methods that the emulator has.

A test compares this with the document that google-api-python-client ships.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.emulator.parameters import Kind, Parameter

_GOOGLE = "https://www.googleapis.com/auth/"
FULL = "https://mail.google.com/"
COMPOSE = _GOOGLE + "gmail.compose"
LABELS = _GOOGLE + "gmail.labels"
METADATA = _GOOGLE + "gmail.metadata"
MODIFY = _GOOGLE + "gmail.modify"
READONLY = _GOOGLE + "gmail.readonly"
_ADD_ONS = tuple(f"{_GOOGLE}gmail.addons.current.message.{what}" for what in ("action", "metadata", "readonly"))

SCOPES = frozenset(
    {
        FULL,
        COMPOSE,
        LABELS,
        METADATA,
        MODIFY,
        READONLY,
        *_ADD_ONS,
        _GOOGLE + "gmail.addons.current.action.compose",
        _GOOGLE + "gmail.insert",
        _GOOGLE + "gmail.send",
        _GOOGLE + "gmail.settings.basic",
        _GOOGLE + "gmail.settings.sharing",
    }
)
"""Every scope of Gmail."""

COMMON: Mapping[str, Parameter] = {
    "$.xgafv": Parameter(values=("1", "2")),
    "alt": Parameter(values=("json",)),
    "fields": Parameter(),
    "prettyPrint": Parameter(kind=Kind.BOOLEAN),
    "quotaUser": Parameter(),
}
"""What every method takes. Left out on purpose: other ways to authenticate, and other encodings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of the API; it is a GET, as all methods of a reader are."""

    method_id: str
    path: str
    scopes: frozenset[str]
    """Any one of them is enough."""
    query: Mapping[str, Parameter] = field(default_factory=dict)
    schema: str = ""
    """The schema of its reply in the discovery document."""


_PAGE = Parameter()
_MANY = Parameter(repeated=True)
_USER = "/gmail/v1/users/{userId}"


def _max_results() -> Parameter:
    # The document names no limit in a field, only in its text.
    return Parameter(kind=Kind.INTEGER, minimum=1, maximum=500)


METHODS = {
    method.method_id: method
    for method in (
        Method(
            method_id="gmail.users.getProfile",
            path=f"{_USER}/profile",
            scopes=frozenset({FULL, COMPOSE, METADATA, MODIFY, READONLY}),
            schema="Profile",
        ),
        Method(
            method_id="gmail.users.labels.list",
            path=f"{_USER}/labels",
            scopes=frozenset({FULL, LABELS, METADATA, MODIFY, READONLY}),
            schema="ListLabelsResponse",
        ),
        Method(
            method_id="gmail.users.labels.get",
            path=f"{_USER}/labels/{{id}}",
            scopes=frozenset({FULL, LABELS, METADATA, MODIFY, READONLY}),
            schema="Label",
        ),
        Method(
            method_id="gmail.users.messages.list",
            path=f"{_USER}/messages",
            scopes=frozenset({FULL, METADATA, MODIFY, READONLY}),
            query={
                "includeSpamTrash": Parameter(kind=Kind.BOOLEAN),
                "labelIds": _MANY,
                "maxResults": _max_results(),
                "pageToken": _PAGE,
                "q": Parameter(),
            },
            schema="ListMessagesResponse",
        ),
        Method(
            method_id="gmail.users.messages.get",
            path=f"{_USER}/messages/{{id}}",
            scopes=frozenset({FULL, METADATA, MODIFY, READONLY, *_ADD_ONS}),
            query={
                "format": Parameter(values=("minimal", "full", "raw", "metadata")),
                "metadataHeaders": _MANY,
            },
            schema="Message",
        ),
        Method(
            method_id="gmail.users.messages.attachments.get",
            path=f"{_USER}/messages/{{messageId}}/attachments/{{id}}",
            scopes=frozenset({FULL, MODIFY, READONLY, _ADD_ONS[0], _ADD_ONS[2]}),
            schema="MessagePartBody",
        ),
        Method(
            method_id="gmail.users.history.list",
            path=f"{_USER}/history",
            scopes=frozenset({FULL, METADATA, MODIFY, READONLY}),
            query={
                "historyTypes": Parameter(
                    repeated=True, values=("messageAdded", "messageDeleted", "labelAdded", "labelRemoved")
                ),
                "labelId": Parameter(),
                "maxResults": _max_results(),
                "pageToken": _PAGE,
                "startHistoryId": Parameter(kind=Kind.INTEGER, minimum=0, maximum=2**64 - 1),
            },
            schema="ListHistoryResponse",
        ),
    )
}
"""The methods by their ids."""
