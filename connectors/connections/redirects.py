"""Where a consent may come back to, and what it comes back with. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from adiuva_rpc.errors import InvalidArgument
from connectors.errors import StateInvalid

MAX_RESPONSE_CHARS: Final = 8_192
MAX_FIELDS: Final = 32

# Written out to the letter: nothing is parsed here that a browser might parse in another way.
_LOOPBACK = re.compile(r"http://(?:127\.0\.0\.1|localhost):(?P<port>[1-9][0-9]{0,4})/(?:callback)?")
_MAX_PORT = 65_535
_ADDRESS = re.compile(r"https?://|[/?]", re.IGNORECASE)


def check_redirect_uri(uri: str, allowed: Collection[str]) -> None:
    """Refuse a redirect URI that is neither one of the operator's nor on loopback.

    Args:
        uri: What the caller asks for.
        allowed: The operator's, compared to the letter.

    Raises:
        InvalidArgument: `redirect_uri`.
    """
    if uri in allowed:
        return
    match = _LOOPBACK.fullmatch(uri)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise InvalidArgument(
            "redirect_uri",
            "must be one that the operator allows, or http://127.0.0.1:<port>/ or http://localhost:<port>/",
        )


def parse_response(response: str) -> dict[str, str]:
    """Return the parameters that a browser came back with; `state` is one of them.

    Args:
        response: The whole address, its path with the query, or only the query.

    Raises:
        StateInvalid: It has no state, or has a parameter twice.
        InvalidArgument: `redirect_response` is too long to be one.
    """
    if len(response) > MAX_RESPONSE_CHARS:
        raise InvalidArgument("redirect_response", f"must have at most {MAX_RESPONSE_CHARS} characters")
    text = response.strip()
    try:
        query = urlsplit(text).query if _ADDRESS.match(text) else text.partition("#")[0]
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise StateInvalid from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not fields.get("state"):
        raise StateInvalid
    return fields
